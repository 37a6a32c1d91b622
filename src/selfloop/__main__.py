"""``python -m selfloop``, which `accelerate launch -m` and `torchrun -m` use."""

from selfloop.cli import main

if __name__ == "__main__":
    main()
