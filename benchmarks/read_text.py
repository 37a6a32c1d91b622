"""What it takes to read a text: seconds, and the largest memory of a process that only does this.

    python benchmarks/read_text.py [--megabytes 200] [--kinds char byte]

A text of words, with a character of more than one byte every few lines, is written to a temporary file; each kind of
tokenizer reads it in a process of its own, with an empty cache: corpus, vocabulary, and the tokens of both parts.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from selfloop.data import Tokenizer, read_corpus, tokenize


def write(path: Path, megabytes: int) -> None:
    draw = random.Random(1)
    words = [
        "the",
        "of",
        "and",
        "to",
        "in",
        "a",
        "is",
        "that",
        "it",
        "was",
        "für",
        "on",
        "are",
        "naïve",
        "with",
        "你好",
    ]
    block = "".join(" ".join(draw.choices(words, k=12)) + "\n" for _ in range(20_000)).encode()
    with path.open("wb") as file:
        while file.tell() < megabytes * 10**6:
            file.write(block)


def read(path: str, kind: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    corpus = read_corpus(path)
    tokenizer = Tokenizer.train(kind, corpus.train)
    sizes = [len(tokenize(part, tokenizer)) for part in (corpus.train, corpus.valid)]
    seconds = time.perf_counter() - began
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = f"{most / 1024:5.0f} MiB in all, {(most - before) / 1024:4.0f} of them to read"
    print(f"{kind:5} {seconds:6.1f} s   {memory}   {sum(sizes):,} tokens", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", default=["char", "byte"])
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(*options.read)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        write(path, options.megabytes)
        print(f"{path.stat().st_size / 1e6:.0f} MB of text", flush=True)
        for kind in options.kinds:
            caches = {**os.environ, "XDG_CACHE_HOME": f"{folder}/{kind}"}
            subprocess.run([sys.executable, __file__, "--read", str(path), kind], env=caches, check=True)


if __name__ == "__main__":
    main()
