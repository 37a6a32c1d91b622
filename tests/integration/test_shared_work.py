"""Under torchrun, `evaluate` and `predict` share their work: the first process says what one process says."""

import json

import pytest
import small_runs
from integration.launch import Launched
from integration.world import be_exact, be_one_of, free_port


@pytest.fixture
def said(tmp_path):
    """What a command prints in a world of so many processes: the first one's words, and those of the others."""

    def run(size, *arguments):
        port, launched = free_port(), []
        for rank in range(size):
            folder = tmp_path / f"{size}-{rank}-{len([*tmp_path.iterdir()])}"
            folder.mkdir()
            prepare = (be_exact,) if size == 1 else (be_one_of, rank, size, port)
            launched.append(Launched(folder, *arguments, prepare=prepare))
        ended = [process.end() for process in launched]
        assert [one.status for one in ended] == [0] * size, "\n".join(one.err for one in ended)
        return ended[0].out, "".join(one.out + one.err for one in ended[1:])

    return run


@pytest.fixture
def sentences(tmp_path):
    rows = [{"words": ["the", "cat", "mat"][: 1 + k % 3], "labels": ["a", "b", "a"][: 1 + k % 3]} for k in range(7)]
    path = tmp_path / "words.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("size", [2, 5])
def test_predictions_are_those_of_one_process(said, sentences, tmp_path, size):
    """Of seven sentences in batches of two; of five processes the last has none."""
    run = small_runs.make("label", tmp_path / "run", scale=5.0).path
    for command in (["predict", run, sentences, "--format", "csv"], ["evaluate", run, sentences, "--json"]):
        alone, (shared, others) = said(1, *command)[0], said(size, *command)
        assert alone.startswith("{") or len(alone.splitlines()) == 1 + 13
        assert (shared, others) == (alone, "")


def test_a_text_is_scored_by_one_and_another_by_the_other(said, play):
    run = play.parent / "first"
    for more in ([], ["--sample", 200]):
        one, two = (json.loads(said(size, "evaluate", run, *more, "--json")[0]) for size in (1, 2))
        assert two.keys() == one.keys()
        for part in one:
            assert two[part] == pytest.approx(one[part], rel=1e-9)
