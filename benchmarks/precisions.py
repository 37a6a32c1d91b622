"""What bfloat16 costs: the validation loss after equal updates in float32 and in bfloat16, and the time of both.

    python benchmarks/precisions.py SOURCE --steps N [--seeds 1 2] [options of `selfloop train lm`]

Each precision trains the same model on the same data in the same order. The loss is in nats a token. While training it
is that of products in this precision; the last line is that of the model as it is used, in float32, on every token.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PRECISIONS = ("fp32", "bf16")


def losses(source: str, options: list[str], folder: Path) -> tuple[dict[str, float], float]:
    """The validation loss by the number of updates, the last one "as used", and the minutes that training took."""
    command = [sys.executable, "-m", "selfloop", "train", "lm", source, *options, "--run", str(folder), "--json"]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    lines = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    found = {f"{line['step']:,}": line["valid_loss"] for line in lines if "valid_loss" in line}
    return found | {"as used": result["valid"]["loss"]}, result["seconds"] / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--steps", required=True)
    parser.add_argument("--seeds", nargs="+", default=["1"])
    given, options = parser.parse_known_args()
    for seed in given.seeds:
        found, minutes = {}, {}
        for precision in PRECISIONS:
            own = ["--steps", given.steps, "--seed", seed, "--precision", precision, *options]
            with tempfile.TemporaryDirectory() as folder:
                found[precision], minutes[precision] = losses(given.source, own, Path(folder) / "run")
        print(f"seed {seed}\n  update     fp32     bf16   bf16 - fp32")
        for step, exact in found["fp32"].items():
            print(f"{step:>8}   {exact:.4f}   {found['bf16'][step]:.4f}   {found['bf16'][step] - exact:+.4f}")
        print(f" minutes   {minutes['fp32']:6.2f}   {minutes['bf16']:6.2f}", flush=True)


if __name__ == "__main__":
    main()
