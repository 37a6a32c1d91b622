"""A small run of each task, made without training."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfloop.data import Tokenizer
from selfloop.data.text.vocabulary import Vocabulary
from selfloop.tasks.caption.captioner import Sight
from selfloop.tasks.caption.choose_vision import choose_vision
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.table import TASKS
from selfloop.tasks.translate.languages import Languages
from selfloop.training import Progress, Run
from selfloop.training.run import weights

TEXT = ["the cat sat on the mat\n"]
WORDS = [["the", "cat"], ["the", "mat"]]


def make(
    task: str,
    folder: Path,
    *,
    inputs: Any = None,
    model: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    scale: float = 1.0,
) -> Run:
    """A small run of a task, with fresh weights, and a checkpoint to resume from.

    Args:
        task: by name.
        folder: of the run.
        inputs: between data and network; None for those of a few words or numbers.
        model: options of it that are others.
        data: likewise.
        scale: of the weights; larger ones have opinions.
    """
    options = {"hidden_size": 6, "embedding_size": 6, **({"feature_size": 6} if task == "caption" else {})}
    config = TASKS[task].config.model_validate({"model": {**options, **(model or {})}, "data": {**(data or {})}})
    run = Run.create(folder, task, config.model_dump(mode="json"))
    tokenizer = Tokenizer.train("char", TEXT)
    inputs = (
        inputs
        or {
            "lm": tokenizer,
            "classify": Inputs("series", (3,), ("a", "b")),
            "label": Inputs("words", (), ("a", "b"), vocabulary=Vocabulary.of(WORDS)),
            "translate": Languages.learn(TEXT, TEXT, vocab_size=300),
            "caption": Sight(choose_vision("small"), tokenizer),
        }[task]
    )
    inputs.save(run.path / "tokenizer.json" if task == "lm" else run)
    network = TASKS[task].predictor.build(config.model, inputs, choose_cell(config.model.cell))
    for parameter in network.parameters():
        parameter.data.mul_(scale)
    run.save_model(network, {})
    facts = {
        "progress": asdict(Progress(step=1, best_loss=1.0)),
        "pending": None,
        "options": config.training.model_dump(),
        "groups": [],
        "states": [],
        "metrics_bytes": 0,
        "task": {},
    }
    run.save_checkpoint({f"model/{name}": tensor for name, tensor in weights(network).items()}, facts)
    return run
