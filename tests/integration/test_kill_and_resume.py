import time


def test_x(train, play, small, tmp_path):
    for i in range(3):
        t = time.time()
        print(train(play, *small, "--steps", 60, "--run", f"r{i}", "--json"), time.time() - t)
    for i in range(2):
        t = time.time()
        print(
            train(play, *small, "--steps", 400, "--run", f"r{i}s", "--json", "--set", "training.save_every=0.05"),
            time.time() - t,
        )
