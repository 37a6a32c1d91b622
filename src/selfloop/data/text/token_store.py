"""The tokens of a text, made once and kept on disk: ``(Text, Tokenizer) -> Tokens``, memory-mapped.

A store is one safetensors file, which other tools open too: the ids under "tokens", the counts in its metadata. It is
named after what it holds, a hash of the text's fingerprint and the tokenizer's digest, so it never goes stale: a text
that changes gets another name. The folder can be deleted at any time.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from selfloop.atomic import replacing
from selfloop.data.caches import keep, used
from selfloop.data.text.pieces import Text
from selfloop.data.text.tokenizer import Tokenizer
from selfloop.errors import DataError
from selfloop.world import ALONE, World

_HEADER = 248  # bytes for the JSON, padded with spaces: the ids begin 256 bytes into the file
_DTYPES: dict[str, "np.dtype[np.unsignedinteger]"] = {f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4)}


@dataclass(frozen=True)
class Tokens:
    """A text's tokens.

    Args:
        ids: the tokens in order, read-only, in the file: uint8, uint16 or uint32, the first that the vocabulary fits.
        characters: how many characters the text has (for bits per character).
        bytes: how many bytes it has in UTF-8.
    """

    ids: npt.NDArray[np.unsignedinteger]
    characters: int
    bytes: int

    def __len__(self) -> int:
        return len(self.ids)


def tokenize(text: Text, tokenizer: Tokenizer, folder: str | Path | None = None, world: World = ALONE) -> Tokens:
    """The tokens of a text: from the store if they are there and whole, else made and stored.

    Several processes may ask for the same text at once: each ends with a good file, at worst having made it twice.

    Args:
        text: what to cut into tokens.
        tokenizer: what to cut it with.
        folder: where stores are kept; None is ``selfloop/tokens`` in the user's cache (``XDG_CACHE_HOME``, or
            ``~/.cache``).
        world: the processes that make the same call, and share the work where one of them has no store yet. The first
            one of each machine writes.

    Raises:
        DataError: the text cannot be read, or the folder cannot be written. Without a cache that can be written the
            tokens are made anew each time.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tokens = tokenize(Text.of("né"), Tokenizer.train("byte", []), folder)
    ...     print(tokens.ids.tolist(), tokens.characters, tokens.bytes)
    [110, 195, 169] 2 3
    """
    key = hashlib.sha256(f"{text.fingerprint}\n{tokenizer.digest}".encode()).hexdigest()[:32]

    worlds = iter([world])

    def stored(folder: Path) -> Tokens:
        path, together = folder / f"{key}.safetensors", next(worlds, ALONE)  # another folder is this process's affair
        tokens = _open(path)
        if not all(together.each(tokens is not None)):
            encoded = _Encoded(text, tokenizer, together)
            try:
                if tokens is None and not together.local_rank:
                    _write(path, encoded, tokenizer)
            except OSError:
                encoded.finish()
                raise
            encoded.finish()
            tokens = tokens or _open(path)
        if tokens is None:
            _write(path, _Encoded(text, tokenizer, ALONE), tokenizer)
            tokens = _open(path)
        if tokens is None:
            raise DataError(f"The tokens that were just written to {path} are damaged: check the disk.")
        return tokens

    return keep("tokens", "The tokens of the text", None if folder is None else Path(folder), stored)


def _open(path: Path) -> Tokens | None:
    """The tokens in a store, or None where there is none or not a whole one."""
    try:
        with safe_open(path, framework="np") as store:
            metadata, ids = store.metadata(), store.get_slice("tokens")
            shape, dtype = tuple(ids.get_shape()), _DTYPES[ids.get_dtype()]
            counts = int(metadata["characters"]), int(metadata["bytes"])
    except (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    used(path)
    return Tokens(np.memmap(path, dtype, mode="r", offset=8 + _HEADER, shape=shape), *counts)


class _Encoded:
    """A text's tokens, a part at a time, and what was counted on the way."""

    def __init__(self, text: Text, tokenizer: Tokenizer, world: World) -> None:
        self.characters = self.octets = 0
        self._world, self._shares = world, tokenizer.shares
        self._parts = tokenizer.encode_pieces(self._counted(text), world)

    def __iter__(self) -> Iterator[npt.NDArray[np.unsignedinteger]]:
        return self._parts

    def finish(self) -> None:
        """Do this process's part of what is left, and wait until the others have done theirs."""
        if self._world.size > 1:
            if self._shares:
                for _ in self._parts:
                    pass
            self._world.each(None)

    def _counted(self, text: Text) -> Iterator[str]:
        for piece in text:
            self.characters, self.octets = self.characters + len(piece), self.octets + len(piece.encode())
            yield piece


def _write(path: Path, encoded: _Encoded, tokenizer: Tokenizer) -> None:
    with replacing(path) as file:
        file.seek(8 + _HEADER)
        size = sum(file.write(ids.tobytes()) for ids in encoded)
        header = {
            "__metadata__": {"characters": str(encoded.characters), "bytes": str(encoded.octets)},
            "tokens": {
                "dtype": next(name for name, dtype in _DTYPES.items() if dtype == tokenizer.dtype),
                "shape": [size // tokenizer.dtype.itemsize],
                "data_offsets": [0, size],
            },
        }
        file.seek(0)
        file.write(_HEADER.to_bytes(8, "little") + json.dumps(header).encode().ljust(_HEADER))
