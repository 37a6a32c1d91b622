"""What an export has made, and the rules of its folder."""

import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selfloop.atomic import replacing
from selfloop.errors import ArgumentError
from selfloop.untrusted import exists, is_folder

TOLERANCE = 1e-5
"""How far what was made may be from selfloop's own numbers, relative to the largest."""


SAMPLES = 16
"""Random inputs on which selfloop's own rounding is measured: on a single one it may be small by luck."""


def tolerated(own_difference: float) -> float:
    """The largest difference that is rounding: where a cell makes rounding grow, as it does in selfloop itself.

    Args:
        own_difference: the largest of selfloop in float32 from itself in float64, on `SAMPLES` inputs or more.
    """
    return max(TOLERANCE, 4 * own_difference)


@dataclass(frozen=True)
class Tried:
    """What was made, run on input.

    Attributes:
        by: what ran it, such as ``gcc`` or ``ONNX Runtime``.
        difference: the largest from selfloop, relative to the largest output.
        microseconds: a step took; None where it was not timed.
        timed: what was timed, where it is more than a step.
        real: sequences of a run's validation data that it was run on.
    """

    by: str
    difference: float
    microseconds: float | None = None
    timed: str = "a step"
    real: int = 0

    def __str__(self) -> str:
        time = "" if self.microseconds is None else f", {self.timed} takes {_time(self.microseconds)}"
        data = f", on random numbers and {self.real} sequences of the validation data" if self.real else ""
        return f"by {self.by}{data}: largest difference from selfloop {self.difference:.1e}{time}"


@dataclass(frozen=True)
class Cost:
    """What a run loses by shorter weights.

    Attributes:
        form: of the weights.
        count: targets of the validation data that were judged.
        exact, rounded: their figures by name, with float32 weights and with these; the first is the loss.
    """

    form: str
    count: int
    exact: Mapping[str, float]
    rounded: Mapping[str, float]

    @property
    def loss(self) -> float:
        """What is added to the loss."""
        name = next(iter(self.exact))
        return self.rounded[name] - self.exact[name]

    def __str__(self) -> str:
        figures = ", ".join(
            f"{name.replace('_', ' ')} {value:.4f} → {self.rounded[name]:.4f} ({self.rounded[name] - value:+.4f})"
            for name, value in self.exact.items()
        )
        return f"{self.form} in the place of float32, over {self.count:,} targets of the validation data: {figures}"


UNKNOWN_COST = "what {form} weights cost is not known without the run's data"


@dataclass(frozen=True)
class Exported:
    """What `export` has made.

    Attributes:
        files: that were written.
        tried: how it was run before it was handed over.
        not_tried: what could not be run, and why.
        sizes: in bytes, of code, weights and state, as far as there are such.
        cost: of shorter weights; None where they are float32, or there are no validation data.
        notes: what else is to be said.
    """

    files: tuple[Path, ...]
    tried: tuple[Tried, ...]
    not_tried: tuple[str, ...]
    sizes: Mapping[str, int]
    cost: Cost | None = None
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        """The largest of all that was run; None where nothing could be."""
        return max((one.difference for one in self.tried), default=None)

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {size:,} bytes" for name, size in self.sizes.items())
        lines = [f"{', '.join(path.name for path in self.files)}", f"  {sizes}"]
        lines += [f"  tried {one}" for one in self.tried]
        lines += [f"  not tried: {reason}" for reason in self.not_tried]
        lines += [] if self.cost is None else [f"  {self.cost}"]
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)

    def facts(self) -> dict[str, object]:
        """All of it, for JSON."""
        return {
            "files": [str(path) for path in self.files],
            "difference": self.difference,
            "tried": [asdict(one) for one in self.tried],
            "not_tried": [*self.not_tried],
            "sizes": {**self.sizes},
            "cost": None if self.cost is None else asdict(self.cost),
            "notes": [*self.notes],
        }


def _time(microseconds: float) -> str:
    return f"{microseconds:.3g} µs" if microseconds < 1000 else f"{microseconds / 1000:.3g} ms"


def check_forward(module: object) -> None:
    """Raise ArgumentError where a user's class computes more than the layer that it derives from."""
    kind: Any = type(module)
    if not kind.forward.__module__.startswith("selfloop."):
        raise ArgumentError(
            f"{kind.__name__} has a forward of its own, which an export would leave out. Export the layer without it."
        )


def check_folder(folder: Path) -> None:
    """Raise ArgumentError where a folder cannot take an export."""
    try:
        whole = folder.resolve()  # `new/..` is where `new` would be
    except ValueError as error:
        raise ArgumentError(f"{str(folder)!r} is no name of a folder: {error}.") from None
    if exists(whole) and not is_folder(whole):
        raise ArgumentError(f"An export is a folder of files, and '{folder}' is a file. Give a folder that is new.")
    try:
        is_taken = exists(whole) and any(whole.iterdir())
    except OSError as error:
        raise ArgumentError(f"The folder '{folder}' cannot be read: {error.strerror}.") from None
    if is_taken:
        raise ArgumentError(f"The folder '{folder}' is not empty, and export overwrites nothing. Give a new one.")


def write_files(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write files of these names to a folder that is new or empty: all of them, or none.

    Raises:
        ArgumentError: the folder is not empty, or cannot be written, or the disk is full.
    """
    check_folder(folder)
    whole, is_new = folder.resolve(), not exists(folder)
    try:
        whole.mkdir(parents=True, exist_ok=True)
        with _removed_where_it_fails(whole, files):
            for name, content in files.items():
                with replacing(whole / name) as writer:
                    writer.write(content)
    except OSError as error:
        if is_new:
            with suppress(OSError):
                whole.rmdir()
        raise ArgumentError(f"The folder '{folder}' cannot be written: {error.strerror}.") from None
    return tuple(folder / name for name in files)


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A folder beside this one whose files take its place when the block ends, and vanish when it raises.

    An empty folder that is there is filled, not replaced: it may be the current one, or a disk of its own.

    Raises:
        ArgumentError: there is something at `folder`, or it cannot be written, or the disk is full.
    """
    check_folder(folder)
    whole = folder.resolve()
    beside = whole.with_name(f".{whole.name}.{uuid.uuid4().hex}.tmp")
    try:
        beside.mkdir(parents=True)
        yield beside
        check_folder(folder)
        if not exists(whole):
            beside.rename(whole)
            return
        files = list(beside.iterdir())
        with _removed_where_it_fails(whole, [path.name for path in files]):
            for path in files:
                shutil.move(path, whole / path.name)
    except OSError as error:
        raise ArgumentError(f"The folder '{folder}' cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _removed_where_it_fails(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Files of these names are removed when the block raises."""
    try:
        yield
    except OSError:
        for name in names:
            with suppress(OSError):
                (folder / name).unlink()
        raise
