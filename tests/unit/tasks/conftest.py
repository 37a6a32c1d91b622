from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from selfloop.data import Text, Tokenizer
from selfloop.options import LanguageModelConfig
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.lm import TextModel
from selfloop.training import Run

TEXT = "the cat sat on the mat, the dog sat on the log: né 你好 😀\n" * 20


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Silent:
    """Watches a run, and says nothing."""

    def reported(self, report: object) -> None:
        pass

    def validated(self, metrics: object, best: bool) -> None:
        pass

    def stop(self) -> bool:
        return False


@pytest.fixture
def silent() -> Silent:
    return Silent()


@pytest.fixture(scope="session")
def make_model() -> Callable[..., TextModel]:
    """Makes a text model with fresh weights, large enough to have opinions."""

    def make(kind: str = "char", **options: Any) -> TextModel:
        model = {"embedding_size": 5, "hidden_size": 7, **options}
        config = LanguageModelConfig.model_validate({"data": {"tokenizer": kind}, "model": model})
        tokenizer = Tokenizer.train(kind, Text.of(TEXT), 300 if kind == "bpe" else None)
        torch.manual_seed(3)
        network = TextModel.build(config.model, tokenizer, choose_cell(config.model.cell))
        for parameter in network.parameters():
            parameter.data.mul_(2)
        return TextModel(network, tokenizer, config)

    return make


@pytest.fixture
def make_run(make_model: Callable[..., TextModel], tmp_path: Path) -> Callable[..., tuple[Run, TextModel]]:
    """Makes a run's folder, as training leaves it, and the model that is in it."""

    def make(kind: str = "char", **options: Any) -> tuple[Run, TextModel]:
        text_model = make_model(kind, **options)
        run = Run.create(tmp_path / "runs" / "mine", "lm", text_model.config.model_dump(mode="json"))
        text_model.tokenizer.save(run.path / "tokenizer.json")
        run.save_model(text_model.model, {"loss": 1.0})
        return run, text_model

    return make
