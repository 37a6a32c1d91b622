"""Training a language model: what the loop asks of it."""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from selfloop.data import Streams, Text, Tokenizer, tokenize
from selfloop.data.examples import BadItems
from selfloop.errors import DataError
from selfloop.language import Cell
from selfloop.layers import State
from selfloop.options.lm import LanguageModelConfig
from selfloop.tasks.choose_cell import choose_cell
from selfloop.tasks.lm.score import evaluation_streams, negative_log_likelihood, score
from selfloop.tasks.lm.text_model import TextModel, open_corpus
from selfloop.training import Run
from selfloop.training.checkpoint import writing


class LanguageModelling:
    """Text, tokenizer and model for one run.

    Args:
        config: what was chosen.
        tokenizer: of a run that is resumed; None trains one on the training text.
        cell: the cell, where it is not to be found by its name.

    Raises:
        DataError: the text cannot be read, or is too short.
        ConfigError: the cell or the tokenizer does not exist.
    """

    def __init__(
        self, config: LanguageModelConfig, tokenizer: Tokenizer | None = None, cell: Cell | None = None
    ) -> None:
        data, training = config.data, config.training
        self.config = config
        cell = cell or choose_cell(config.model.cell)
        self.bad = BadItems()
        self.corpus = open_corpus(data, self.bad)
        self.name, self.origin = self.corpus.name, self.corpus.origin
        self.tokenizer = tokenizer or Tokenizer.train(data.tokenizer, self.corpus.train, data.vocab_size)
        self.tokens = tokenize(self.corpus.train, self.tokenizer)
        self.valid_tokens = tokenize(self.corpus.valid, self.tokenizer)
        for name, tokens in (("training", self.tokens), ("validation", self.valid_tokens)):
            if len(tokens) < 2:
                raise DataError(
                    f"The {name} part of '{self.corpus.name}' has {len(tokens)} tokens, which is too little to learn "
                    "from. Give a longer text."
                )
        self._streams = Streams(
            self.tokens.ids,
            batch_size=training.batch_size,
            window=data.window,
            start_id=self.tokenizer.start_id,
            seed=training.seed,
        )
        self._valid_streams = evaluation_streams(self.valid_tokens, self.tokenizer, training.batch_size)
        torch.manual_seed(training.seed)
        self.model = TextModel.build(config.model, self.tokenizer.vocab_size, cell)
        self.steps_per_epoch = self._streams.windows_per_epoch

    @classmethod
    def resume(cls, config: LanguageModelConfig, run: Run, cell: Cell | None) -> "LanguageModelling":
        """The same, with the tokenizer that a run has kept."""
        return cls(config, Tokenizer.load(run.path / "tokenizer.json"), cell)

    def save(self, run: Run) -> None:
        """Keep the tokenizer."""
        with writing(run.path / "tokenizer.json"):
            self.tokenizer.save(run.path / "tokenizer.json")

    def summary(self) -> str:
        """The tokens to train on and to validate with."""
        return (
            f"{len(self.tokens):,} tokens to train on, {len(self.valid_tokens):,} to validate with, "
            f"{self.tokenizer.vocab_size:,} types ({self.tokenizer.kind})"
        )

    def parts(self) -> Mapping[str, Text]:
        """The validation and the test text."""
        return {"valid": self.corpus.valid, **({"test": self.corpus.test} if self.corpus.test else {})}

    def opened(self) -> TextModel:
        """The model as it stands."""
        return TextModel(self.model, self.tokenizer, self.config)

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, State | None]:
        """Truncated BPTT: the window of this step, from the state that the window before has left."""
        epoch, k = divmod(step, self.steps_per_epoch)
        device = next(model.parameters()).device
        inputs, targets = (v.to(device) for v in self._streams.window(epoch, k, rows=share))
        logits, state = model(inputs, carry if k else None)
        return negative_log_likelihood(logits, targets) / targets.numel(), targets.numel(), state.detach()

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """The validation text, read in as many streams as a batch has, up to `valid_tokens`."""
        limit = self.config.data.valid_tokens
        return score(model, self._valid_streams, self.valid_tokens, limit, self.tokenizer.unknown_id).metrics()

    def facts(self) -> Mapping[str, Any]:
        """Hashes of the texts as tokens."""
        return self._hashes

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
        """Made once, since it reads all tokens, and each checkpoint holds it."""
        texts = {"training text": self.tokens, "validation text": self.valid_tokens}
        return {name: hashlib.blake2b(t.ids.data, digest_size=8).hexdigest() for name, t in texts.items()}
