"""Tokens of a large text, made by one process and by several: MB of text a second, and the most memory of a process.

    python benchmarks/shared_tokens.py TEXT… [--megabytes 1000] [--kinds char bpe] [--processes 1 2] [--rounds 2]
                                       [--threads 1]

The files are repeated until the text has so many megabytes, in a temporary folder that is removed at the end. Each
process reads all of the text, and encodes its share with so many threads of the tokenizers library; the first one
writes. What is stored is compared byte by byte. What is compared runs in turns; printed are the best of the rounds.
The CPU seconds are those of the busiest process, which other programs on the machine do not change.
Memory is the largest resident set but for mapped files (RssAnon), read after every piece of the text; before the first
piece it is what Python, torch and selfloop take.
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from selfloop.data import Text, Tokenizer, read_corpus, tokenize
from selfloop.world import joined_world


def own_memory() -> int:
    """Megabytes of this process that no file backs."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) // 1024


def work(text: Path, tokenizer: Path, folder: Path) -> None:
    """Make the tokens as one of the processes, and print how long it took."""
    corpus, before, most = read_corpus(text).train, own_memory(), 0

    def watched() -> Iterator[str]:
        nonlocal most
        for piece in corpus:
            most = max(most, own_memory())
            yield piece

    with joined_world() as world:
        world.each(None)
        began, busy = time.perf_counter(), time.process_time()
        tokens = tokenize(Text(watched, "benchmark"), Tokenizer.load(tokenizer), folder, world)
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
    (path,) = folder.glob("*.safetensors")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").hexdigest()
    found = {"seconds": seconds, "busy": busy, "bytes": tokens.bytes, "before": before, "most": most, "digest": digest}
    print(json.dumps(found))


def started(size: int, threads: int, *arguments: object) -> list[dict[str, float]]:
    """What each of so many processes prints."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
    place |= {"WORLD_SIZE": str(size), "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, "--work", *map(str, arguments)]
    processes = [
        subprocess.Popen(
            words,
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    return [json.loads(process.communicate()[0]) for process in processes]


def main() -> None:
    """Print a row for each kind of token and number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--kinds", nargs="+", default=["char", "bpe"])
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", nargs=3, type=Path)
    chosen = parser.parse_args()
    if chosen.work:
        work(*chosen.work)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder, whole = Path(temporary), "".join(path.read_text(encoding="utf-8") for path in chosen.texts)
        with (folder / "text.txt").open("w", encoding="utf-8") as file:
            size = 0
            for text in cycle([whole]):
                size += file.write(text)
                if size >= chosen.megabytes * 10**6:
                    break
        print(f"{'kind':5} {'processes':>9} {'MB/s':>7} {'CPU s':>7} {'memory before, most (MB)':>25}")
        for kind in chosen.kinds:
            Tokenizer.train(kind, [whole[:4_000_000]]).save(folder / "tokenizer.json")
            found: dict[int, list[list[dict[str, float]]]] = {size: [] for size in chosen.processes}
            for number in range(chosen.rounds):
                for size in chosen.processes:
                    stores = folder / f"{kind}-{size}-{number}"
                    found[size].append(
                        started(size, chosen.threads, folder / "text.txt", folder / "tokenizer.json", stores)
                    )
                    for path in stores.glob("*.safetensors"):
                        path.unlink()
            assert len({one["digest"] for rounds in found.values() for each in rounds for one in each}) == 1
            for size, rounds in found.items():
                every = [one for each in rounds for one in each]
                speed = max(each[0]["bytes"] / max(one["seconds"] for one in each) / 1e6 for each in rounds)
                busy = min(max(one["busy"] for one in each) for each in rounds)
                memory = f"{max(one['before'] for one in every)}, {max(one['most'] for one in every)}"
                print(f"{kind:5} {size:9} {speed:7.1f} {busy:7.1f} {memory:>25}", flush=True)


if __name__ == "__main__":
    main()
