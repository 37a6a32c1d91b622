"""What an export has made."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TOLERANCE = 1e-5
"""How far what was made may be from selfloop's own numbers, relative to the largest."""


@dataclass(frozen=True)
class Tried:
    """What was made, run on input.

    Attributes:
        by: what ran it, such as ``gcc`` or ``ONNX Runtime``.
        difference: the largest from selfloop, relative to the largest output.
        microseconds: a step took; None where it was not timed.
        real, random: sequences of a run's validation data, and random ones, that it was run on.
    """

    by: str
    difference: float
    microseconds: float | None = None
    real: int = 0
    random: int = 1

    def __str__(self) -> str:
        time = "" if self.microseconds is None else f", a step takes {self.microseconds:.3g} µs"
        parts = [f"{n} {what}" for n, what in ((self.real, "of the validation data"), (self.random, "random")) if n]
        given = f"{' and '.join(parts)} sequence{'s' if self.real + self.random > 1 else ''}"
        return f"by {self.by} on {given}: largest difference from selfloop {self.difference:.1e}{time}"


@dataclass(frozen=True)
class Cost:
    """What a run loses by shorter weights.

    Attributes:
        form: of the weights.
        exact, rounded: the figures of the run's validation data by name, with float32 weights and with these; the first
            is the loss.
        count: targets that were judged.
    """

    form: str
    exact: Mapping[str, float]
    rounded: Mapping[str, float]
    count: int

    @property
    def loss(self) -> float:
        """What is added to the loss."""
        name = next(iter(self.exact))
        return self.rounded[name] - self.exact[name]

    def __str__(self) -> str:
        figures = ", ".join(
            f"{name} {value:.4f} → {self.rounded[name]:.4f} ({self.rounded[name] - value:+.4f})"
            for name, value in self.exact.items()
        )
        return f"{self.form} weights in the place of float32, over {self.count:,} targets of the validation data: {figures}"


@dataclass(frozen=True)
class Exported:
    """What `export` has made.

    Attributes:
        files: that were written.
        tried: how it was run before it was handed over.
        not_tried: what could not be run, and why.
        sizes: in bytes, of code, weights and state, as far as there are such.
        cost: of shorter weights; None where they are float32, or there are no validation data.
        notes: what else is to be known.
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
        return "\n".join(self.lines())

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        own = asdict(self)
        return own | {"files": [str(path) for path in self.files], "difference": self.difference}

    def lines(self) -> list[str]:
        """What is printed of it."""
        sizes = ", ".join(f"{name} {size:,} bytes" for name, size in self.sizes.items())
        lines = [f"{self.files[0].parent}: {', '.join(path.name for path in self.files)}", f"  {sizes}"]
        lines += [f"  tried {one}" for one in self.tried]
        lines += [f"  not tried: {reason}" for reason in self.not_tried]
        lines += [] if self.cost is None else [f"  {self.cost}"]
        return lines + [f"  {note}" for note in self.notes]
