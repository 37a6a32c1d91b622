"""A cell's Graph as mathematics: an equation in LaTeX for each value that has a name, or is used more than once."""

import re
from collections import Counter

from selfloop.language.graph import Graph, Node

GREEK = ("alpha", "beta", "gamma", "zeta", "epsilon", "nu", "tau", "theta")
FUNCTIONS = {"tanh": r"\tanh", "exp": r"\exp", "log": r"\log", "sin": r"\sin", "cos": r"\cos", "sigmoid": r"\sigma"}
FUNCTIONS |= {"amax": r"\max", "maximum": r"\max", "minimum": r"\min", "stop_gradient": r"\operatorname{constant}"}
LONGEST_INDEX = 2
BETWEEN = {  # the template, its own strength, and the strength that its arguments need
    "lt": ("{} < {}", 1, (2, 2)),
    "le": (r"{} \le {}", 1, (2, 2)),
    "gt": ("{} > {}", 1, (2, 2)),
    "ge": (r"{} \ge {}", 1, (2, 2)),
    "add": ("{} + {}", 2, (2, 2)),
    "sub": ("{} - {}", 2, (2, 3)),
    "neg": ("-{}", 2, (3,)),
    "mul": (r"{} \odot {}", 3, (3, 4)),
    "scale": (r"{} \, {}", 3, (3, 4)),
    "matmul": (r"{} \, {}", 3, (4, 4)),
    "outer": (r"{} \, {{{}}}^\top", 3, (4, 5)),
    "pow": ("{{{}}}^{{{value}}}", 4, (5,)),
    "transpose": (r"{{{}}}^\top", 4, (5,)),
}
AROUND = {
    "abs": r"\lvert {} \rvert",
    "concat": r"[{}]",
    "div": r"\frac{{{}}}{{{}}}",
    "floor": r"\lfloor {} \rfloor",
    "mean": r"\operatorname{{mean}}({})",
    "relu": r"\max(0, {})",
    "spike": r"\Theta({})",
    "sqrt": r"\sqrt{{{}}}",
    "where": r"\begin{{cases}} {1} & {0} \\ {2} & \text{{else}} \end{{cases}}",
}
ATOM = 9
Text = tuple[str, float]
"""An expression, and how tightly it binds."""


def equations(graph: Graph) -> list[str]:
    """The equations of one step, in an order in which they can be computed."""
    uses = Counter(a for node in graph.nodes for a in node.args)
    new = dict(zip(graph.outputs, graph.states, strict=True))
    local = {k: name for name, k in graph.names.items() if name not in graph.leaves}
    texts: dict[int, Text] = {}
    lines, free = [], 0
    for k, node in enumerate(graph.nodes):
        text = _leaf(graph, k, node) or _expression(graph, node, texts)
        is_short = not node.args or node.op in ("part", "block_diagonal") or (node.op == "neg" and uses[k] > 1)
        if k in new:
            name = f"{symbol(new[k])}_t"
        elif k in local and not is_short:
            name = symbol(local[k])
        elif uses[k] > 1 and not is_short:
            free += 1
            name = f"a_{{{free}}}"
        else:
            texts[k] = text
            continue
        lines.append(f"{name} &= {text[0]}")
        texts[k] = name, ATOM
    lines += [
        f"{symbol(s)}_t &= {texts[k][0]}" for s, k in zip(graph.states, graph.outputs, strict=True) if new[k] != s
    ]
    return lines


def symbol(name: str) -> str:
    """A name as a symbol: ``W_xh`` is W with the index xh, ``gain`` is upright."""
    first, _, index = name.partition("_")
    if not index and (match := re.fullmatch(r"([A-Za-z])(\d+)", name)):
        first, index = match.groups()
    if first in GREEK:
        first = rf"\{first}"
    elif len(first) > 1:
        first = rf"\mathrm{{{first}}}"
    index = rf"\{index}" if index in GREEK else rf"\mathrm{{{index}}}" if len(index) > LONGEST_INDEX else index
    return f"{first}_{{{index}}}" if index else first


def _leaf(graph: Graph, k: int, node: Node) -> Text | None:
    match node.op:
        case "input":
            return (f"{symbol(graph.inputs[0])}_t" if len(graph.inputs) == 1 else r"\mathrm{inputs}_t"), ATOM
        case "state":
            return f"{_braced(symbol(str(node.value)))}_{{t-1}}", ATOM
        case "param":
            return symbol(str(node.value)), ATOM
        case "const":
            text = f"{node.value:.5g}"
            return (rf"10^{{{int(text[2:])}}}" if text.startswith("1e") else text), ATOM
        case "block_diagonal":
            return symbol(str(graph.nodes[node.args[0]].value)), ATOM
        case "part" if graph.nodes[node.args[0]].op == "input" and len(graph.inputs) > 1:
            return f"{_braced(symbol(graph.inputs[node.part[0]]))}_t", ATOM
    return None


def _braced(name: str) -> str:
    """A symbol that has an index of its own takes another."""
    return f"{{{name}}}" if "_" in name else name


def _expression(graph: Graph, node: Node, texts: dict[int, Text]) -> Text:
    args = [texts[a] for a in node.args]
    shapes = [graph.nodes[a].shape for a in node.args]
    op = node.op
    if op == "part":
        text, strength = args[0]
        return f"{text if strength == ATOM else f'({text})'}^{{({node.part[0] + 1})}}", ATOM
    if op == "mul" and () in shapes:
        op = "scale"
        if shapes[0] != ():  # a number stands first
            args.reverse()
    if op in BETWEEN:
        template, own, needed = BETWEEN[op]
        inner = [t if s >= n else rf"({t})" for (t, s), n in zip(args, needed, strict=True)]
        return template.format(*inner, value=node.value), own
    inner = [t for t, _ in args]
    if op in AROUND:
        joined = ["; ".join(inner)] if op == "concat" else inner
        return AROUND[op].format(*joined), ATOM
    function = FUNCTIONS.get(op, rf"\operatorname{{{op}}}")
    return f"{function}({', '.join(inner)})", ATOM
