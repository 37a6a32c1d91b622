"""Several processes make one file of tokens: the bytes are those that one process writes."""

import pytest
from integration.launch import Launched
from integration.world import fill_the_second_disk, free_port, take_place

PROGRAM = """
import random, sys
from pathlib import Path
from selfloop.data import Text, Tokenizer, tokenize
from selfloop.errors import DataError
from selfloop.world import joined_world

draw = random.Random(1)
words = [draw.choice("aeiouäß世") + draw.choice("bcdf") * draw.randrange(4) for _ in range(500)]
pieces = [" ".join(draw.choices(words, k=draw.randrange(20_000))) + "\\n" for _ in range(60)]
with joined_world() as world:
    for kind in ("char", "byte", "word", "bpe"):
        tokenizer = world.first_makes(lambda: Tokenizer.train(kind, pieces[:2], 256 + 50 if kind == "bpe" else None))
        text = Text(lambda: iter(pieces), f"of {kind}")
        for _ in range(2):
            try:
                tokens = tokenize(text, tokenizer, Path(sys.argv[1]), world)
                print(kind, len(tokens), tokens.characters, tokens.bytes)
            except DataError as error:
                print(error)
"""


@pytest.fixture
def stores(tmp_path):
    """The files that each process of a world makes, by name, and what it prints."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")

    def make(size, prepare=take_place):
        port, launched = free_port(), []
        for rank in range(size):
            place = tmp_path / f"process-{size}-{rank}"
            place.mkdir()
            folder = f"{size}-{rank // 2}"  # two processes a machine, each of which has its disk
            launched.append(Launched(place, tmp_path / folder, program=program, prepare=(prepare, rank, size, port)))
        ended = [process.end() for process in launched]
        assert [one.status for one in ended] == [0] * size, "\n".join(one.err for one in ended)
        machines = range(1 + (size - 1) // 2)
        files = [{path.name: path.read_bytes() for path in tmp_path.glob(f"{size}-{k}/*")} for k in machines]
        return files, [one.out for one in ended]

    return make


def test_the_bytes_are_those_of_one_process(stores):
    (alone,), (said,) = stores(1)
    assert len(alone) == 4
    for size in (2, 3):
        files, all_said = stores(size)
        assert files == [alone] * (size - 1)
        assert all_said == [said] * size


def test_a_process_that_loses_its_disk_says_so_and_does_not_keep_the_others(stores):
    files, (first, second, third) = stores(3, fill_the_second_disk)
    assert len(files[0]) == 4 and not files[1]
    assert first == second and first.splitlines()[0].startswith("char ")
    assert third.count("The tokens of the text cannot be kept in") == 8
