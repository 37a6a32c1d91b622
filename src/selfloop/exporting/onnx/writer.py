"""Nodes of ONNX, written one after another."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]

_FOLDED: Mapping[str, Callable[..., Sequence[Array]]] = {
    "Transpose": lambda v, *, perm: [v.transpose(perm)],
    "Reshape": lambda v, shape: [v.reshape(shape)],
    "Unsqueeze": lambda v, axes: [np.expand_dims(v, tuple(axes))],
    "Gather": lambda v, rows, *, axis: [v.take(rows, axis)],
    "Concat": lambda *v, axis: [np.concatenate(v, axis)],
    "Expand": lambda v, shape: [np.broadcast_to(v, shape)],
}
"""What is computed at once where all inputs are known: weights in another order are weights."""


class Writer:
    """A graph under construction, or the body of a loop in it.

    What has been written once is not written again. A body sees all that the graph around it has, and what reads
    nothing of the body is written there, before the loop.

    Args:
        prefix: of the names of its values, which must be unlike all others of the model.
        outer: the graph that a body is in.
        stores: whether weights are stored beside the nodes; else they are nodes, too.

    Attributes:
        nodes: what has been written, in order.
    """

    def __init__(self, prefix: str = "v", outer: "Writer | None" = None, stores: bool = True) -> None:
        self.nodes: list[ir.Node] = []
        self.outer, self.stores = outer, stores
        self._written: dict[object, tuple[object, Any]] = {}  # with what was read, whose addresses are in the key
        self._own: dict[int, ir.Value] = {}
        self._names: Iterator[str] = outer._names if outer else map(f"{prefix}{{}}".format, count())

    def op(self, kind: str, *inputs: ir.Value | None, outputs: int = 1, **attributes: Any) -> Any:
        """The value of an operator; of one with several, a tuple of all."""
        if self.outer and not any(id(v) in self._own for v in inputs):
            return self.outer.op(kind, *inputs, outputs=outputs, **attributes)
        key = kind, tuple(map(id, inputs)), outputs, repr(attributes)
        _, found = self._written.get(key, (None, None))
        if found is None:
            found = self._fold(kind, inputs, attributes) or self._add(kind, inputs, outputs, attributes)
            self._written[key] = inputs, found
        return found if outputs > 1 else found[0]

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.int64) -> ir.Value:
        """A number, or several."""
        if self.outer:
            return self.outer.constant(value, dtype)
        array = np.asarray(value, dtype)
        key = array.tobytes(), array.dtype.str, array.shape
        if key not in self._written:
            (made,) = self._add("Constant", (), 1, {"value": ir.tensor(array)})
            made.const_value, made.shape = ir.tensor(array), ir.Shape(array.shape)
            made.type = ir.TensorType(made.const_value.dtype)
            self._written[key] = None, made
        return self._written[key][1]

    def known(self, array: Array, name: str | None = None) -> ir.Value:
        """A weight, which is stored with the model."""
        if self.outer:
            return self.outer.known(array, name)
        if not self.stores:
            return self.constant(array, array.dtype)
        tensor = ir.tensor(np.ascontiguousarray(array))
        return ir.Value(
            name=name or next(self._names), shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )

    def unknown(self, dtype: ir.DataType, shape: Sequence[int | str | None], name: str | None = None) -> ir.Value:
        """What the caller gives, or what a loop gives its body."""
        value = ir.Value(name=name or next(self._names), shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self._own[id(value)] = value
        return value

    def graph(
        self, name: str, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value], weights: bool = True
    ) -> ir.Graph:
        """What has been written, without what no output needs.

        Args:
            name: of the graph.
            inputs: those that are given.
            outputs: those that are wanted.
            weights: whether what it stores is stored here; that of a body is stored around it.
        """
        kept = self.needed(outputs)
        read = {id(v): v for node in kept for v in _read(node)} | {id(v): v for v in outputs}
        stored = [v for v in read.values() if v.const_value is not None and v.producer() is None] if weights else []
        return ir.Graph(inputs, outputs, nodes=kept, initializers=stored, name=name, opset_imports={"": OPSET})

    def needed(self, outputs: Iterable[ir.Value]) -> list[ir.Node]:
        """The nodes that outputs are made of, in order."""
        wanted, kept = {id(v) for v in outputs}, []
        for node in reversed(self.nodes):
            if any(id(v) in wanted for v in node.outputs):
                kept.append(node)
                wanted |= {id(v) for v in _read(node)}
        return kept[::-1]

    def distinct(self, values: Iterable[ir.Value]) -> list[ir.Value]:
        """The same values as a graph's outputs: each made in it, and each another."""
        found: list[ir.Value] = []
        for v in values:
            is_new = v.producer() in self.nodes and not any(v is other for other in found)
            found.append(v if is_new else self._add("Identity", (v,), 1, {})[0])
        return found

    def _add(
        self, kind: str, inputs: Sequence[ir.Value | None], outputs: int, attributes: Mapping[str, Any]
    ) -> tuple[ir.Value, ...]:
        made = [ir.Value(name=next(self._names)) for _ in range(outputs)]
        self._own |= {id(v): v for v in made}
        given = [*inputs]
        while given and given[-1] is None:
            given.pop()
        self.nodes.append(ir.Node("", kind, given, ir.convenience.convert_attributes(attributes), outputs=made))
        return tuple(made)

    def _fold(
        self, kind: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any]
    ) -> tuple[ir.Value, ...] | None:
        if kind not in _FOLDED or any(v is None or v.const_value is None for v in inputs):
            return None
        arrays = [v.const_value.numpy() for v in inputs if v is not None]
        return tuple(self.known(array) for array in _FOLDED[kind](*arrays, **attributes))


OPSET = 18
"""The version of ONNX's operators: the first that splits, reduces and clips as it is done here."""


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """The values that a node reads, those of its body from around it among them."""
    yield from (v for v in node.inputs if v is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.value:
                yield from _read(inner)
            yield from attribute.value.outputs
