import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.launch import Ended, Launched

SMALL = ("model.hidden_size=16", "model.embedding_size=8", "training.batch_size=4", "data.window=8")


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of this process and of those that it starts."""
    cache = str(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("HF_HUB_OFFLINE", "1"),
            ("XDG_CACHE_HOME", cache),
            ("OMP_NUM_THREADS", "1"),
            ("COLUMNS", "200"),
        ):
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four thousand characters."""
    words = ["the", "of", "and", "to", "in", "a", "is", "that", "it", "was", "for", "on", "are", "as", "with", "his"]
    draw = random.Random(1)
    path = tmp_path_factory.mktemp("text") / "play.txt"
    path.write_text("\n".join(" ".join(draw.choices(words, k=9)) for _ in range(110)))
    Launched(path.parent, "train", "lm", path, *_words(SMALL), "--steps", 1, "--run", "first").end()  # keeps its tokens
    return path


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Options for a model that trains in a moment."""
    return _words(SMALL)


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Ended]:
    """Runs `selfloop train lm …` in a process of its own."""
    return lambda *arguments, **more: Launched(tmp_path, "train", "lm", *arguments, **more).end()


def _words(assignments: tuple[str, ...]) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]
