#!/bin/sh
# Installs a wheel or an sdist into a fresh environment, trains with it, and lets the model write.
#     tests/smoke.sh python3 build/dist/selfloop-….whl
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1" -m venv "$folder/env"
"$folder/env/bin/pip" --disable-pip-version-check install --quiet "pip>=25.1" -c constraints.txt
"$folder/env/bin/pip" --disable-pip-version-check install --quiet -c constraints.txt "$2"
file=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cd "$folder"  # so that nothing is imported from a checkout
env/bin/selfloop --version
env/bin/selfloop train lm --steps 20 --hidden 16 --run run --json
env/bin/selfloop generate run --max-tokens 20 --seed 1
env/bin/python -c "import torch, selfloop as sl; y, _ = sl.LSTM(3, 5)(torch.zeros(7, 2, 3)); assert y.shape == (7, 2, 5)"
echo "$file works"
