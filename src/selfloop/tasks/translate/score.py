"""How well a translator does."""

from collections.abc import Sequence
from dataclasses import dataclass

from selfloop.metrics import translation
from selfloop.tasks.score import Alignment, Attention, Drawing, TokenScore


@dataclass(frozen=True)
class Score(TokenScore):
    """What a translator made of texts whose translation is known.

    Attributes:
        nats: the sum of -log p(true token | source, true tokens so far) over the target's tokens.
        tokens: how many these are, the end of each text among them.
        bleu, chrf: of the translations that were found, from 0 to 100, with sacreBLEU's signatures.
        alignments: of a few of them, from short to long; None without attention.
    """

    bleu: translation.Score
    chrf: translation.Score
    alignments: Sequence[Alignment] | None = None

    def metrics(self) -> dict[str, float]:
        """The figures by name."""
        return {**super().metrics(), "bleu": self.bleu.value, "chrf": self.chrf.value}

    @property
    def signatures(self) -> dict[str, str]:
        """How BLEU and chrF were computed, which must stand beside them (Post 2018)."""
        return {"bleu_signature": self.bleu.signature, "chrf_signature": self.chrf.signature}

    def drawings(self) -> Sequence[Drawing]:
        """What some translations attended to."""
        return [] if self.alignments is None else [Attention(self.alignments)]
