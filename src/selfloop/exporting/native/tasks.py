"""Trained runs as native code: of `lm`, `classify` and `label`."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from selfloop.data.media.audio import FLOOR, HOP, LOWEST, WINDOW
from selfloop.errors import ArgumentError, SelfloopError
from selfloop.exporting.exported import UNKNOWN_COST, Cost, Exported, check_folder
from selfloop.exporting.native.describe import described
from selfloop.exporting.native.export import check_name, export_native, near, target_of
from selfloop.exporting.native.texts import Meaning, Words, token_reader, token_texts, word_reader
from selfloop.exporting.validation_data import some_of
from selfloop.tasks.classify.classifier import Classifier
from selfloop.tasks.inputs import Inputs
from selfloop.tasks.label.labeller import Labeller
from selfloop.tasks.lm.text_model import TextModel
from selfloop.tasks.loading import kind_of_model
from selfloop.tasks.predictor import TrainedModel
from selfloop.tasks.table import TASKS

REAL = 4
"""Sequences of the validation data that code is tried on."""

SCORED = 100_000
"""Targets of the validation data, about, by which the cost of shorter weights is measured."""


def export_run(
    opened: TrainedModel,
    folder: Path,
    weights: str = "f32",
    *,
    to: str,
    name: str = "model",
    target: str | None = None,
) -> Exported:
    """Write a trained model as native code, tried on the run's validation data where they are at hand.

    Args:
        opened: the model, as `selfloop.load` gives it.
        folder: new or empty.
        weights: ``f32``, ``bf16`` or ``int8``; of the shorter ones the cost on the validation data is measured.
        to: ``c``, ``object`` or ``wasm``.
        name: of the files, and what all names in them begin with.
        target: of an object file or of WebAssembly; this processor's, or engines with SIMD, if None.

    Raises:
        ArgumentError: there is no native code for the task or a part of the model, or the folder is not empty.
        BackendError: what was made does not give selfloop's numbers.
    """
    aimed = target_of(target, to)
    check_name(name)
    meaning = meaning_of(opened)
    check_folder(folder)
    module: Any = opened.model
    described(module, name, weights)  # what there is no code for is said before data are read
    part, inputs, without_data = None, list[Tensor](), None
    try:
        part = opened.parts()["valid"]
        inputs = _sequences(opened, part)
    except SelfloopError as error:
        without_data = f"with the run's data. {error}"
    cost = None if part is None or weights == "f32" else cost_of(opened, part, weights)
    made = export_native(module, folder, to=to, name=name, form=weights, target=aimed, meaning=meaning, inputs=inputs)
    is_unknown = weights != "f32" and part is None
    notes = (UNKNOWN_COST.format(form=weights),) if is_unknown else ()
    return Exported(
        files=made.files,
        tried=made.tried,
        not_tried=made.not_tried + (() if without_data is None else (without_data,)),
        sizes=made.sizes,
        cost=cost,
        notes=notes,
    )


def meaning_of(opened: TrainedModel) -> Meaning:
    """What a program is to know of a run's numbers.

    Raises:
        ArgumentError: there is no native code for models of its task.
    """
    for kind, found in MEANINGS.items():
        if isinstance(opened, kind):
            return found(opened)
    task = next(name for name, one in TASKS.items() if one is kind_of_model(opened))
    raise ArgumentError(f"There is no native code for models of {task}: export to ONNX, with --to onnx.")


def cost_of(opened: TrainedModel, part: Any, form: str, sample: int | None = SCORED) -> Cost:
    """What a run loses by shorter weights.

    Args:
        opened: the model.
        part: data of which the truth is known, as `TrainedModel.parts` gives them.
        form: of the weights.
        sample: judge about so many targets; None judges all.
    """
    shorter = copy.copy(opened)
    shorter.model = near(cast(Any, opened.model), form)
    before, after = (one.score(part, sample=sample) for one in (opened, shorter))
    return Cost(form, before.count, before.metrics(), after.metrics())


def _sequences(opened: TrainedModel, part: Any) -> list[Tensor]:
    """The beginnings of some examples, as the model reads them."""
    whole, _ = some_of(opened, part)
    (title,) = set(whole) - {"lengths"}
    batch, lengths = torch.from_numpy(whole[title]), whole["lengths"]
    return [batch[: int(n), k] for k, n in enumerate(lengths[:REAL])]


# What numbers mean


def _of_text(opened: TextModel) -> Meaning:
    tokenizer = opened.tokenizer
    reader, beside = token_reader(tokenizer), dict[str, bytes]()
    about = "It reads tokens, and says how likely each is to be the next: y[k] is the logit of token k.\n"
    if reader is None:
        beside["tokenizer.json"] = tokenizer.json
    words = Words("tokens", token_texts(tokenizer), are_spaced=tokenizer.kind == "word")
    return Meaning(about + TOKENS[tokenizer.kind], words, reader, tokenizer.start_id, beside, tokenizer)


TOKENS = {
    "char": "A token is a character.",
    "byte": "A token is a byte of UTF-8.",
    "word": "A token is a word, as it stands between spaces; a new line is a token, too. Tokens are written with a "
    "space between them, but none beside a new line.",
    "bpe": "A token is a piece of a word, as byte-pair encoding cuts them: bytes, which may be a part of a character. "
    "There is no code here that cuts a text, since the order of merges decides: take the numbers of tokens from the "
    "library `tokenizers`, which opens tokenizer.json.",
}
"""What a token is, by the kind of the tokenizer."""


def _of_examples(opened: Classifier | Labeller) -> Meaning:
    inputs: Inputs = opened.inputs
    words = Words("labels", [text.encode() for text in inputs.classes])
    what = "example" if isinstance(opened, Classifier) else "step"
    answer = f"y[k] is the logit of label k of the {what}: softmax makes probabilities of them."
    if inputs.spans:
        answer += (
            "\nselfloop itself takes the best path through these logits on which each span begins with its B- tag "
            "(Viterbi). The largest of each step, which example.c takes, may differ from it."
        )
    if inputs.vocabulary is not None:
        splits_marks = inputs.kind == "text"
        spelt = word_reader(inputs.vocabulary, splits_marks=splits_marks)
        about = (
            "It reads words. A word is a row of numbers: its number among the words that are known, or 0; the code "
            "points of its letters in lower case, at most 20, with zeros after them; and as many of its shape, in "
            "which X stands for a capital, L for another letter, D for a digit, and all else for itself."
        )
        return Meaning(f"{about}\n{answer}", words, spelt, vocabulary=inputs.vocabulary, splits_marks=splits_marks)
    if inputs.tokenizer is not None:
        tokenizer = inputs.tokenizer
        reader = token_reader(tokenizer, is_never_empty=True)
        beside: dict[str, bytes] = {} if reader is not None else {"tokenizer.json": tokenizer.json}
        about = f"It reads the tokens of a text. {TOKENS[tokenizer.kind]}"
        return Meaning(f"{about}\n{answer}", words, reader, tokenizer.start_id, beside, tokenizer)
    return Meaning(f"{_series(opened)}\n{answer}", words)


def _series(opened: Classifier | Labeller) -> str:
    """What the numbers of a step are."""
    inputs, data = opened.inputs, opened.config.data
    (channels,) = inputs.shape if inputs.kind == "series" else (0,)
    scaled = "They are brought to mean 0 and deviation 1 inside."
    if inputs.image is not None:
        height, width, *colours = inputs.image
        size = f"{height} rows of {width} pixels{' of red, green and blue' if colours else ''}, each from 0 to 255"
        scan = getattr(data, "scan", "pixels")
        step = "a row" if scan == "rows" else "a pixel, row after row"
        return f"It reads images of {size}. A step is {step}. {scaled}"
    text = (
        f"It reads series. A step is {channels} number{'s' if channels > 1 else ''}, in the order and the units of the "
        f"training data{'' if data.source is None else f', {Path(data.source).name}'}.\n{scaled}"
    )
    features = data.mels * (2 if data.stereo else 1)
    if getattr(data, "scan", "") == "samples":
        return f"{text}\nOf sound, they are samples from -1 to 1, {data.rate:,} a second."
    if channels == features:
        return (
            f"{text}\nOf sound, they are the logarithms of {data.mels} mel energies plus {FLOOR:g}: of Hann's windows "
            f"of {1000 * WINDOW:g} ms, one each {1000 * HOP:g} ms, at {data.rate:,} samples a second from -1 to 1, by "
            f"triangular filters from {LOWEST:g} Hz up. There is no code here that computes them."
        )
    return text


MEANINGS: dict[type[TrainedModel], Callable[[Any], Meaning]] = {
    TextModel: _of_text,
    Classifier: _of_examples,
    Labeller: _of_examples,
}
