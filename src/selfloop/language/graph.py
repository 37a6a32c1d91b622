"""A cell as data: the Graph of one step, on one example.

A Graph is what tracing yields and what everything below reads: the interpreter runs it, the compiler transforms it. It
prints as equations.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import count
from typing import cast

from selfloop.errors import ArgumentError, nearest
from selfloop.language.sizes import Shape, Size
from selfloop.untrusted import parse_json

LEAVES = ("input", "state", "param", "const", "bernoulli")
"""The operations without arguments; their `value` is a name, or the number of a constant. A `bernoulli` is 1 or 0 at
random; its `value` is the probability of 1, the number of its stream, and whether it is drawn anew at each step."""

COMPARISONS = ("lt", "le", "gt", "ge")
"""The operations whose result is true or false."""

STORED = ("param", "block_diagonal")
"""The matrices that need not be made: parameters, and those of which a parameter holds the blocks."""

JOINT = "+"
"""Stands between the names of several inputs, which are parts of one."""

Drawn = tuple[float, int, bool]
Part = tuple[int | str, ...]
"""Which part of a vector, and the sizes of all parts, as text: ``(1, "h", "h", "2h")``; or of block-diagonal matrices,
how many are stacked, and how many blocks each has: ``(4, "heads")``."""


@dataclass(frozen=True)
class Node:
    """One value of the step: an operation on earlier nodes."""

    op: str
    args: tuple[int, ...]
    shape: Shape
    value: str | float | Part | Drawn | None = None
    line: int = field(default=0, compare=False)

    def __str__(self) -> str:
        given = [f"%{a}" for a in self.args] + ([] if self.value is None else [str(self.value)])
        return f"{self.op} {', '.join(given)} : {' × '.join(map(str, self.shape)) or 'scalar'}"

    @property
    def drawn(self) -> Drawn:
        """The value of a `bernoulli`."""
        return cast(Drawn, self.value)

    @property
    def part(self) -> tuple[int, tuple[Size, ...]]:
        """The value of a `part`: which one, and the sizes of all."""
        which, *sizes = cast(Part, self.value)
        return int(which), tuple(Size.parse(str(size)) for size in sizes)

    def options(self, sizes: Mapping[str, int]) -> tuple[object, ...]:
        """What an operation takes beside its arguments: the span of a `part`, the exponent of a `pow`."""
        if self.op == "part":
            return self.span(sizes)
        if self.op == "block_diagonal":
            return self.blocks(sizes)
        return () if self.value is None else (self.value,)

    def blocks(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Of a `block_diagonal`, how many are stacked, and how many blocks each has."""
        stacked, heads = cast(Part, self.value)
        return int(stacked), sizes.get(heads, 1) if isinstance(heads, str) else heads

    def span(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Where a `part` begins and ends in its vector."""
        which, parts = self.part
        start = Size.total(parts[:which]).value(sizes)
        return start, start + parts[which].value(sizes)


def ancestors(nodes: Sequence[Node], of: Iterable[int]) -> list[int]:
    """These nodes and all that they are made of, in order."""
    found = set(of)
    for k in reversed(range(len(nodes))):
        if k in found:
            found.update(nodes[k].args)
    return sorted(found)


def without_dead_code(
    nodes: Sequence[Node], outputs: Sequence[int]
) -> tuple[tuple[Node, ...], tuple[int, ...], dict[int, int]]:
    """The nodes that the outputs need, with input and states; the outputs among them; and where each node has gone."""
    needed = set(ancestors(nodes, outputs))
    kept = [k for k, node in enumerate(nodes) if k in needed or node.op in ("input", "state")]
    moved = {old: new for new, old in enumerate(kept)}
    used = tuple(replace(nodes[k], args=tuple(moved[a] for a in nodes[k].args)) for k in kept)
    return used, tuple(moved[k] for k in outputs), moved


_DERIVED = (
    "leaves", "stepwise", "constant", "matrices", "varying_matrix", "recurrent_params", "form", "text", "expected",
    "per_step",
)  # fmt: skip
"""What a Graph computes of itself when it is made."""


@dataclass(frozen=True)
class Graph:
    """One step of a recurrence.

    Attributes:
        name: the cell's name.
        nodes: values in an order in which they can be computed; leaves first.
        input: the name of the input; where there are several, which are its parts, their names with a `JOINT` between.
        states: the names of the states, in order.
        params: the names of the parameters, in order.
        outputs: the node of each new state, in the order of `states`; the first is the step's output.
        names: the local variables of the cell's function, and the node each held when it returned.
    """

    name: str
    nodes: tuple[Node, ...]
    input: str
    states: tuple[str, ...]
    params: tuple[str, ...]
    outputs: tuple[int, ...]
    names: Mapping[str, int] = field(compare=False)

    def __post_init__(self) -> None:
        for derived in _DERIVED:
            getattr(self, derived)  # before Python 3.12 the first look takes a lock, which torch.compile cannot trace

    @cached_property
    def leaves(self) -> dict[str, int]:
        """The node of the input, of each state and of each parameter, by name."""
        return {str(node.value): k for k, node in enumerate(self.nodes) if node.op in ("input", "state", "param")}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(self.input.split(JOINT))

    def shape(self, name: str) -> Shape:
        """The shape of the input, a state or a parameter."""
        return self.nodes[self.leaves[name]].shape

    def shape_at(self, name: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The same in numbers, given the number of each named size.

        Raises:
            KeyError: one is missing.
        """
        return tuple(size.value(sizes) for size in self.shape(name))

    def solve(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        """The number of each named size, from the shapes of input, states and parameters; their last sizes count."""
        known = {"": 1}
        equations = []
        for name, numbers in shapes.items():
            sizes = self.shape(name)
            equations += [(dict(s.terms), n) for s, n in zip(sizes, numbers[len(numbers) - len(sizes) :], strict=True)]
        for _ in equations:
            for terms, number in equations:
                unknown = [name for name in terms if name not in known]
                if len(unknown) == 1:
                    rest = sum(count * known[name] for name, count in terms.items() if name in known)
                    known[unknown[0]] = (number - rest) // terms[unknown[0]]
        for name in [*known]:
            whole, _, divisor = name.partition("/")
            if divisor and not divisor.isdigit() and whole in known:
                known.setdefault(divisor, known[whole] // known[name])
        return {name: number for name, number in known.items() if name}

    @cached_property
    def stepwise(self) -> tuple[bool, ...]:
        """For each node, whether it depends on a state; the others can be made for all steps at once."""
        return self._reached_from("state")

    @cached_property
    def constant(self) -> tuple[bool, ...]:
        """For each node, whether it is the same at all steps: parameters, constants and what they make."""
        changing = [self._reached_from(op) for op in ("input", "state", "bernoulli")]
        return tuple(not any(reached) for reached in zip(*changing, strict=True))

    @cached_property
    def is_random(self) -> bool:
        """Whether anything is drawn."""
        return any(node.op == "bernoulli" for node in self.nodes)

    @cached_property
    def expected(self) -> "Graph":
        """The Graph outside of training: what is drawn is its mean."""
        if not self.is_random:
            return self
        nodes = (Node("const", (), (), n.drawn[0], n.line) if n.op == "bernoulli" else n for n in self.nodes)
        return replace(self, nodes=tuple(nodes))

    @cached_property
    def matrices(self) -> dict[str, int]:
        """The matrices that parameters make, by a name, with their nodes: those that a step reads.

        A block-diagonal matrix is made where a step does more with it than multiply a vector; a comparison, which is no
        number, is a part of the step.
        """
        multiply, read, made = set[int](), {*self.outputs}, list[int]()
        for k, node in reversed([*enumerate(self.nodes)]):
            if k not in read and k not in multiply:
                continue  # what the matrices are made of
            is_whole = self.constant[k] and len(node.shape) == 2 and node.op not in (*COMPARISONS, "param")
            if is_whole and (k in read or node.op not in STORED):
                made.insert(0, k)
            elif node.op == "matmul":
                multiply.add(node.args[0])
                read.add(node.args[1])
            else:
                read |= {*node.args}
        local = {k: name for name, k in self.names.items()}
        names = {k: local.get(k, f"matrix{number}") for number, k in enumerate(made)}
        return {f"{name}_" if name in self.leaves else name: k for k, name in names.items()}

    @cached_property
    def varying_matrix(self) -> str | None:
        """The name of a matrix that differs from step to step, as a state or what makes one; None if there is none."""
        names = {k: name for name, k in [*self.names.items(), *self.leaves.items()]}
        varying = (k for k, node in enumerate(self.nodes) if len(node.shape) == 2 and not self.constant[k])
        return next((names.get(k, f"the '{self.nodes[k].op}'") for k in varying), None)

    @cached_property
    def per_step(self) -> "Graph":
        """What a step computes: the matrices that parameters make, once for all steps, are parameters of it."""
        if not self.matrices:
            return self
        name_of = {k: name for name, k in self.matrices.items()}
        nodes = [Node("param", (), n.shape, name_of[k]) if k in name_of else n for k, n in enumerate(self.nodes)]
        used, outputs, moved = without_dead_code(nodes, self.outputs)
        return replace(
            self,
            nodes=used,
            params=(*(name for name in self.params if self.leaves[name] in moved), *self.matrices),
            outputs=outputs,
            names={name: moved[k] for name, k in self.names.items() if k in moved},
        )

    def recording(self, names: tuple[str, ...]) -> "Graph":
        """The same step whose output holds the new values of these names side by side, after the output that it had.

        They are one more state, the first, whose old value nothing reads.

        Args:
            names: states, or local variables of the cell's function: vectors or numbers.

        Raises:
            ArgumentError: the step has no such name, or it is the same at every step.
        """
        recorded = "record"
        while recorded in self.leaves:
            recorded += "_"
        parts = (self.outputs[0], *(self._recordable(name) for name in names))
        size = Size.total(self.nodes[k].shape[0] if self.nodes[k].shape else Size.parse("1") for k in parts)
        nodes = (*self.nodes, Node("concat", parts, (size,)), Node("state", (), (size,), recorded))
        return replace(self, nodes=nodes, states=(recorded, *self.states), outputs=(len(self.nodes), *self.outputs))

    def output_sizes(self, sizes: Mapping[str, int]) -> list[int]:
        """The size of each value that the output holds side by side: where it is a `concat`, of each of its parts."""
        output = self.nodes[self.outputs[0]]
        parts = [self.nodes[a] for a in output.args] if output.op == "concat" else [output]
        return [node.shape[0].value(sizes) if node.shape else 1 for node in parts]

    @property
    def recordable(self) -> dict[str, int]:
        """What `recording` takes: the states, whose new values it means, and the local variables that change."""
        named = {name: k for name, k in self.names.items() if not self.constant[k]}
        named |= dict(zip(self.states, self.outputs, strict=True))
        return {name: k for name, k in named.items() if len(self.nodes[k].shape) < 2}

    def _recordable(self, name: str) -> int:
        known = self.recordable
        if name in (*self.states, *self.names) and name not in known:
            raise ArgumentError(
                f"The '{name}' of {self.name} cannot be recorded: it is a matrix, or the same at every step. "
                f"Vectors and numbers that a step computes can: {', '.join(known)}."
            )
        if name not in known:
            hint = nearest(name, known) or f"; it has {', '.join(known)}."
            raise ArgumentError(
                f"{self.name} computes its new state without a '{name}', so it cannot be recorded{hint}"
            )
        return known[name]

    @cached_property
    def recurrent_params(self) -> tuple[str, ...]:
        """The matrices that multiply what depends on a state: those that weight drop and orthogonal starts are for."""
        products = [n.args for n in self.nodes if n.op == "matmul"]
        used = ancestors(self.nodes, {m for m, v in products if self.stepwise[v] and self.constant[m]})
        return tuple(name for name in self.params if self.leaves[name] in used and len(self.shape(name)) == 2)

    @cached_property
    def form(self) -> tuple[object, ...]:
        """The equations without the names: equal for two cells that compute the same in the same order."""
        order = {name: k for k, name in enumerate((self.input, *self.states, *self.params))}
        return (
            tuple((n.op, n.args, n.shape, order.get(n.value, n.value)) for n in self.nodes),  # type: ignore[arg-type]
            self.outputs,
        )

    @cached_property
    def text(self) -> str:
        """The Graph as JSON, which `read` reads; the names of local variables are left out."""
        nodes = [(n.op, n.args, [size.terms for size in n.shape], n.value) for n in self.nodes]
        return json.dumps([self.name, nodes, self.input, self.states, self.params, self.outputs])

    @staticmethod
    @lru_cache(maxsize=1024)
    def read(text: str) -> "Graph":
        """The Graph of a text."""
        name, nodes, input, states, params, outputs = parse_json(text)
        return Graph(
            name=name,
            nodes=tuple(
                Node(
                    op,
                    tuple(args),
                    tuple(Size(tuple((n, c) for n, c in terms)) for terms in shape),
                    tuple(value) if isinstance(value, list) else value,
                )
                for op, args, shape, value in nodes
            ),
            input=input,
            states=tuple(states),
            params=tuple(params),
            outputs=tuple(outputs),
            names={},
        )

    def _reached_from(self, op: str) -> tuple[bool, ...]:
        reached: list[bool] = []
        for node in self.nodes:
            reached.append(node.op == op or any(reached[a] for a in node.args))
        return tuple(reached)

    def __str__(self) -> str:
        return "\n".join(_equations(self))

    def listing(self) -> str:
        """The nodes one by one, ``%5 = tanh %4 : h``, and the node of each new state."""
        lines = [f"%{k} = {node}" for k, node in enumerate(self.nodes)]
        return "\n".join([*lines, *(f"{s} = %{k}" for s, k in zip(self.states, self.outputs, strict=True))])


# How an operation prints, and how tightly it binds: (template, its own strength, the strength its arguments need).
_INFIX: dict[str, tuple[str, float, tuple[float, ...]]] = {
    "lt": ("{} < {}", 1, (2, 2)),
    "le": ("{} <= {}", 1, (2, 2)),
    "gt": ("{} > {}", 1, (2, 2)),
    "ge": ("{} >= {}", 1, (2, 2)),
    "add": ("{} + {}", 2, (2, 2)),
    "sub": ("{} - {}", 2, (2, 3)),
    "mul": ("{} * {}", 3, (3, 4)),
    "div": ("{} / {}", 3, (3, 4)),
    "matmul": ("{} @ {}", 3, (4, 4)),
    "neg": ("-{}", 4, (4,)),
    "pow": ("{} ** {value}", 5, (6,)),
}
_ATOM = 9


def _equations(graph: Graph) -> Iterator[str]:
    """The signature, the parameters, then one equation for each value that has a name or is used more than once."""
    whole, inputs = graph.leaves[graph.input], graph.inputs
    title = {whole: f"{graph.input}[t]"}
    if len(inputs) > 1:
        title |= {
            k: f"{inputs[n.part[0]]}[t]" for k, n in enumerate(graph.nodes) if n.op == "part" and n.args == (whole,)
        }
    title |= {graph.leaves[state]: f"{state}[t-1]" for state in graph.states}
    title |= {graph.leaves[param]: param for param in graph.params}
    blocks = {str(graph.nodes[n.args[0]].value): k for k, n in enumerate(graph.nodes) if n.op == "block_diagonal"}
    title |= {k: name for name, k in blocks.items()}
    new_states = dict(zip(graph.outputs, graph.states, strict=True))
    uses = [0] * len(graph.nodes)
    for node in graph.nodes:
        for argument in node.args:
            uses[argument] += 1
    local = {k: name for name, k in graph.names.items() if k not in title}

    seen = [*(f"{name}[t]" for name in inputs), *(f"{s}[t-1]" for s in graph.states)]
    yield f"{graph.name}: {', '.join(seen)} -> {', '.join(f'{s}[t]' for s in graph.states)}"
    if graph.params:
        yield "  " + ", ".join(_declared(graph, p, blocks.get(p)) for p in graph.params)

    text: dict[int, tuple[str, float]] = {k: (name, _ATOM) for k, name in title.items()}
    free = (name for name in map("v{}".format, count(1)) if name not in graph.leaves and name not in graph.names)
    for k, node in enumerate(graph.nodes):
        if k in text:
            continue
        expression = _expression(node, lambda a: text[a])
        if k in new_states:
            name = f"{new_states[k]}[t]"
        elif k in local:
            name = local[k]
        elif uses[k] > 1 and node.op != "const":
            name = next(free)
        else:
            text[k] = expression
            continue
        text[k] = (name, _ATOM)
        yield f"  {name} = {expression[0]}"
    for k, state in zip(graph.outputs, graph.states, strict=True):
        if text[k][0] != f"{state}[t]":
            yield f"  {state}[t] = {text[k][0]}"


def _declared(graph: Graph, param: str, blocks: int | None) -> str:
    """A parameter and its shape; of a block-diagonal matrix as it multiplies."""
    node = graph.nodes[graph.leaves[param] if blocks is None else blocks]
    shape = " × ".join(map(str, node.shape)) or "1"
    return f"{param}: {shape}" if blocks is None else f"{param}: {shape} (heads: {cast(Part, node.value)[1]})"


def _expression(node: Node, text: Callable[[int], tuple[str, float]]) -> tuple[str, float]:
    if node.op == "const":
        return f"{node.value:g}", _ATOM
    if node.op == "bernoulli":
        return f"bernoulli({node.drawn[0]:g})", _ATOM
    if node.op == "part":
        index, parts = node.part
        how = len(parts) if len({*parts}) == 1 else repr(tuple(map(str, parts)))
        return f"split({text(node.args[0])[0]}, {how})[{index}]", _ATOM
    if node.op == "transpose":
        inner_text, strength = text(node.args[0])
        return f"{inner_text if strength == _ATOM else f'({inner_text})'}.T", _ATOM
    if node.op in _INFIX:
        template, own, needed = _INFIX[node.op]
        inner = [text(a) for a in node.args]
        texts = [t if s >= n else f"({t})" for (t, s), n in zip(inner, needed, strict=True)]
        return template.format(*texts, value=node.value), own
    given = [text(a)[0] for a in node.args] + ([f"{node.value:g}"] if isinstance(node.value, float) else [])
    return f"{node.op}({', '.join(given)})", _ATOM
