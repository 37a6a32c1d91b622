"""HDF5 files from strangers: datasets by their paths, with no link to another file, read up to a bound."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from selfloop.errors import DataError, first_line
from selfloop.untrusted import check_expansion, short, written

MOST = 100_000
"""Groups and datasets that are looked at; a model of 1,000 layers has 10,000."""

Paths = tuple[str, ...]


class HDF5:
    """An open file.

    Attributes:
        datasets: by path, from the root.
        groups: by path.
    """

    def __init__(self, file: Any, size: int, where: str) -> None:
        self._size, self._where = size, where
        self.groups: dict[Paths, Any] = {(): file}
        self.datasets: dict[Paths, Any] = {}
        self._walk(file)

    def text(self, path: Paths, name: str) -> str | None:
        """An attribute of a group that is text, or None."""
        if path not in self.groups or name not in self.groups[path].attrs:
            return None
        value = self.groups[path].attrs[name]
        return value.decode("utf-8") if isinstance(value, bytes) else value if isinstance(value, str) else None

    def tensor(self, path: Paths) -> Tensor:
        """A dataset's numbers.

        Raises:
            DataError: they lie in another file, are no numbers, or are more than the file can hold.
        """
        own = self.datasets[path]
        if own.external or own.is_virtual:
            raise DataError(
                f"{self._where}: the numbers of {self.name(path)} lie in another file, which is not opened."
            )
        check_expansion(self._size, own.size * own.dtype.itemsize, "h5repack")
        if own.dtype.kind != "f" or own.dtype.itemsize > 8:
            raise DataError(
                f"{self._where}: {self.name(path)} must hold floating-point numbers. Got {short(own.dtype)} instead."
            )
        return torch.from_numpy(own[()].astype("f8" if own.dtype.itemsize == 8 else "f4"))

    @staticmethod
    def name(path: Paths) -> str:
        """A path as errors show it."""
        return written("/".join(path))

    def _walk(self, root: Any) -> None:
        h5py = package()
        seen = {h5py.h5o.get_info(root.id).addr}
        waiting: list[tuple[Paths, Any]] = [((), root)]
        while waiting:
            path, group = waiting.pop()
            for name in group:
                own, link = (*path, name), group.get(name, getlink=True)
                if isinstance(link, h5py.ExternalLink):
                    raise DataError(f"{self._where}: {self.name(own)} is a link to another file, which is not opened.")
                if not isinstance(link, h5py.HardLink):  # Keras writes no other
                    continue
                one = group[name]
                if isinstance(one, h5py.Dataset):
                    self.datasets[own] = one
                elif isinstance(one, h5py.Group) and (address := h5py.h5o.get_info(one.id).addr) not in seen:
                    seen.add(address)
                    self.groups[own] = one
                    waiting.append((own, one))
                if len(self.groups) + len(self.datasets) > MOST:
                    raise DataError(f"{self._where} has more than {MOST:,} groups and datasets, which no model has.")


@contextmanager
def opened(file: Path | IO[bytes], size: int, where: str) -> Iterator[HDF5]:
    """An HDF5 file.

    Args:
        file: where it is, or what it holds.
        size: its bytes.
        where: what errors call it.

    Raises:
        DataError: h5py is not installed, or the file is none, damaged, or larger than it looks.
    """
    h5py = package()
    try:
        with h5py.File(file, "r") as found:
            yield HDF5(found, size, where)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError) as error:  # as h5py raises them
        raise DataError(f"{where} cannot be read as HDF5 ({first_line(error)}).") from error


def package() -> Any:
    """The library.

    Raises:
        DataError: it is not installed.
    """
    try:
        import h5py  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise DataError("Reading Keras' files needs h5py: pip install 'selfloop[convert]'.") from error
    return h5py
