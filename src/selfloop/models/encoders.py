"""What stands before a recurrent stack: from tokens, numbers or frames to a vector at every step."""

import functools
import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from selfloop.errors import ArgumentError
from selfloop.models.bags import sums_of_bags
from selfloop.models.batch_norm import BatchNorm2d


class TokenEncoder(nn.Module):
    """A vector for each type of token.

    Args:
        vocab_size: how many types there are.
        size: features of a vector.
    """

    def __init__(self, vocab_size: int, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, size)
        self.output_size = size

    def forward(self, tokens: Int[Tensor, "T B"]) -> Float[Tensor, "T B I"]:
        """The vectors of the tokens."""
        vectors: Tensor = self.embedding(tokens)
        return vectors


class WordEncoder(nn.Module):
    """A vector for each word: of a table for what it is, plus those of its n-grams, for how it is written.

    The n-grams are the runs of 1 to 4 characters of its spelling and of its shape, the borders among them; each has a
    vector by its hash, so words that no table holds have a vector too (Bojanowski et al. 2017). While training, some
    words are taken for unknown, or the first of all words would never be learnt, and the n-grams would tell little.

    Args:
        num_words: how many words the table holds; the first stands for all others.
        size: features of a vector.
        buckets: vectors of n-grams; those of one hash share one.
    """

    LONGEST = 4
    UNKNOWN = 0.1
    BASE = 1_007_081
    """A prime whose powers are far apart modulo the buckets: 1,000,003 is 3 modulo 20,000, and most n-grams would share
    a few thousand."""

    def __init__(self, num_words: int, size: int, buckets: int = 20_000) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_words, size)
        self.grams = nn.EmbeddingBag(1 + buckets, size, mode="sum", padding_idx=0)
        self.output_size = size

    def forward(self, words: Int[Tensor, "T B C"]) -> Float[Tensor, "T B I"]:
        """The vectors of words, each a row as `Vocabulary.encode` writes it: its number, the code points of its
        spelling, with zeros after the last, and as many of its shape likewise.
        """
        T, B, _ = words.shape
        known = words[..., 0]
        if self.training:
            known = known.masked_fill(torch.rand(T, B, device=words.device) < self.UNKNOWN, 0)
        spellings = words[..., 1:].reshape(T * B, -1)
        if torch.compiler.is_exporting():  # how many words differ is no size that a graph can know
            spelt = self._spelt(spellings)
        else:
            different, place = _different(spellings)
            spelt = self._spelt(different).index_select(0, place)
        vectors: Tensor = self._known(known.flatten()) + spelt
        return vectors.view(T, B, -1)

    def _known(self, words: Int[Tensor, " N"]) -> Float[Tensor, "N I"]:
        """The vectors of words by number."""
        table = self.embedding
        if not table.sparse:
            vectors: Tensor = table(words)
            return vectors
        each = torch.arange(len(words), device=words.device)
        return sums_of_bags(table.weight, words, each, sparse=True)  # torch's own gradient still has to be sorted

    def _spelt(self, spellings: Int[Tensor, "N C"]) -> Float[Tensor, "N I"]:
        """What the n-grams of words tell of them: the sum of their vectors, over the root of their number."""
        words, letters = spellings.shape
        halves = spellings.reshape(2 * words, letters // 2)  # spelling, shape, spelling, …
        if torch.compiler.is_exporting():  # a bag becomes a loop in ONNX; the vector of no n-gram is zero
            grams = self._hashes(halves).view(words, -1)
            count = (grams > 0).sum(1, keepdim=True)
            parts = [F.embedding(some, self.grams.weight).sum(1) for some in grams.split(32, dim=1)]
            total: Tensor = torch.stack(parts).sum(0)
        else:  # those that are there are a fifth, and without a padding torch sums them by faster code
            numbers, there = (v.view(words, -1) for v in self._numbers(halves))
            count = there.sum(1, keepdim=True)
            starts = count[:, 0].cumsum(0) - count[:, 0]
            total = sums_of_bags(
                self.grams.weight, self._bucket(numbers.masked_select(there)), starts, self.grams.sparse
            )
        return total / count.clamp(min=1).to(total.dtype).sqrt()

    def _hashes(self, spelt: Int[Tensor, "N C"]) -> Int[Tensor, "N G"]:
        """The n-grams of words by the number of their vector, with zeros where a word is shorter."""
        numbers, there = self._numbers(spelt)
        return self._bucket(numbers).masked_fill(~there, 0)

    def _bucket(self, numbers: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The numbers of the vectors of n-grams."""
        return numbers % (self.grams.num_embeddings - 1) + 1

    def _numbers(self, spelt: Int[Tensor, "N C"]) -> tuple[Int[Tensor, "N G"], Bool[Tensor, "N G"]]:
        """A number of each n-gram of words, and which of them there are: those of longer words are none."""
        border = 1  # no word holds this character
        end = (spelt > 0).sum(1, keepdim=True) + 1
        bordered = F.pad(F.pad(spelt, (1, 0), value=border), (0, 1)).scatter(1, end, border)
        numbers, sums = [], torch.zeros_like(bordered)
        for n in range(self.LONGEST):
            sums = sums[:, : bordered.shape[1] - n] + bordered[:, n:] * self.BASE**n
            numbers.append(sums)
        there = torch.cat([bordered[:, n:] > 0 for n in range(self.LONGEST)], dim=1)
        return torch.cat(numbers, dim=1), there


SCATTERED = 0x9E3779B97F4A7C15 - (1 << 64)
"""An odd number whose powers have bits all over 64."""


def _different(rows: Int[Tensor, "N C"]) -> tuple[Int[Tensor, "M C"], Int[Tensor, " N"]]:
    """The rows without those that are there already, in any order, and where each is among them.

    They are told apart by a number each, which takes a tenth of the time of `unique(dim=0)`.
    """
    factors = torch.tensor(_powers(rows.shape[1]), device=rows.device)
    numbers, place = (rows * factors).sum(1).unique(return_inverse=True)
    found = torch.arange(len(rows), device=rows.device)
    different = rows.index_select(0, found.new_zeros(len(numbers)).scatter_(0, place, found))
    if torch.equal(different.index_select(0, place), rows):
        return different, place
    different, place = rows.unique(dim=0, return_inverse=True)  # two rows have one number
    return different, place


@functools.cache
def _powers(count: int) -> tuple[int, ...]:
    """Those of `SCATTERED`, from the 0th."""
    powers = [1]
    for _ in range(count - 1):
        powers.append(_wrapped(powers[-1] * SCATTERED))
    return tuple(powers)


def _wrapped(number: int) -> int:
    """As 64 bits with a sign hold it."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class NumberEncoder(nn.Module):
    """Numbers as they are, but of mean 0 and deviation 1 over the training data: (x − mean) / deviation by channel.

    Args:
        channels: features of a step.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.output_size = channels
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def fit(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        """Take over what the training data show; a channel that never changes is only shifted."""
        spread = torch.tensor(deviation)
        self.mean.copy_(torch.tensor(mean))
        self.deviation.copy_(torch.where(spread > 0, spread, 1.0))

    def forward(self, x: Shaped[Tensor, "T B C"]) -> Float[Tensor, "T B C"]:
        """The numbers, in standard units."""
        return (x - self.mean) / self.deviation


class FrameEncoder(nn.Module):
    """A small convolutional network that sees each frame by itself.

    Three times a 3×3 convolution, batch normalisation, ReLU and 2×2 pooling, then one matrix.

    Args:
        height: of a frame, in pixels, at least 8.
        width: likewise.
        channels: 1 for grey, 3 for colour.
        size: features of a frame.
        filters: of the first convolution; each following one has twice as many.

    Raises:
        ArgumentError: the frames are too small to be pooled three times.

    >>> FrameEncoder(24, 40, 1, size=32)(torch.zeros(5, 2, 24, 40, dtype=torch.uint8)).shape
    torch.Size([5, 2, 32])
    """

    def __init__(self, height: int, width: int, channels: int, size: int, filters: int = 16) -> None:
        super().__init__()
        if min(height, width) < 8:
            raise ArgumentError(f"Frames must have at least 8 × 8 pixels. Got {height} × {width} instead.")
        self.channels, self.output_size = channels, size
        widths = [channels, filters, 2 * filters, 4 * filters]
        blocks: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
            blocks += [convolution, BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.convolutions = nn.Sequential(*blocks)
        self.projection = nn.Linear(widths[-1] * (height // 8) * (width // 8), size)

    def forward(self, frames: Shaped[Tensor, "T B ..."]) -> Float[Tensor, "T B I"]:
        """A vector of each frame: frames are (T, B, H, W) or (T, B, H, W, 3), of bytes from 0 to 255."""
        T, B = frames.shape[:2]
        pictures = frames.flatten(0, 1)
        # With channels last in memory, convolutions are twice as fast on a CPU.
        pictures = (pictures[..., None] if self.channels == 1 else pictures).movedim(-1, 1)
        features = self.convolutions(pictures.to(self.projection.weight.dtype) / 127.5 - 1)
        return F.relu(self.projection(features.flatten(1))).view(T, B, -1)
