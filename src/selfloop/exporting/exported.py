"""What an export has made, and the rules of its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from selfloop.atomic import replacing
from selfloop.errors import ArgumentError

TOLERANCE = 1e-5
"""How far what was made may be from selfloop's own numbers, relative to the largest."""


@dataclass(frozen=True)
class Tried:
    """What was made, run on input.

    Attributes:
        by: what ran it, such as ``gcc`` or ``ONNX Runtime``.
        difference: the largest from selfloop, relative to the largest output.
        microseconds: a step took; None where it was not timed.
    """

    by: str
    difference: float
    microseconds: float | None = None

    def __str__(self) -> str:
        time = "" if self.microseconds is None else f", a step takes {self.microseconds:.3g} µs"
        return f"by {self.by}: largest difference from selfloop {self.difference:.1e}{time}"


@dataclass(frozen=True)
class Exported:
    """What `export` has made.

    Attributes:
        files: that were written.
        tried: how it was run before it was handed over.
        not_tried: what could not be run, and why.
        sizes: in bytes, of code, weights and state, as far as there are such.
    """

    files: tuple[Path, ...]
    tried: tuple[Tried, ...]
    not_tried: tuple[str, ...]
    sizes: Mapping[str, int]

    @property
    def difference(self) -> float | None:
        """The largest of all that was run; None where nothing could be."""
        return max((one.difference for one in self.tried), default=None)

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {size:,} bytes" for name, size in self.sizes.items())
        lines = [f"{', '.join(path.name for path in self.files)}", f"  {sizes}"]
        lines += [f"  tried {one}" for one in self.tried]
        lines += [f"  not tried: {reason}" for reason in self.not_tried]
        return "\n".join(lines)


def check_folder(folder: Path) -> None:
    """Raise ArgumentError where a folder cannot take an export."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArgumentError(f"The folder '{folder}' is not empty, and export overwrites nothing. Give a new one.")


def write_files(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """All of them, or a reason."""
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            with replacing(folder / name) as writer:
                writer.write(content)
    except OSError as error:
        raise ArgumentError(f"The folder '{folder}' cannot be written: {error.strerror}.") from None
    return tuple(folder / name for name in files)
