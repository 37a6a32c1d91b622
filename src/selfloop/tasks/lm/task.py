"""Training a language model: what the loop asks of it."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from selfloop.data import KINDS, Streams, Text, Tokenizer, Tokens, tokenize
from selfloop.data.text.fed_streams import FedStreams
from selfloop.data.text.pieces import sample
from selfloop.data.text.streaming import StreamedCorpus
from selfloop.data.text.token_kinds import ANYWHERE
from selfloop.errors import DataError
from selfloop.layers import State
from selfloop.layers.read_out import cross_entropy
from selfloop.options.lm import LanguageModelConfig
from selfloop.tasks.inputs import fingerprint_of_parts
from selfloop.tasks.learner import Learner
from selfloop.tasks.lm.score import evaluation_streams, score
from selfloop.tasks.lm.text_model import TextModel
from selfloop.tasks.run_config import save_tokenizer
from selfloop.training import Run
from selfloop.world import World

MOST_LEARNT_FROM = 50_000_000
"""Characters that words and pieces of words are counted in. Different words grow with the text: of 5 GB they took more
memory than training, and minutes to count."""


class LanguageModelling(Learner[Tokenizer, LanguageModelConfig, TextModel]):
    """Text, tokenizer and model for one run."""

    OPENED = TextModel
    TOGETHER = True

    def learn_inputs(self) -> Tokenizer:
        """The tokenizer of the training text; of words and their pieces, of a part where there is very much of it."""
        data, train = self.config.data, self.dataset.train

        def learn() -> Tokenizer:
            cut = KINDS[data.tokenizer].cut
            text = train if cut is ANYWHERE else sample(train, cut, MOST_LEARNT_FROM)
            return Tokenizer.train(data.tokenizer, text, data.vocab_size)

        return World.here().first_makes(learn)

    def prepare(self) -> int | None:
        """The texts as tokens, in streams.

        Raises:
            DataError: a text is too short.
        """
        training, window, world = self.config.training, self.config.data.window, World.here()
        self._fed: FedStreams | None = None
        if isinstance(self.dataset, StreamedCorpus):
            rows = -(-training.batch_size // world.size)
            self._fed = FedStreams(self.dataset.open(world), self.inputs, batch_size=rows, window=window)
        else:
            self.tokens = self._tokens(self.dataset.train, "training")
            self._streams = Streams(
                self.tokens.ids,
                batch_size=training.batch_size,
                window=window,
                start_id=self.inputs.start_id,
                seed=training.seed,
            )
        self.valid_tokens = self._tokens(self.dataset.valid, "validation")
        self._valid_streams = evaluation_streams(self.valid_tokens, self.inputs, training.batch_size)
        return None if self._fed is not None else self._streams.windows_per_epoch

    def _tokens(self, text: Text, name: str) -> Tokens:
        tokens = tokenize(text, self.inputs, world=World.here())
        if len(tokens) < 2:
            raise DataError(
                f"The {name} part of '{self.name}' has {len(tokens)} tokens, which is too little to learn from. "
                "Give a longer text."
            )
        return tokens

    def save(self, run: Run) -> None:
        """Keep the tokenizer."""
        save_tokenizer(run, self.inputs)

    def summary(self) -> str:
        """The tokens to train on and to validate with."""
        train = "a stream" if self._fed is not None else f"{len(self.tokens):,} tokens"
        return (
            f"{train} to train on, {len(self.valid_tokens):,} to validate with, "
            f"{self.inputs.vocab_size:,} types ({self.inputs.kind})"
        )

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, State | None]:
        """Truncated BPTT: the window of this step, from the state that the window before has left."""
        if self._fed is None:
            epoch, k = divmod(step, self.steps_per_epoch)
            carry, window = carry if k else None, self._streams.window(epoch, k, rows=share)
        else:
            window = self._fed.next_window()
        device = next(model.parameters()).device
        inputs, targets = (v.to(device) for v in window)
        loss, state, y, dropped = model(inputs, carry, outputs=True, loss=cross_entropy(targets))
        chosen = self.config.loss
        if chosen.activity:
            loss = loss + chosen.activity * dropped.square().mean()
        if chosen.slowness and len(y) > 1:
            loss = loss + chosen.slowness * y.diff(dim=0).square().mean()
        return loss, targets.numel(), state.detach()

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """The validation text, read in as many streams as a batch has, up to `valid_tokens`."""
        limit = self.config.data.valid_tokens
        world = World.here()
        return score(
            model, self._valid_streams, self.valid_tokens, limit, self.inputs.unknown_id, world=world
        ).metrics()

    def hashes(self) -> dict[str, str]:
        """Hashes of the texts as tokens; of a stream, of what is held out of it."""
        texts = {} if self._fed is not None else {"training": self.tokens}
        return {
            f"{name} text": fingerprint_of_parts(as_pairs(tokens.ids))
            for name, tokens in {**texts, "validation": self.valid_tokens}.items()
        }

    def position(self) -> Mapping[str, Tensor]:
        """Where a stream is."""
        return {} if self._fed is None else self._fed.position()

    def go_to(self, position: Mapping[str, Tensor]) -> None:
        """Go on from there."""
        if self._fed is not None:
            self._fed.go_to(position)


def as_pairs(ids: npt.NDArray[np.unsignedinteger]) -> Iterator[npt.NDArray[np.unsignedinteger]]:
    """Tokens in parts, of two bytes a token at the least: runs that were begun when all had two know their hash."""
    dtype = max(ids.dtype, np.dtype("<u2"), key=lambda dtype: dtype.itemsize)
    return (ids[start : start + (1 << 20)].astype(dtype) for start in range(0, len(ids), 1 << 20))
