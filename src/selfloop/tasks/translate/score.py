"""How well a translator does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from selfloop.metrics import translation


class Alignment(NamedTuple):
    """What a translation attended to; the arguments of `selfloop.inspect.draw_attention`.

    Attributes:
        weights: (T, S), from 0 to 1; row t is what target token t was made from.
        source_tokens: the S tokens that were read.
        target_tokens: the T tokens that were written, the end among them.
    """

    weights: npt.NDArray[np.float32]
    source_tokens: list[str]
    target_tokens: list[str]


@dataclass(frozen=True)
class Score:
    """What a translator made of texts whose translation is known.

    Attributes:
        nats: the sum of -log p(true token | source, true tokens so far) over the target's tokens.
        tokens: how many these are, the end of each text among them.
        bleu, chrf: of the translations that were found, from 0 to 100, with sacreBLEU's signatures.
        alignment: of one of them; None without attention.
    """

    nats: float
    tokens: int
    bleu: translation.Score
    chrf: translation.Score
    alignment: Alignment | None = None

    @property
    def count(self) -> int:
        """The tokens."""
        return self.tokens

    def metrics(self) -> dict[str, float]:
        """The figures by name."""
        return {**surprise(self.nats, self.tokens), "bleu": self.bleu.value, "chrf": self.chrf.value}

    @property
    def signatures(self) -> dict[str, str]:
        """How BLEU and chrF were computed, which must stand beside them (Post 2018)."""
        return {"bleu_signature": self.bleu.signature, "chrf_signature": self.chrf.signature}

    def details(self) -> Sequence[dict[str, float]]:
        """Nothing beyond the figures."""
        return []


def surprise(nats: float, tokens: int) -> dict[str, float]:
    """The loss in nats a token, and the perplexity."""
    loss = nats / tokens
    return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}
