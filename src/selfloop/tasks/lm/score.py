r"""How well a model predicts a text: the chain rule, written out.

$-\log p(w_1 … w_N) = \sum_t -\log p(w_t \mid w_{<t})$: at each step the model has read the true tokens so far (teacher
forcing), and the cross-entropies of the steps add up.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from selfloop.data import Streams, Tokenizer, Tokens
from selfloop.data.batches import Report
from selfloop.layers import State
from selfloop.layers.read_out import cross_entropy
from selfloop.tasks.score import TokenScore
from selfloop.world import ALONE, World

WINDOW = 256
"""Steps in one call of an evaluation; it changes the speed, not the figures."""


@dataclass(frozen=True)
class Score(TokenScore):
    """The surprise of a model at a text.

    Attributes:
        nats: the sum of -log p over the tokens.
        tokens: how many were scored.
        characters: how many characters they stand for.
        unknown: how many of the tokens are ``<unk>``, whose spelling costs the model nothing.
    """

    characters: float
    unknown: int = 0

    @property
    def bits_per_character(self) -> float | None:
        """Comparable between tokenizers; None where tokens are unknown, since these bits do not spell them."""
        return None if self.unknown else self.nats / math.log(2) / self.characters

    def metrics(self) -> dict[str, float]:
        """The figures by name; where tokens are unknown, their share stands for the bits per character."""
        bits = self.bits_per_character
        last = {"unknown": self.unknown / self.tokens} if bits is None else {"bits_per_character": bits}
        return {**super().metrics(), **last}


def evaluation_streams(tokens: Tokens, tokenizer: Tokenizer, streams: int = 1) -> Streams:
    """A text to be scored: in one stream it is read from end to end; in more it is read side by side, which is faster
    and costs each stream its memory of what came before.
    """
    return Streams(
        tokens.ids,
        batch_size=max(1, min(streams, len(tokens) // WINDOW)),
        window=min(WINDOW, len(tokens)),
        start_id=tokenizer.start_id,
    )


@torch.inference_mode()
def score(
    model: nn.Module,
    streams: Streams,
    tokens: Tokens,
    max_tokens: int | None = None,
    unknown_id: int | None = None,
    report: Report | None = None,
    world: World = ALONE,
) -> Score:
    """Score a text: the state is carried from window to window, and each token is scored once.

    Args:
        model: in evaluation mode.
        streams: the text, made by `evaluation_streams`.
        tokens: the text, for the number of its characters.
        max_tokens: stop when so many are scored; None scores all.
        unknown_id: the token of what the vocabulary does not hold, where there is one.
        report: is told the share that is done, from 0 to 1.
        world: the processes that share the streams; of fewer streams than processes, some have none.
    """
    device = next(model.parameters()).device
    nats, count, unknown = 0.0, 0, 0
    state: State | None = None
    first, end = (streams.batch_size * rank // world.size for rank in (world.rank, world.rank + 1))
    for k in range(streams.windows_per_epoch):
        inputs, targets = (v.to(device) for v in streams.window(0, k, slice(first, end)))
        if first < end:
            loss, state = model(inputs, state, loss=cross_entropy(targets, divisor=1))
            nats += float(loss)
            unknown += 0 if unknown_id is None else int((targets == unknown_id).sum())
        count += len(targets) * streams.batch_size
        if report is not None:
            report(min(1.0, count / (max_tokens or len(tokens))))
        if max_tokens is not None and count >= max_tokens:
            break
    found = world.each((nats, unknown))
    nats, unknown = math.fsum(own for own, _ in found), sum(own for _, own in found)
    return Score(nats, count, tokens.characters * count / len(tokens), unknown)
