"""Run a command and keep what it printed, with the machine it ran on.

    python benchmarks/record.py NAME 'COMMAND …'

writes benchmarks/results/NAME.txt: the command as it was typed, the machine, the seconds it took, and its output.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import llvmlite.binding as llvm
import torch

import selfloop

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    name, command = sys.argv[1:]
    start = time.perf_counter()
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    seconds = time.perf_counter() - start
    threads = torch.get_num_threads()
    machine = f"{llvm.get_host_cpu_name()}, {os.cpu_count()} processors, {threads} thread{'s' * (threads > 1)}"
    text = (
        f"$ {command}\n"
        f"# selfloop {selfloop.__version__}, torch {torch.__version__}, {machine}\n"
        f"# {seconds:.1f} s in all, exit status {done.returncode}\n\n{done.stdout}"
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.txt").write_text(text, encoding="utf-8")
    print(text)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
