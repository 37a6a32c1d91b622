"""Some of a run's validation data, as its models read them: what exports of every form are tried with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from selfloop.data.batches import pad
from selfloop.tasks.caption.captioner import Captioner
from selfloop.tasks.caption.gallery import plain
from selfloop.tasks.classify.classifier import Classifier
from selfloop.tasks.label.labeller import Labeller
from selfloop.tasks.lm.text_model import TextModel
from selfloop.tasks.predictor import TrainedModel
from selfloop.tasks.translate.translator import Translator

Array: TypeAlias = NDArray[Any]

EXAMPLES = 8
"""Validation examples that files are tried with."""

MOST_STEPS = 64
"""Of each of them that are read: rounding errors grow along a sequence, and ``check.c`` holds them all."""

STEPS = 4
"""Calls of a step, each from the state after the one before."""

Arrays = Mapping[str, Array]

Data = tuple[Arrays, Sequence[Arrays]]
"""The inputs of a run's first file, and of the steps after it; states are left out."""


def some_of(opened: TrainedModel, part: Any) -> Data:
    """Some of a run's validation data, as its files read them.

    Raises:
        SelfloopError: they are not what the model reads.
    """
    if not isinstance(opened, TextModel):
        part = part.select(range(0, len(part), -(-len(part) // EXAMPLES)))
    found: Data = next(read(opened, part) for kind, read in READ.items() if isinstance(opened, kind))
    return found


def _text(opened: TextModel, text: Any) -> Data:
    """Eight places of a text, and the tokens that follow."""
    ids: list[int] = []
    for tokens in opened.tokenizer.encode_pieces(text):
        ids += [int(token) for token in tokens[: EXAMPLES * (MOST_STEPS + STEPS)]]
        if len(ids) >= EXAMPLES * (MOST_STEPS + STEPS):
            break
    length = min(MOST_STEPS + STEPS, max(2, len(ids) // EXAMPLES))
    rows = np.array(ids[: len(ids) // length * length][: EXAMPLES * length]).reshape(-1, length).T
    steps = min(STEPS, length - 1)
    whole = {"tokens": rows[:-steps], "lengths": np.full(rows.shape[1], length - steps)}
    return whole, [{"tokens": row} for row in rows[-steps:]]


def _examples(opened: Classifier | Labeller, part: Any) -> Data:
    """Examples side by side, and their first steps."""
    arrays = [array[:MOST_STEPS] for array in opened.inputs.arrays(part)]
    arrays = [array.astype(np.float32) for array in arrays] if opened.inputs.kind == "series" else arrays
    batch, lengths = _padded(arrays)
    return {"inputs": batch, "lengths": lengths}, [{"inputs": row} for row in batch[:STEPS]]


def _pairs(opened: Translator, part: Any) -> Data:
    """Sources side by side, and the first tokens of their translations."""
    source, lengths = _padded([tokens[:MOST_STEPS] for tokens in opened.inputs.read(part.inputs)])
    written, _ = _padded(opened.inputs.written(part.labels))
    return {"source": source.astype(np.int64), "lengths": lengths}, _tokens(written)


def _images(opened: Captioner, part: Any) -> Data:
    """Images, and the first tokens of a caption of each."""
    images = np.stack([picture.pixels(opened.vision.size) for picture in part.inputs])
    start = opened.tokenizer.start_id
    ids = opened.tokenizer.encode_batch([plain(captions[0]) for captions in part.labels])
    written, _ = _padded([np.array([start, *row]) for row in ids])
    return {"images": images}, _tokens(written)


READ: dict[type[TrainedModel], Callable[[Any, Any], Data]] = {
    TextModel: _text,
    Classifier: _examples,
    Labeller: _examples,
    Translator: _pairs,
    Captioner: _images,
}


def _padded(arrays: Sequence[Array]) -> tuple[Array, Array]:
    batch, lengths = pad(arrays)
    return batch.numpy(), np.full(len(arrays), len(batch)) if lengths is None else lengths.numpy()


def _tokens(written: Array) -> list[Arrays]:
    return [{"tokens": row.astype(np.int64)} for row in written[:STEPS]]
