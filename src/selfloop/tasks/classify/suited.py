"""What suits the training examples, where the user has left it open."""

from typing import Any

from selfloop.data.examples import Dataset
from selfloop.data.text.words import suits_words
from selfloop.options.classify import ClassifyConfig
from selfloop.options.fields import filled

WORDS: dict[str, Any] = {"pooling": "mean", "input_dropout": 0.5, "output_dropout": 0.5}
OTHERS: dict[str, Any] = {"pooling": "last", "input_dropout": 0.0, "output_dropout": 0.1}
"""Of series, images and characters."""


def suited(config: ClassifyConfig, dataset: Dataset) -> ClassifyConfig:
    """The configuration with all of its choices made."""
    if dataset.kind == "text":
        tokenizer = "word" if config.data.vectors or suits_words(dataset.train.inputs) else "char"
        config = filled(config, data={"tokenizer": tokenizer})
    by_words = dataset.kind == "text" and config.data.tokenizer in ("word", "bpe")
    chosen: ClassifyConfig = filled(config, model=WORDS if by_words else OTHERS)
    return chosen
