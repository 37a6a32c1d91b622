"""Writes cells_gallery.md and its pictures: every cell of `selfloop.cells`, from the cells themselves.

    python docs/write_cells.py

Times are those that `selfloop bench` printed, in benchmarks/results/zoo.txt; run this again after a new one.
"""

import inspect
import re
from pathlib import Path

import torch
from cell_diagram import draw
from cell_latex import equations

import selfloop as sl
from selfloop.cells import ZOO
from selfloop.language import Cell

HERE = Path(__file__).parent
PAGE, PICTURES = HERE / "cells_gallery.md", HERE / "cells"
RESULT = HERE.parent / "benchmarks" / "results" / "zoo.txt"
SIZE = 64
HEAD = r"""# The cells

All of `selfloop.cells`: for each what it is for, its formula as in its paper, its equations as selfloop reads them,
and a picture of one step. In the equations $a^{(2)}$ is the second part of the vector $a$, $\odot$ multiplies
element by element, and what has no index of time is a parameter. In the pictures a line is a value, and a yellow box
multiplies by the matrices that it names and adds biases.

Parameters are those that learn, of SIZE inputs and SIZE units. Times are of a training step of 32 sequences of 64
steps, where `selfloop bench zoo` has recorded them: MACHINE. This page is made by `python docs/write_cells.py`.

| cell | parameters | a training step |
| --- | --- | --- |
"""
INTERPRETED = "\nIts matrix differs from step to step, so it runs by the interpreter until it is exported.\n"


def page() -> str:
    """The page, as it should be."""
    times, machine = measured()
    head = HEAD.replace("SIZE", str(SIZE)).replace("MACHINE", machine)
    rows, sections = [], []
    for name, cell in ZOO.items():
        time = f"[{times[name]} ms](../benchmarks/results/zoo.txt)" if name in times else ""
        rows.append(f"| [{name}](#{name}) | {parameters(cell):,} | {time} |")
        sections.append(section(cell))
    return head + "\n".join(rows) + "\n\n" + "\n".join(sections)


def section(cell: Cell) -> str:
    """What is said of one cell."""
    lines = " \\\\\n".join(equations(cell.graph))
    picture = f"![One step of {cell.name}, from input and states to new states](cells/{cell.name}.png)"
    text = inspect.cleandoc(cell.__doc__ or "").replace("``", "`")
    text += INTERPRETED if cell.graph.varying_matrix is not None else ""
    return f"## {cell.name}\n\n{text}\n\n$$\n\\begin{{aligned}}\n{lines}\n\\end{{aligned}}\n$$\n\n{picture}\n"


def parameters(cell: Cell) -> int:
    """How many numbers learn; further sizes are half of the hidden size, as in `selfloop bench`."""
    sizes = dict.fromkeys(cell.sizes, SIZE // 2)
    return sum(weight.numel() for weight in sl.Recurrent(cell, SIZE, SIZE, **sizes).parameters())


def measured() -> tuple[dict[str, str], str]:
    """Milliseconds of each cell of the zoo, and on what."""
    text = RESULT.read_text(encoding="utf-8")
    (machine,) = re.findall(r"^# selfloop \S+, (.*)$", text, flags=re.MULTILINE)
    zoo = re.split(r"^zoo: training.*$", text, flags=re.MULTILINE)[1].split("\n\n")[0]
    return dict(re.findall(rf"^  (\w+) +64×32 +{SIZE}→{SIZE} +([\d.]+) ms", zoo, flags=re.MULTILINE)), machine


def main() -> None:
    """Write the page, and draw."""
    torch.manual_seed(0)
    PICTURES.mkdir(exist_ok=True)
    for name, cell in ZOO.items():
        draw(cell.graph, PICTURES / f"{name}.png")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
