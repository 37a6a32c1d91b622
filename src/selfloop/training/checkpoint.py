"""Tensors and facts in one file that is whole or not there: atomic writes, checked reads, nothing pickled."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from selfloop.atomic import replacing
from selfloop.errors import RunError
from selfloop.untrusted import parse_json

Tensors = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]

LARGEST_HEADER = 8 << 20
"""Bytes of a file's names, shapes and facts; those of a thousand tensors take 81,000."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within it, a disk that is full or a folder that cannot be written is a RunError about `path`."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}); what was saved before is untouched. "
            "Make room, or choose another folder with --run."
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that, whatever happens, `path` holds either what it held or all of `content`.

    Raises:
        RunError: the disk is full or the folder cannot be written; what was there is untouched.
    """
    with writing(path), replacing(path) as file:
        file.write(content)


def append_bytes(path: Path, content: bytes) -> None:
    """Add to the end of a file.

    Raises:
        RunError: as `write_bytes`.
    """
    with writing(path), path.open("ab", buffering=0) as file:
        if file.write(content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and facts (anything JSON holds) to a safetensors file, with a checksum."""
    arranged = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(facts)
    metadata = {"format": "pt", "facts": text, "digest": _digest(arranged, text)}
    write_bytes(path, _in_order(save(arranged, metadata)))


def read_tensors(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """The tensors and the facts.

    Raises:
        RunError: the file is missing, or not as it was written.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = metadata["facts"]
        if metadata["digest"] != _digest(tensors, text):
            raise ValueError("its checksum does not match")
        facts = parse_json(text)
        if not isinstance(facts, dict):
            raise ValueError("its facts have no names")
    return tensors, facts


def read_shapes(path: Path) -> Shapes:
    """The shape of each tensor, from the file's header alone.

    Raises:
        RunError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file; what goes wrong within is a RunError about it."""
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > LARGEST_HEADER:  # before the library takes fifteen times as much memory
            raise ValueError(f"its header is to have {header:,} bytes, and {LARGEST_HEADER:,} are the most")
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing.") from error
    except PermissionError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}). Give yourself the right to read it.") from error
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        reason = f"no '{error.args[0]}' in it" if isinstance(error, KeyError) else str(error)
        raise RunError(f"{path} is damaged ({reason}).") from error


def _in_order(file: bytes) -> bytes:
    """A safetensors file with its metadata sorted: the library writes them in another order each time."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = parse_json(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + file[end:]


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)} ".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
