"""The n-grams of words, each by a number: the runs of 1 to 4 characters, the borders of a word among them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from selfloop.kernels.problem import has_numbers

LONGEST_GRAM = 4
"""Characters of an n-gram at most."""

BASE = 1_007_081
"""An n-gram's number is the sum of its code points times the powers of this prime, in 64 bits. These are far apart
modulo the number of vectors: 1,000,003 is 3 modulo 20,000, and most n-grams would share a few thousand."""

BORDER = 1
"""Stands before and after a word; no word holds this character."""

MOST_KNOWN = 1 << 15
"""Words whose n-grams are kept, a kilobyte each at most."""


class NGrams(NamedTuple):
    """Those of some words.

    Attributes:
        numbers: of the words that differ, word after word: [n-grams].
        counts: how many each of these has: [words that differ].
        place: where each word is among them: [words].
    """

    numbers: Int[Tensor, " G"]
    counts: Int[Tensor, " M"]
    place: Int[Tensor, " N"]


def n_grams_of(words: Int[Tensor, "N C"]) -> NGrams:
    """The n-grams of words. On the CPU, those of a word that was there before are known.

    Args:
        words: a row each, of two halves: the code points of its spelling and those of its shape, with zeros after the
            last.

    >>> found = n_grams_of(torch.tensor([[97, 98, 76, 76], [97, 0, 76, 0], [97, 98, 76, 76]]))
    >>> found.counts.tolist(), found.place.tolist()
    ([20, 12], [0, 1, 0])
    """
    if words.device.type != "cpu" or not has_numbers(words):
        numbers, there = _of_rows(words)
        return NGrams(numbers.masked_select(there), there.sum(1), torch.arange(len(words), device=words.device))
    read, size = words.numpy().tobytes(), words.shape[1] * words.itemsize
    places: dict[bytes, int] = {}
    place = [places.setdefault(read[start : start + size], len(places)) for start in range(0, len(read), size)]
    found = {word: _KNOWN.get(word) for word in places}
    new = [word for word, own in found.items() if own is None]
    if new:
        rows = torch.frombuffer(bytearray(b"".join(new)), dtype=words.dtype).view(len(new), -1)
        for word, numbers, there in zip(new, *(v.numpy() for v in _of_rows(rows)), strict=True):
            found[word] = numbers[there]
        if len(_KNOWN) + len(new) > MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN.update((word, found[word]) for word in new)
    each = [own for own in found.values() if own is not None]
    counts = torch.tensor([len(own) for own in each], dtype=torch.int64)
    return NGrams(torch.from_numpy(np.concatenate([*each, _NONE])), counts, torch.tensor(place, dtype=torch.int64))


_NONE = np.empty(0, np.int64)
_KNOWN: dict[bytes, npt.NDArray[np.int64] | None] = {}
"""The numbers of the n-grams of words that were there before."""


def _of_rows(words: Int[Tensor, "N C"]) -> tuple[Int[Tensor, "N G"], Bool[Tensor, "N G"]]:
    halves = words.reshape(2 * len(words), words.shape[1] // 2)  # spelling, shape, spelling, …
    numbers, there = n_grams(halves)
    return numbers.view(len(words), -1), there.view(len(words), -1)


def n_grams(spelt: Int[Tensor, "N C"]) -> tuple[Int[Tensor, "N G"], Bool[Tensor, "N G"]]:
    """A number of each n-gram of words, and which of them there are: those of longer words are none."""
    end = (spelt > 0).sum(1, keepdim=True) + 1
    bordered = F.pad(F.pad(spelt, (1, 0), value=BORDER), (0, 1)).scatter(1, end, BORDER)
    numbers, sums = [], torch.zeros_like(bordered)
    for n in range(LONGEST_GRAM):
        sums = sums[:, : bordered.shape[1] - n] + bordered[:, n:] * BASE**n
        numbers.append(sums)
    there = torch.cat([bordered[:, n:] > 0 for n in range(LONGEST_GRAM)], dim=1)
    return torch.cat(numbers, dim=1), there
