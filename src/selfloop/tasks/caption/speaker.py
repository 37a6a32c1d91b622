"""A captioner's model as decoding asks it: a step at a time, without tokens that no caption should have."""

import torch
from torch import Tensor

from selfloop.data import Tokenizer
from selfloop.data.text.token_kinds import UNKNOWN
from selfloop.models.decoder import DecoderState
from selfloop.models.image_writer import ImageWriter


class Speaker:
    """A model that never says ``<unk>``, and says a word at least.

    Args:
        model: writes.
        tokenizer: of its tokens.

    Attributes:
        never: the tokens that are not said.
    """

    def __init__(self, model: ImageWriter, tokenizer: Tokenizer) -> None:
        self._model, self._end = model, tokenizer.start_id
        self.never = tokenizer.encode(UNKNOWN) if tokenizer.kind == "word" else []

    def begin(self, seen: Tensor) -> tuple[Tensor, DecoderState]:
        """The logits of the first token, and the state, of images as the model takes them in."""
        logits, state = self.step(torch.full((len(seen),), self._end, device=seen.device), self._model.encode(seen))
        logits[:, self._end] = -torch.inf
        return logits, state

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """The logits of the next token, and the new state."""
        logits, state = self._model.step(tokens, state)
        logits[:, self.never] = -torch.inf
        return logits, state
