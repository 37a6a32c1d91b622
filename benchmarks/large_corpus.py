"""A corpus of gigabytes: `selfloop train lm` on it, the speed of reading and the most memory of each phase.

    python benchmarks/large_corpus.py TEXT… [--gigabytes 0.05 0.5 5] [--kinds char bpe word] [--forms txt]
                                      [--minutes 0.5] [--words 10000] [--streaming]

The lines of the files, shuffled anew in every round, fill a file of so many gigabytes, in a temporary folder that is
removed at the end. In every round one line in fifty is written with other letters, so that there are new words all the
time, as in real text: 0.5 GB has about ten times as many different words as 0.05 GB. What is trained are the defaults
of `selfloop train lm`, for so many minutes; of words there are 10,000. The scoring at the end is left out. With
--streaming the corpus is read while it is trained on, and no tokens are kept.

MB/s is the size of the file by the seconds from the start of the command until its training starts: whole reads of the
file to hash, count, learn the vocabulary and encode, and five seconds of Python's imports. Memory is RssAnon of
/proc/PID/status: what no file backs. The mapped tokens are not in it, since the kernel drops their pages when it needs
the room. It is read twenty times a second; "largest" has the kernel's own high-water mark of all resident memory
(VmHWM), which mapped pages are in.
"""

import argparse
import csv
import gzip
import itertools
import json
import os
import random
import string
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROUNDS_APART = 50
"""One line in so many has other letters."""


def lines_of(texts: list[Path]) -> list[str]:
    """The lines that hold something."""
    return [line.strip() for path in texts for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def rounds(lines: list[str]) -> Iterator[list[str]]:
    """The lines in another order each time, one in fifty with other letters."""
    draw = random.Random(1)
    while True:
        draw.shuffle(lines)
        letters = [*string.ascii_lowercase]
        draw.shuffle(letters)
        other = str.maketrans(string.ascii_lowercase, "".join(letters))
        yield [line.translate(other) if k % ROUNDS_APART == 0 else line for k, line in enumerate(lines)]


def write_text(path: Path, found: Iterator[list[str]]) -> Iterator[int]:
    """A text file; yields the bytes of each round."""
    with path.open("w", encoding="utf-8") as file:
        for lines in found:
            yield file.write("\n".join(lines) + "\n")


def write_gzip(path: Path, found: Iterator[list[str]]) -> Iterator[int]:
    """A compressed text file."""
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        for lines in found:
            yield file.write("\n".join(lines) + "\n")


def documents(lines: list[str]) -> Iterator[str]:
    """Twenty lines each."""
    return ("\n".join(lines[k : k + 20]) for k in range(0, len(lines), 20))


def write_json_lines(path: Path, found: Iterator[list[str]]) -> Iterator[int]:
    """A document an object."""
    with path.open("w", encoding="utf-8") as file:
        for lines in found:
            yield sum(file.write(json.dumps({"text": text}) + "\n") for text in documents(lines))


def write_json(path: Path, found: Iterator[list[str]]) -> Iterator[int]:
    """One array of objects."""
    with path.open("w", encoding="utf-8") as file:
        gap = "["
        for lines in found:
            size = 0
            for text in documents(lines):
                size += file.write(gap + json.dumps({"text": text}))
                gap = ",\n"
            yield size
        file.write("]")


def write_csv(path: Path, found: Iterator[list[str]]) -> Iterator[int]:
    """A document a row, in quotes."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text"])
        for number in itertools.count():
            lines = next(found, None)
            if lines is None:
                return
            rows.writerows((number, text) for text in documents(lines))
            yield sum(map(len, lines)) + len(lines)


def write_parquet(path: Path, found: Iterator[list[str]]) -> Iterator[int]:
    """A document a row; a row group has 200 MB, as large as writers make them."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    schema, group, size = pa.schema([("text", pa.string())]), list[str](), 0
    with parquet.ParquetWriter(path, schema) as writer:
        for lines in found:
            group += documents(lines)
            size += sum(map(len, lines)) + len(lines)
            yield sum(map(len, lines)) + len(lines)
            if size > 200e6:
                writer.write_table(pa.table({"text": group}, schema=schema), row_group_size=len(group))
                group, size = [], 0
        if group:
            writer.write_table(pa.table({"text": group}, schema=schema), row_group_size=len(group))


def write_folder(path: Path, found: Iterator[list[str]]) -> Iterator[int]:
    """A text file a round."""
    path.mkdir()
    for number, lines in enumerate(found):
        yield (path / f"{number:05}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


FORMS: dict[str, Callable[[Path, Iterator[list[str]]], Iterator[int]]] = {
    "txt": write_text,
    "txt.gz": write_gzip,
    "jsonl": write_json_lines,
    "json": write_json,
    "csv": write_csv,
    "parquet": write_parquet,
    "folder": write_folder,
}


def make(path: Path, form: str, texts: list[Path], size: float) -> None:
    """Write a corpus of a form, with so many bytes of text."""
    enough, written = False, 0

    def until() -> Iterator[list[str]]:
        for lines in rounds(lines_of(texts)):
            if enough:
                return
            yield lines

    for count in FORMS[form](path, until()):
        written += count
        enough = written >= size


class Memory(threading.Thread):
    """Looks at the memory of a process, in MB, by phase."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.phase, self.most, self.largest = "reading", dict[str, int](), 0
        self._status = Path(f"/proc/{process}/status")

    def run(self) -> None:
        while True:
            try:
                status = self._status.read_text()
                own, high = (int(status.split(name)[1].split()[0]) // 1024 for name in ("RssAnon:", "VmHWM:"))
            except (OSError, IndexError):  # it has ended
                return
            self.most[self.phase] = max(self.most.get(self.phase, 0), own)
            self.largest = max(self.largest, high)
            time.sleep(0.05)


def measure(path: Path, caches: Path, minutes: float, options: list[str]) -> tuple[float, Memory, str]:
    """Train on a corpus: seconds until training starts, memory by phase, and the last validation."""
    words = [sys.executable, "-m", "selfloop", "train", "lm", str(path), "--run", str(caches / "run")]
    words += ["--minutes", str(minutes), *options]
    began, seconds, valid = time.perf_counter(), 0.0, ""
    with subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(caches)},
    ) as process:
        memory = Memory(process.pid)
        memory.start()
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.lstrip().startswith("budget "):
                seconds, memory.phase = time.perf_counter() - began, "training"
            elif line.startswith("update ") and " valid " in line:
                valid = " ".join(line.split("valid")[1].split()[:2])
                if time.perf_counter() - began - seconds > 60 * minutes:  # the last one
                    process.kill()
    if not valid:
        sys.exit("".join(said))
    return seconds, memory, valid


def main() -> None:
    """Print a row for each size, form and kind of token."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--gigabytes", nargs="+", type=float, default=[0.05, 0.5, 5])
    parser.add_argument("--kinds", nargs="+", default=["char", "bpe", "word"])
    parser.add_argument("--forms", nargs="+", default=["txt"], choices=FORMS)
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--words", type=int, default=10_000)
    parser.add_argument("--streaming", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    chosen = parser.parse_args()
    print(
        f"{'form':8} {'GB':>5} {'kind':5} {'until training':>15} {'MB/s':>6}   RssAnon, MB: reading, training   largest"
    )
    for form in chosen.forms:
        for size in chosen.gigabytes:
            with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
                path = Path(temporary, f"corpus.{form}") if form != "folder" else Path(temporary, "corpus")
                make(path, form, chosen.texts, size * 1e9)
                for kind in chosen.kinds:
                    options = ["--tokenizer", kind, *["--streaming"] * chosen.streaming]
                    options += ["--vocab-size", str(chosen.words)] if kind == "word" else []
                    with tempfile.TemporaryDirectory(dir=temporary) as caches:
                        seconds, memory, valid = measure(path, Path(caches), chosen.minutes, options)
                    own = f"{memory.most['reading']:,}, {memory.most['training']:,}"
                    print(
                        f"{form:8} {size:5g} {kind:5} {seconds:13.1f} s {size * 1e3 / seconds:6.1f}   {own:>30}   "
                        f"{memory.largest:7,}   validation {valid}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
