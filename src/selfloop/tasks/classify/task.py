"""Training a classifier: what the loop asks of it."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from selfloop.data import Tokenizer
from selfloop.data.text.vocabulary import Vocabulary
from selfloop.data.text.words import split_words
from selfloop.layers import State
from selfloop.options.classify import ClassifyConfig
from selfloop.tasks.classify.classifier import Classifier
from selfloop.tasks.classify.suited import suited
from selfloop.tasks.examples_learner import ClassesLearner
from selfloop.tasks.inputs import Inputs, in_natural_order


class Classification(ClassesLearner[ClassifyConfig, Classifier]):
    """Examples, each of a class."""

    UNITS = "examples"
    OPENED = Classifier

    def summary(self) -> str:
        """The examples to train on and to validate with."""
        (train, _), (valid, _) = self._train, self._valid
        return (
            f"{len(train):,} examples to train on, {len(valid):,} to validate with, "
            f"{len(self.inputs.classes)} classes; at most {max(map(len, train)):,} {self._steps()}"
        )

    def _steps(self) -> str:
        """What the steps are."""
        vocabulary, tokenizer = self.inputs.vocabulary, self.inputs.tokenizer
        if vocabulary is not None:
            return f"words ({len(vocabulary.words):,} known)"
        kinds = {"char": "characters", "byte": "bytes", "word": "words", "bpe": "pieces of words"}
        return "steps" if tokenizer is None else f"{kinds[tokenizer.kind]} ({tokenizer.vocab_size:,} known)"

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, None]:
        """The cross-entropy of the classes of one batch; nothing is carried."""
        rows, batch, lengths = self._batch(step, share, next(model.parameters()).device)
        truth = torch.from_numpy(self._train[1][rows])
        loss = self.cross_entropy(truth, batch.device, self.divisor(step, share))
        return model(batch, lengths, loss=loss), len(rows), None

    def suited(self, config: ClassifyConfig) -> ClassifyConfig:
        """Also the tokenizer, and what goes with it."""
        return suited(super().suited(config), self.dataset)

    def sentences(self, config: ClassifyConfig) -> Iterable[Sequence[str]] | None:
        """Those of texts."""
        by_words = self.dataset.kind == "text" and config.data.tokenizer in (None, "word")
        return map(split_words, self.dataset.train.inputs) if by_words else None

    def learn_inputs(self) -> Inputs:
        """The classes, and the tokens of texts."""
        dataset, data = self.dataset, self.config.data
        classes = in_natural_order(dataset.train.labels)
        if dataset.kind == "text":
            texts, kind = dataset.train.inputs, str(data.tokenizer)
            if kind == "word":
                vocabulary = Vocabulary.of(map(split_words, texts), data.vocab_size, also=self._vectors)
                return Inputs("text", (), classes, vocabulary=vocabulary)
            return Inputs("text", (), classes, Tokenizer.train(kind, texts, data.vocab_size))
        shape = tuple(dataset.train.inputs[0].shape[1:])
        return Inputs(dataset.kind, shape, classes, image=dataset.image, columns=dataset.columns)
