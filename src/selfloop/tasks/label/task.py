"""Training a labeller: what the loop asks of it."""

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from selfloop.data.batches import pad
from selfloop.data.text.vocabulary import Vocabulary
from selfloop.decoding.tags import are_begun
from selfloop.errors import ConfigError
from selfloop.layers import State
from selfloop.metrics import are_spans
from selfloop.options.fields import filled
from selfloop.options.label import LabelConfig
from selfloop.tasks.examples_learner import ClassesLearner
from selfloop.tasks.inputs import Inputs, in_natural_order
from selfloop.tasks.label.labeller import Labeller


class Labelling(ClassesLearner[LabelConfig, Labeller]):
    """Sequences, each with a label a step."""

    UNITS = "sequences"
    OPENED = Labeller

    def summary(self) -> str:
        """The sequences to train on and to validate with."""
        (train, _), (valid, _) = self._train, self._valid
        return (
            f"{len(train):,} sequences to train on, {sum(map(len, train)):,} steps; {len(valid):,} to validate with, "
            f"{sum(map(len, valid)):,} steps; {len(self.inputs.classes)} labels"
        )

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, None]:
        """The cross-entropy of the judged steps of one batch; nothing is carried."""
        rows, batch, lengths = self._batch(step, share, next(model.parameters()).device)
        truth, _ = pad([self._train[1][row] + 1 for row in rows])  # beyond the end 0
        judged = truth > 0
        read_out = self.cross_entropy(truth[judged] - 1, batch.device, self.divisor(step, share), judged)
        loss, _ = model(batch, lengths=lengths, loss=read_out)
        return loss, int(judged.sum()), None

    def suited(self, config: LabelConfig) -> LabelConfig:
        """Also what chooses the best weights, and what each label weighs.

        Raises:
            ConfigError: it is no figure of such labels.
        """
        spans = are_spans({name for names in self.dataset.train.labels for name in names if name is not None})
        if config.training.best in (("edit", "f1_at_50") if spans else ("span_f1",)):
            what = "mark spans, and are judged by span_f1" if spans else "mark no spans (B-city, I-city, O)"
            by, name = config.training.best, self.dataset.name
            raise ConfigError(f"The best weights cannot be chosen by {by}: the labels of {name} {what}.")
        chosen: LabelConfig = filled(
            super().suited(config),
            training={"best": "span_f1" if spans else "accuracy"},
            loss={"class_weights": "sqrt" if spans else "none"},
        )
        return chosen

    def sentences(self, config: LabelConfig) -> Iterable[Sequence[str]] | None:
        """Those of words."""
        return self.dataset.train.inputs if self.dataset.kind == "words" else None

    def learn_inputs(self) -> Inputs:
        """The labels, and the words."""
        train, kind = self.dataset.train, self.dataset.kind
        classes = in_natural_order(name for names in train.labels for name in names if name is not None)
        spans = are_spans(classes) and are_begun(train.labels)
        if kind == "words":
            vocabulary = Vocabulary.of(train.inputs, also=self._vectors)
            return Inputs("words", (), classes, vocabulary=vocabulary, spans=spans)
        shape = tuple(train.inputs[0].shape[1:])
        return Inputs(kind, shape, classes, spans=spans, columns=self.dataset.columns)
