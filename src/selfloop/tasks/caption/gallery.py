"""Images with their captions, as a model takes them in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from selfloop.data import Tokenizer
from selfloop.data.batches import pad
from selfloop.data.examples import BadItems, Examples
from selfloop.data.image_store import look
from selfloop.errors import DataError
from selfloop.metrics.captions import caption_words
from selfloop.models.vision import Vision

IGNORED = -100
"""The target beyond a caption's end."""

LARGEST = 65504.0
"""Of the numbers that float16 holds, in which features are kept."""


@dataclass(frozen=True)
class Gallery(Examples):
    """Images that can be read, with their captions.

    Attributes:
        rows: of each image its row in `arrays`.
        arrays: what the model takes in: images of bytes (N, H, W, 3), or what a frozen encoder saw, (N, S, F).
        key: a hash of the images and of what looked at them.
        mirrored: what `arrays` would be if left were right; None where that was not asked for.
    """

    rows: npt.NDArray[np.int64]
    arrays: npt.NDArray[np.generic]
    key: str
    mirrored: npt.NDArray[np.generic] | None = None

    def seen(
        self, rows: Sequence[int] | npt.NDArray[np.integer], mirror: npt.NDArray[np.bool_] | None = None
    ) -> Tensor:
        """What the model takes in of some of the images, of which those that `mirror` marks are mirrored."""
        rows = self.rows[rows]
        seen = self.arrays[rows]
        if mirror is not None and self.mirrored is not None:
            seen[mirror] = self.mirrored[rows[mirror]]
        return torch.from_numpy(seen)

    def select(self, rows: Iterable[int]) -> "Gallery":
        """Some of the images."""
        rows = list(rows)
        return replace(self, **vars(super().select(rows)), rows=self.rows[rows])


def gallery(captioned: Examples, vision: Vision, where: str, bad: BadItems, *, mirrored: bool = False) -> Gallery:
    """Look at images, or remember what was seen in them.

    Args:
        captioned: the images.
        vision: what looks at them; of one that is to be trained the pixels are kept.
        where: what the images are, for errors.
        bad: takes the images that cannot be read.
        mirrored: whether they are looked at in a mirror, too.

    Raises:
        DataError: an image cannot be read (unless such are skipped), or none can.
    """

    @torch.inference_mode()
    def see(images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        if not vision.frozen:
            return images
        vision.network.eval()
        return vision.grid(torch.from_numpy(images)).clamp(-LARGEST, LARGEST).half().numpy()

    digest = vision.digest if vision.frozen else "pixels"
    found = look(captioned.inputs, see, size=vision.size, digest=digest, bad=bad)
    if not found.rows:
        raise DataError(f"{where} must hold images. None of its {len(captioned):,} can be read: give others.")
    turned = None
    if mirrored and not vision.frozen:
        turned = found.arrays[:, :, ::-1]
    elif mirrored:

        def see_mirrored(images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
            return see(np.ascontiguousarray(images[:, :, ::-1]))

        unreadable = BadItems(skip=True)  # it was said which, above
        turned = look(
            captioned.inputs, see_mirrored, size=vision.size, digest=f"{digest} mirrored", bad=unreadable
        ).arrays
    kept = captioned.select(found.rows)
    return Gallery(**vars(kept), rows=np.array(found.rows), arrays=found.arrays, key=found.key, mirrored=turned)


@dataclass(frozen=True)
class Sentences:
    """Captions as tokens, each with its image.

    Attributes:
        gallery: the images.
        tokens: of each caption, with the end.
        images: of each caption the number of its image.
        start: the token before the first, and after the last.
    """

    gallery: Gallery
    tokens: list[npt.NDArray[np.int64]]
    images: npt.NDArray[np.int64]
    start: int

    @classmethod
    def of(cls, gallery: Gallery, tokenizer: Tokenizer) -> "Sentences":
        """All captions of all images."""
        said = gallery.labels
        ids = tokenizer.encode_batch([plain(caption) for captions in said for caption in captions])
        tokens = [np.array([*row, tokenizer.start_id], np.int64) for row in ids]
        return cls(gallery, tokens, np.repeat(np.arange(len(said)), [len(c) for c in said]), tokenizer.start_id)

    def batch(
        self, rows: Sequence[int] | npt.NDArray[np.integer], mirror: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Some of them: what is seen (B, …), the inputs (T, B), the targets (T, B), and the lengths.

        The images that `mirror` marks are seen in a mirror. A target beyond the end of a caption is `IGNORED`.
        """
        return self.gallery.seen(self.images[rows], mirror), *self.texts(rows)

    def texts(self, rows: Sequence[int] | npt.NDArray[np.integer]) -> tuple[Tensor, Tensor, Tensor | None]:
        """The inputs (T, B), the targets (T, B), and the lengths of some of them, as in `batch`."""
        targets, lengths = pad([self.tokens[row] for row in rows])
        inputs = torch.cat([torch.full_like(targets[:1], self.start), targets[:-1]])
        if lengths is not None:
            targets = targets.masked_fill(torch.arange(len(targets))[:, None] >= lengths, IGNORED)
        return inputs, targets, lengths


def plain(caption: str) -> str:
    """A caption as it is learnt: in lower case, without punctuation, a space between words.

    >>> plain("A dog's ball , red .")
    "a dog 's ball red"
    """
    return " ".join(caption_words(caption))
