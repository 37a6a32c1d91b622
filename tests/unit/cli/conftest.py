import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_runs import make

from selfloop.data import Tokenizer
from selfloop.options import LanguageModelConfig
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.lm import TextModel
from selfloop.training import Run


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], None], Path], Path]:
    """Makes a folder the first time that a module asks for it; each test gets a copy."""
    kept = tmp_path_factory.mktemp("kept") / "folder"

    def copy(make: Callable[[Path], None], path: Path) -> Path:
        if not kept.exists():
            make(path)
            shutil.copytree(path, kept)
            return path
        return shutil.copytree(kept, path)

    return copy


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model has fresh weights."""
    config = LanguageModelConfig.model_validate({"model": {"embedding_size": 5, "hidden_size": 7}})
    tokenizer = Tokenizer.train("char", ["the cat sat on the mat, né 你好\n"])
    torch.manual_seed(3)
    model = TextModel.build(config.model, tokenizer, choose_cell("lstm"))
    run = Run.create(tmp_path_factory.mktemp("runs") / "mine", "lm", config.model_dump(mode="json"))
    tokenizer.save(run.path / "tokenizer.json")
    run.save_model(model, {})
    return run.path


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the zoo's LSTM, one of the user's own cell, and a translator."""
    folder = tmp_path_factory.mktemp("runs")
    own = "from selfloop import cell, param, tanh\n\n\n@cell\ndef mine(x, h, *, W=param('h x'), U=param('h h')):\n"
    (folder / "own.py").write_text(f"{own}    h = tanh(W @ x + U @ h)\n    return h\n")
    make("lm", folder / "play")
    make("lm", folder / "own", model={"cell": f"{folder / 'own.py'}:mine"})
    make("translate", folder / "en-de")
    return folder
