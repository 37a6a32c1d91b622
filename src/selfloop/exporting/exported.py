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
        timed: what was timed, where it is more than a step.
    """

    by: str
    difference: float
    microseconds: float | None = None
    timed: str = "a step"

    def __str__(self) -> str:
        time = "" if self.microseconds is None else f", {self.timed} takes {_time(self.microseconds)}"
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

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "files": [str(path) for path in self.files],
            "difference": self.difference,
            "tried": [asdict(one) for one in self.tried],
            "not_tried": [*self.not_tried],
            "sizes": {**self.sizes},
        }


def _time(microseconds: float) -> str:
    return f"{microseconds:.3g} µs" if microseconds < 1000 else f"{microseconds / 1000:.3g} ms"
