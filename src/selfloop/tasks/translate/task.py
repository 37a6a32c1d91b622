"""Training a translator: what the loop asks of it."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from selfloop.data.examples import BadItems, Examples
from selfloop.data.token_batches import TokenBatches, share_of
from selfloop.errors import DataError
from selfloop.language import Cell
from selfloop.layers import State
from selfloop.options.translate import TranslateConfig
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.inputs import fingerprint
from selfloop.tasks.reading import read
from selfloop.tasks.translate.languages import Languages, Tokens
from selfloop.tasks.translate.score import surprise
from selfloop.tasks.translate.translator import Batch, Translator, reader
from selfloop.training import Run

SHOWN = 3
"""Held-out texts whose translations are shown at the end."""


class Translation:
    """Pairs of texts, vocabularies and model for one run.

    Args:
        config: what was chosen.
        languages: of a run that is resumed; None learns the vocabularies from the training pairs.
        cell: the cell, where it is not to be found by its name.

    Raises:
        DataError: the pairs cannot be read, or all are too long.
        ConfigError: the cell does not exist, or a vocabulary cannot have that many types.
    """

    def __init__(self, config: TranslateConfig, languages: Languages | None = None, cell: Cell | None = None) -> None:
        data, training = config.data, config.training
        self.config = config
        cell = cell or choose_cell(config.model.cell)
        self.bad = BadItems(data.skip_bad)
        self.dataset = read(reader(config, self.bad), config)
        self.name, self.origin = self.dataset.name, self.dataset.origin
        self.inputs = languages or Languages.learn(
            self.dataset.train.inputs,
            self.dataset.train.labels,
            kind=data.tokenizer,
            vocab_size=data.vocab_size,
            shared=data.shared_vocabulary,
            lowercase=data.lowercase,
        )
        self._sources, self._targets, self._too_long = self._short_enough(self.dataset.train)
        self._valid = self._of(self.dataset.valid)
        self._batches = TokenBatches(
            [len(s) for s in self._sources], [len(t) for t in self._targets], training.batch_size, training.seed
        )
        self.steps_per_epoch = self._batches.per_epoch
        torch.manual_seed(training.seed)
        self.model = Translator.build(config.model, self.inputs, cell)

    @classmethod
    def resume(cls, config: TranslateConfig, run: Run, cell: Cell | None) -> "Translation":
        """The same, with the vocabularies that a run has kept."""
        return cls(config, Languages.load(run, config.data.shared_vocabulary, config.data.lowercase), cell)

    def save(self, run: Run) -> None:
        """Keep the vocabularies."""
        self.inputs.save(run)

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

    def parts(self) -> Mapping[str, Examples]:
        """The validation and the test pairs."""
        return {"valid": self.dataset.valid, **({"test": self.dataset.test} if self.dataset.test else {})}

    def opened(self) -> Translator:
        """The model as it stands."""
        held_out = self.dataset.test or self.dataset.valid
        return Translator(self.model, self.inputs, self.config, held_out.inputs[:SHOWN])

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, None]:
        """The cross-entropy of the target's tokens, each given the true ones before it (teacher forcing).

        A share of a batch is weighed by its tokens, so that the mean over processes is that over the batch.
        """
        rows = self._batches.rows(*divmod(step, self.steps_per_epoch))
        size = self.config.training.batch_size
        mine = share_of(rows, share, size)
        device = next(model.parameters()).device
        batch = Batch.of([self._sources[row] for row in mine], [self._targets[row] for row in mine], device)
        logits = model(*batch.inputs, where=batch.valid)
        smoothing = self.config.loss.label_smoothing
        total = F.cross_entropy(logits.float(), batch.truth, reduction="sum", label_smoothing=smoothing)
        processes = size / len(range(*share.indices(size)))
        tokens = sum(len(self._targets[row]) - 1 for row in rows)
        return total * (processes / tokens), len(batch.truth), None

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """The surprise at all validation pairs, given the true tokens; BLEU waits for the end."""
        return surprise(*self.opened().nats(*self._valid))

    def facts(self) -> Mapping[str, Any]:
        """Hashes of the pairs as the model reads them."""
        return self._hashes

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
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
