"""One step of a cell as a picture: what its values are made of, from left to right."""

from dataclasses import dataclass, field
from io import BytesIO
from itertools import count, pairwise
from pathlib import Path

from cell_latex import symbol
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve
from PIL import Image

from selfloop.language.graph import Graph

# Okabe and Ito's colours, which colour-blind readers can tell apart; lightened where text stands on them.
INPUT, STATE, WEIGHTS, FUNCTION, PLAIN, LINE = "#56B4E9", "#CCCCCC", "#F0C04A", "#7FCDB0", "#FFFFFF", "#666666"

SIGNS = {
    "add": "+", "sub": "−", "mul": "⊙", "div": "÷", "neg": "−·", "matmul": "·", "outer": "⊗", "pow": "^", "where": "?",
    "sigmoid": "σ", "tanh": "tanh", "relu": "relu", "exp": "exp", "log": "log", "softplus": "s₊", "sqrt": "√",
    "abs": "|·|", "floor": "⌊·⌋", "spike": "Θ", "minimum": "min", "maximum": "max", "sum": "Σ", "mean": "mean",
    "amax": "max", "cumsum": "cum", "concat": "[ ]", "lt": "<", "le": "≤", "gt": ">", "ge": "≥",
}  # fmt: skip
FUNCTIONS = ("sigmoid", "tanh", "relu", "exp", "log", "softplus", "sqrt", "abs", "floor", "spike", "cumsum")
WIDTH, HEIGHT = 0.64, 0.54  # inches from column to column, and from row to row
RADIUS = 0.17
PULL = 0.97
"""Below 1, heights are drawn to the middle from sweep to sweep."""
COLOURS = 64


@dataclass
class Box:
    """Something that is drawn: what it says, its colour, what it is made of, and its name in the cell."""

    text: str
    colour: str
    args: list[int] = field(default_factory=list)
    name: str = ""


def boxes_of(graph: Graph) -> dict[int, Box]:
    """What is drawn of a Graph, by node.

    Values of parameters alone are not; sums of products with parameters are one box, with the parameters' names; of
    what takes one value and parameters or numbers, these are not said.
    """
    found: dict[int, Box] = {}
    stands_for: dict[int, int] = {}  # a part is drawn as what it is a part of
    uses = [0] * len(graph.nodes)
    for node in graph.nodes:
        for a in node.args:
            uses[a] += 1
    whole = graph.leaves[graph.input] if len(graph.inputs) > 1 else None
    for k, node in enumerate(graph.nodes):
        args = [stands_for[a] for a in node.args if a in stands_for]
        if node.op == "input":
            stands_for[k] = k
            if whole is None:
                found[k] = Box(f"${symbol(graph.input)}_t$", INPUT)
        elif node.op == "part" and node.args == (whole,):
            stands_for[k] = k
            found[k] = Box(rf"${{{symbol(graph.inputs[node.part[0]])}}}_t$", INPUT)
        elif node.op == "state":
            stands_for[k] = k
            found[k] = Box(rf"${{{symbol(str(node.value))}}}_{{t-1}}$", STATE)
        elif not args:
            continue
        elif node.op == "part":
            stands_for[k] = args[0]
        elif node.op == "matmul" and graph.constant[node.args[0]]:
            stands_for[k] = k
            found[k] = Box(_weights(graph, node.args[0]), WEIGHTS, args)
        elif node.op == "add" and _is_sum_of_products(graph, found, uses, node.args):
            stands_for[k] = k
            merged = [found.pop(a) for a in node.args if a in found]
            found[k] = Box(", ".join(box.text for box in merged), WEIGHTS, [a for box in merged for a in box.args])
        else:
            stands_for[k] = k
            found[k] = Box(SIGNS.get(node.op, node.op), FUNCTION if node.op in FUNCTIONS else PLAIN, args)
    for k, name in zip(graph.outputs, graph.states, strict=True):
        made_of = [stands_for[k]] if k in stands_for else []
        found[len(graph.nodes) + len(found)] = Box(rf"${{{symbol(name)}}}_t$", STATE, made_of)
    read = {a for box in found.values() for a in box.args}
    local = {k: f"${symbol(name)}$" for name, k in graph.names.items() if name not in graph.states}
    return {
        k: Box(box.text, box.colour, list(dict.fromkeys(box.args)), local.get(k, "") if box.args else "")
        for k, box in found.items()
        if k in read or box.args
    }


def _weights(graph: Graph, matrix: int) -> str:
    names = [n for n, k in graph.leaves.items() if k in _below(graph, matrix)]
    return ", ".join(f"${symbol(name)}$" for name in names)


def _below(graph: Graph, k: int) -> set[int]:
    return {k}.union(*(_below(graph, a) for a in graph.nodes[k].args))


def _is_sum_of_products(graph: Graph, found: dict[int, Box], uses: list[int], args: tuple[int, ...]) -> bool:
    """Whether all of this can be one box: products that nothing else needs, and parameters."""
    drawn = [a for a in args if not graph.constant[a]]
    return bool(drawn) and all(a in found and found[a].colour == WEIGHTS and uses[a] == 1 for a in drawn)


def columns_of(boxes: dict[int, Box]) -> dict[int, int]:
    """The column of each box: one after what it is made of; inputs and states first, new states last."""
    column: dict[int, int] = {}
    for k, box in boxes.items():
        column[k] = 1 + max((column[a] for a in box.args), default=-1)
    last = max(column.values())
    ends = [k for k in boxes if all(k not in box.args for box in boxes.values()) and boxes[k].args]
    return column | dict.fromkeys(ends, last)


def places_of(boxes: dict[int, Box]) -> tuple[dict[int, tuple[float, float]], list[list[tuple[float, float]]]]:
    """Where each box lies, and the points that each line goes through: layers, in an order with few crossings."""
    column = columns_of(boxes)
    layers: list[list[int]] = [[] for _ in range(1 + max(column.values()))]
    for k in boxes:
        layers[column[k]].append(k)
    below: dict[int, list[int]] = {k: [] for k in boxes}
    chains, fresh = [], count(10**6)
    for k, box in boxes.items():
        for a in box.args:
            chain = [a]
            for between in range(column[a] + 1, column[k]):
                point = next(fresh)
                layers[between].append(point)
                below[point] = [chain[-1]]
                chain.append(point)
            below[k].append(chain[-1])
            chains.append([*chain, k])
    above: dict[int, list[int]] = {k: [] for k in below}
    for k, own in below.items():
        for a in own:
            above[a].append(k)
    height = {k: row - len(layer) / 2 for layer in layers for row, k in enumerate(layer)}
    for sweep in range(24):
        of, order = (below, layers) if sweep % 2 == 0 else (above, layers[::-1])
        for layer in order:
            wanted = {k: sum(height[a] for a in of[k]) / len(of[k]) if of[k] else height[k] for k in layer}
            layer.sort(key=wanted.__getitem__)
            _spread(layer, wanted, height, boxes)
    where = {k: (number * WIDTH, height[k] * HEIGHT) for number, layer in enumerate(layers) for k in layer}
    return {k: where[k] for k in boxes}, [[where[k] for k in chain] for chain in chains]


def _spread(layer: list[int], wanted: dict[int, float], height: dict[int, float], boxes: dict[int, Box]) -> None:
    """Heights as near to the wanted ones as there is room for, in order: isotonic regression. Lines need less room."""
    offsets, before = [0.0], 0.0
    for k in layer:
        own = 1.0 if k in boxes else 0.45
        offsets.append(offsets[-1] + (own + before) / 2 if before else 0.0)
        before = own
    groups: list[tuple[float, int]] = []  # the sum of what its members want, and their number
    for k, offset in zip(layer, offsets[1:], strict=True):
        total, members = wanted[k] * PULL - offset, 1
        while groups and groups[-1][0] / groups[-1][1] > total / members:
            other, more = groups.pop()
            total, members = total + other, members + more
        groups.append((total, members))
    means = [total / members for total, members in groups for _ in range(members)]
    height.update({k: mean + offset for k, mean, offset in zip(layer, means, offsets[1:], strict=True)})


def draw(graph: Graph, path: Path) -> None:
    """Draw a step of a cell to a PNG."""
    boxes = boxes_of(graph)
    at, lines = places_of(boxes)
    xs, ys = zip(*[*at.values(), *(point for line in lines for point in line)], strict=True)
    left, right, low, high = min(xs) - 0.5, max(xs) + 0.5, min(ys) - 0.35, max(ys) + 0.35
    figure = Figure(figsize=(right - left, high - low), dpi=110, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left, right), ylim=(high, low), aspect="equal")
    axes.set_axis_off()
    for line in lines:
        _line(axes, line)
    for k, box in boxes.items():
        _box(axes, *at[k], box)
    picture = BytesIO()
    figure.savefig(picture)
    Image.open(picture).convert("RGB").quantize(COLOURS).save(path, optimize=True)


def _line(axes: Axes, points: list[tuple[float, float]]) -> None:
    path, codes = [points[0]], [Curve.MOVETO]
    for (x, y), (to_x, to_y) in pairwise(points):
        half = (to_x - x) / 2
        path += [(x + half, y), (to_x - half, to_y), (to_x, to_y)]
        codes += [Curve.CURVE4] * 3
    axes.add_patch(PathPatch(Curve(path, codes), fill=False, edgecolor=LINE, linewidth=0.9, zorder=1))


def _box(axes: Axes, x: float, y: float, box: Box) -> None:
    size = 9 if len(box.text) <= 3 or "$" in box.text else 6.5
    if box.colour in (PLAIN, FUNCTION):
        axes.add_patch(Circle((x, y), RADIUS, facecolor=box.colour, edgecolor=LINE, linewidth=0.9, zorder=2))
    else:
        lines = box.text.count(", ") + 1
        width, tall = 0.42, max(2 * RADIUS, 0.17 * lines)
        size = 8 if lines > 1 else 7 if "mathrm" in box.text else 9
        patch = FancyBboxPatch(
            (x - width / 2, y - tall / 2), width, tall, boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=box.colour, edgecolor=LINE, linewidth=0.9, zorder=2,
        )  # fmt: skip
        axes.add_patch(patch)
    text = box.text.replace(", ", "\n") if box.colour == WEIGHTS else box.text
    axes.text(x, y, text, ha="center", va="center", fontsize=size, linespacing=0.95, zorder=3)
    if box.name:
        beside = {"ha": "center", "va": "bottom", "fontsize": 8, "color": "#0072B2", "zorder": 3}
        axes.text(x, y - RADIUS - 0.015, box.name, **beside)
