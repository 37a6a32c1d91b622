"""What stands before a recurrent stack: from tokens, numbers or frames to a vector at every step."""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from selfloop.errors import ArgumentError
from selfloop.models.bags import sums_of_bags
from selfloop.models.batch_norm import BatchNorm2d
from selfloop.models.n_grams import n_grams, n_grams_of


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

    UNKNOWN = 0.1

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
        spelt = self._spelt(words[..., 1:].reshape(T * B, -1))
        vectors: Tensor = self.embedding(known) + spelt.view(T, B, -1)
        return vectors

    def _spelt(self, spellings: Int[Tensor, "N C"]) -> Float[Tensor, "N I"]:
        """What the n-grams of words tell of them: the sum of their vectors, over the root of their number."""
        if torch.compiler.is_exporting():  # a bag becomes a loop in ONNX; the vector of no n-gram is zero
            words, letters = spellings.shape
            grams = self._hashes(spellings.reshape(2 * words, letters // 2)).view(words, -1)
            parts = [F.embedding(some, self.grams.weight).sum(1) for some in grams.split(32, dim=1)]
            total: Tensor = torch.stack(parts).sum(0)
            return total / _root((grams > 0).sum(1), total)
        numbers, counts, place = n_grams_of(spellings)
        starts = counts.cumsum(0) - counts
        total = sums_of_bags(self.grams.weight, self._bucket(numbers), starts, self.grams.sparse)
        return (total / _root(counts, total)).index_select(0, place)

    def _hashes(self, spelt: Int[Tensor, "N C"]) -> Int[Tensor, "N G"]:
        """The n-grams of words by the number of their vector, with zeros where a word is shorter."""
        numbers, there = n_grams(spelt)
        return self._bucket(numbers).masked_fill(~there, 0)

    def _bucket(self, numbers: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The numbers of the vectors of n-grams."""
        return numbers % (self.grams.num_embeddings - 1) + 1


def _root(counts: Int[Tensor, " N"], like: Float[Tensor, "N I"]) -> Float[Tensor, "N 1"]:
    return counts.clamp(min=1).to(like.dtype).sqrt()[:, None]


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
