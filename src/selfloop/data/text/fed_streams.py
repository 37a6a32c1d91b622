"""Streams of tokens that are fed with texts as they come, for truncated back-propagation through time."""

import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int64
from torch import Tensor

from selfloop.data.text.streaming import TextStream
from selfloop.data.text.tokenizer import Tokenizer
from selfloop.untrusted import parse_json

CHUNK = 1 << 14
"""Characters that a stream gets at once: whole texts, one at the least, so that short lines keep their neighbours."""


class FedStreams:
    """Contiguous streams, a window at a time; each gets the next texts when it has no more tokens for a window.

    Args:
        texts: without an end.
        tokenizer: cuts them.
        batch_size: streams, B.
        window: steps of a window, T.

    A text begins on a new line. Where the text before it ends, the state is carried on.
    """

    def __init__(self, texts: TextStream, tokenizer: Tokenizer, *, batch_size: int, window: int) -> None:
        self._texts, self._tokenizer, self._window = texts, tokenizer, window
        self._held = [np.array([tokenizer.start_id], np.int32)] * batch_size

    def next_window(self) -> tuple[Int64[Tensor, "T B"], Int64[Tensor, "T B"]]:
        """The next inputs and targets of each stream."""
        columns = []
        for row, held in enumerate(self._held):
            parts, count = [held], len(held)
            while count <= self._window:
                parts.append(self._more())
                count += len(parts[-1])
            tokens = np.concatenate(parts)
            columns.append(tokens[: self._window + 1])
            self._held[row] = tokens[self._window :]
        whole = torch.from_numpy(np.stack(columns, axis=1).astype(np.int64))  # T + 1 x B
        return whole[:-1], whole[1:]

    def position(self) -> dict[str, Tensor]:
        """Where the streams are: the tokens that they hold, and where their texts are."""
        texts = json.dumps(self._texts.position()).encode()
        return {
            "texts": torch.frombuffer(bytearray(texts), dtype=torch.uint8),
            "tokens": torch.from_numpy(np.concatenate(self._held)),
            "lengths": torch.tensor([len(held) for held in self._held]),
        }

    def go_to(self, position: Mapping[str, Tensor]) -> None:
        """Go on where others were."""
        self._texts.go_to(parse_json(position["texts"].numpy().tobytes().decode()))
        lengths = position["lengths"].tolist()
        if len(lengths) != len(self._held):
            raise ValueError(f"it has {len(lengths)} streams, not {len(self._held)}")
        self._held = np.split(position["tokens"].numpy(), np.cumsum(lengths[:-1]))

    def _more(self) -> npt.NDArray[np.int32]:
        found, size = list[str](), 0
        while size < CHUNK:
            text = next(self._texts)
            found.append(text if text.endswith("\n") else text + "\n")
            size += len(found[-1])
        return np.concatenate([part.astype(np.int32) for part in self._tokenizer.encode_pieces(["".join(found)])])
