"""What shorter weights of exported runs cost: the figures of the run's validation data, bytes, and the time of a step.

    python benchmarks/exported_weights.py RUN …

Each run is exported as C and as an object file of this processor, and timed by the check that comes with it. Figures
are of all validation data.
"""

import sys
import tempfile
from pathlib import Path

import selfloop as sl
from selfloop.compiler.native import FORMS
from selfloop.exporting.native.tasks import cost_of

ROUNDS = 2


def main() -> None:
    for run in sys.argv[1:]:
        opened = sl.load(run)
        part = opened.parts()["valid"]
        print(opened)
        for form in FORMS:
            figures, times = "", dict.fromkeys(("c", "object"), float("inf"))
            for to in times:
                for number in range(ROUNDS):
                    with tempfile.TemporaryDirectory() as folder:
                        made = sl.export(opened, Path(folder) / str(number), to=to, weights=form)
                    times[to] = min(times[to], *(one.microseconds or 0.0 for one in made.tried))
            if form != "f32":
                cost = cost_of(opened, part, form, sample=None)
                figures = ", ".join(
                    f"{name} {value:.4f} → {cost.rounded[name]:.4f} ({cost.rounded[name] - value:+.4f})"
                    for name, value in cost.exact.items()
                )
            size = made.sizes["weights"]
            print(
                f"  {form:5}{size:12,} bytes   a step {times['c']:7.1f} µs in C, {times['object']:7.1f} as object"
                f"   difference {made.difference:.0e}   {figures}"
            )


if __name__ == "__main__":
    main()
