"""Training a translator: what the loop asks of it."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from selfloop.data.examples import Examples
from selfloop.data.token_batches import TokenBatches, share_of
from selfloop.errors import DataError
from selfloop.layers import State
from selfloop.options.translate import TranslateConfig
from selfloop.tasks.inputs import fingerprint
from selfloop.tasks.learner import Learner
from selfloop.tasks.translate.languages import Languages, Tokens
from selfloop.tasks.translate.translator import Batch, Translator

SHOWN = 3
"""Held-out texts whose translations are shown at the end."""


class Translation(Learner[Languages, TranslateConfig, Translator]):
    """Pairs of texts, vocabularies and model for one run."""

    OPENED = Translator

    def learn_inputs(self) -> Languages:
        """The vocabularies of the training pairs."""
        data, train = self.config.data, self.dataset.train
        return Languages.learn(
            train.inputs,
            train.labels,
            kind=data.tokenizer,
            vocab_size=data.vocab_size,
            shared=data.shared_vocabulary,
            lowercase=data.lowercase,
        )

    def prepare(self) -> int:
        """The pairs as tokens, and the batches.

        Raises:
            DataError: all pairs are too long.
        """
        training = self.config.training
        self._sources, self._targets, self._too_long = self._short_enough(self.dataset.train)
        self._valid = self._of(self.dataset.valid)
        sources, targets = ([len(tokens) for tokens in side] for side in (self._sources, self._targets))
        self._batches = TokenBatches(sources, targets, training.batch_size, training.seed)
        return self._batches.per_epoch

    def summary(self) -> str:
        """The pairs to train on and to validate with, and the vocabularies."""
        languages = self.inputs
        sizes = f"{languages.source.vocab_size:,}"
        sizes += " shared" if languages.shared else f" and {languages.target.vocab_size:,}"
        too_long = f"; {self._too_long:,} longer than {self.config.data.max_length} tokens" if self._too_long else ""
        return (
            f"{len(self._sources):,} pairs to train on, {len(self.dataset.valid):,} to validate with, {sizes} types "
            f"({languages.source.kind}), {sum(map(len, self._targets)):,} tokens to write{too_long}"
        )

    def opened(self) -> Translator:
        """The model as it stands."""
        opened = super().opened()
        opened.shown = (self.dataset.test or self.dataset.valid).inputs[:SHOWN]
        return opened

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, None]:
        """The cross-entropy of the target's tokens, each given the true ones before it (teacher forcing).

        A share of a batch is weighed by its tokens, so that the mean over processes is that over the batch.
        """
        rows = self._batches.rows(*divmod(step, self.steps_per_epoch))
        size = self.config.training.batch_size
        mine = share_of(rows, share, size)
        device = next(model.parameters()).device
        batch = Batch.of([self._sources[row] for row in mine], [self._targets[row] for row in mine], device)
        processes = size / len(range(*share.indices(size)))
        tokens = sum(len(self._targets[row]) - 1 for row in rows)
        loss = batch.loss(model, self.config.loss.label_smoothing, tokens / processes)
        return loss, len(batch.truth), None

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """The surprise at all validation pairs, given the true tokens; BLEU waits for the end."""
        return self.opened().surprise(*self._valid).metrics()

    def hashes(self) -> dict[str, str]:
        """Hashes of the pairs as the model reads them."""
        return {
            "training pairs": fingerprint(*self._sources, *self._targets),
            "validation pairs": fingerprint(*self._valid[0], *self._valid[1]),
        }

    def _of(self, pairs: Examples) -> tuple[list[Tokens], list[Tokens]]:
        return self.inputs.read(pairs.inputs), self.inputs.written(pairs.labels)

    def _short_enough(self, pairs: Examples) -> tuple[Sequence[Tokens], Sequence[Tokens], int]:
        """The training pairs without those that are too long, which are counted and listed in any case."""
        sources, targets = self._of(pairs)
        longest, kept = self.config.data.max_length, []
        for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
            length = max(len(source), len(target) - 1)
            if length <= longest:
                kept.append(row)
            else:
                reason = f"has {length:,} tokens, where data.max_length is {longest:,}"
                self.bad.found.append((pairs.places[row], reason))
        if not kept:
            raise DataError(
                f"All {len(pairs):,} training pairs of {self.name} are longer than {longest:,} tokens: raise "
                "data.max_length, or cut them into sentences."
            )
        return [sources[row] for row in kept], [targets[row] for row in kept], len(pairs) - len(kept)
