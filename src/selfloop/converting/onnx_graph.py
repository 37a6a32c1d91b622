"""ONNX files: their LSTM, GRU and RNN nodes, in the order of the graph, and its subgraphs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfloop import cells
from selfloop.converting.stack import DROP_INS, GATES, Found, Numbers, Reference, Stack, Weights, checked, reordered
from selfloop.errors import DataError, first_line
from selfloop.language import Cell
from selfloop.onnx_runtime import import_onnxruntime
from selfloop.untrusted import bound, short, written

ACTIVATIONS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}

ORDERS = {
    **{"vanilla": (0,), "vanilla_relu": (0,), "gru": (1, 0, 2), "gru_reset_before": (1, 0, 2)},  # of z, r, h
    **{"lstm": (0, 2, 3, 1), "peephole_lstm": (0, 2, 3, 1), "cifg_lstm": (0, 3, 1)},  # of i, o, f, c
}
"""Of the gates of each cell, in those of the node."""

FOLDED = {"Cast", "Concat", "Gather", "Identity", "Mul", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Transpose",
          "Unsqueeze"}  # fmt: skip
"""Operations that are computed where weights, or the way from one node to the next, need them."""

OF_VECTORS = {"Gather", "Mul"}
"""Those whose result may be much larger than their operands, unless these are vectors."""

FOLLOWED = {"Cast", "Expand", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose",
            "Unsqueeze"}  # fmt: skip
"""Operations that give zeros where their first input is zeros."""

OPSET = 14
"""Of the model in which one node is run; since 7 the nodes mean the same."""


def read(path: Path, where: str) -> Found:
    """The recurrent nodes of a file, by name.

    Raises:
        DataError: the file cannot be read, or onnx is not installed.
    """
    onnx = _package("onnx")
    try:
        model = onnx.load(path, load_external_data=False)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except OSError as error:
        raise DataError(f"{where} cannot be read ({first_line(error)}).") from error
    except Exception as error:  # protobuf's own, which onnx does not name
        raise DataError(f"{where} is no ONNX file that can be read ({first_line(error)}).") from error
    found: Found = {}
    for graph in _graphs(model.graph, None, _File(model, path, where)):
        for node in graph.nodes:
            if node.op_type in GATES and node.domain in ("", "ai.onnx"):
                name = node.name or next(filter(None, node.output), node.op_type)
                while name in found:
                    name += "_"
                graph.names[id(node)] = name
                found[name] = _Node(graph, node, name).stack
    return found


class _File:
    """What the graphs of a file have in common.

    Attributes:
        model: as it was parsed.
        folder: of the file, in which tensors may have files of their own.
        where: what errors call it.
        room: bytes that may still be computed.
    """

    def __init__(self, model: Any, path: Path, where: str) -> None:
        self.model, self.folder, self.where = model, path.parent, where
        self.room = bound(path.stat().st_size)

    def array(self, tensor: Any) -> Numbers:
        """The numbers of a tensor, which may lie in a file beside the model, and in no other place."""
        onnx, where = _package("onnx"), f"{self.where}, tensor {written(tensor.name)}"
        try:
            if onnx.external_data_helper.uses_external_data(tensor):
                onnx.external_data_helper.load_external_data_for_tensor(tensor, str(self.folder))
            array: Numbers = onnx.numpy_helper.to_array(tensor)
        except Exception as error:  # as onnx, protobuf and NumPy raise them
            raise DataError(f"{where}: its numbers cannot be read ({first_line(error)}).") from error
        return array


class _Graph:
    """A graph, in which the names of the one around it are known.

    Attributes:
        nodes: in their order.
        names: of the recurrent nodes, by id.
    """

    def __init__(self, graph: Any, outer: "_Graph | None", file: _File) -> None:
        self.nodes, self.outer, self.file = list(graph.node), outer, file
        self.names: dict[int, str] = {} if outer is None else outer.names
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {output: node for node in self.nodes for output in node.output if output}
        self._inputs = {one.name for one in graph.input} - {*self._tensors}
        self._readers: dict[str, int] = {one.name: 1 for one in graph.output}
        for name in _read_names(graph):
            self._readers[name] = self._readers.get(name, 0) + 1

    def maker(self, name: str) -> Any:
        """The node that makes a value, or None."""
        return self._makers.get(name) or (self.outer.maker(name) if self.outer and not self._is_own(name) else None)

    def _is_own(self, name: str) -> bool:
        return name in self._tensors or name in self._makers or name in self._inputs

    def value(self, name: str, given: dict[str, Numbers] | None = None) -> Numbers | None:
        """A value that follows from constants, and from what is given; None if it follows from anything else."""
        known = {} if given is None else given
        if name not in known:
            found = self._value(name, known)
            if found is None:
                return None
            known[name] = found
        return known[name]

    def _value(self, name: str, known: dict[str, Numbers]) -> Numbers | None:
        if name in self._tensors:
            return self.file.array(self._tensors[name])
        if name not in self._makers:
            return self.outer.value(name, known) if self.outer and name not in self._inputs else None
        node = self._makers[name]
        if node.op_type == "Constant":
            return self._constant(node)
        if node.op_type not in FOLDED or node.domain not in ("", "ai.onnx"):
            return None
        inputs = {}
        for own in filter(None, node.input):
            array = self.value(own, known)
            if array is None or (node.op_type in OF_VECTORS and array.ndim > 1):
                return None
            inputs[own] = array
        self.file.room -= 8 * sum(array.size for array in inputs.values())
        if self.file.room < 0:
            raise DataError(f"{self.file.where}: what its constants make is larger than weights are.")
        return self._computed(node, name, inputs)

    def _constant(self, node: Any) -> Numbers | None:
        for one in node.attribute:
            if one.name == "value":
                return self.file.array(one.t)
            if one.name in ("value_float", "value_floats"):
                return np.asarray(_attribute(one), np.float32)
            if one.name in ("value_int", "value_ints"):
                return np.asarray(_attribute(one), np.int64)
        return None

    def _computed(self, node: Any, name: str, inputs: Mapping[str, Numbers]) -> Numbers | None:
        """What one operation gives, by onnx' own evaluator."""
        onnx = _package("onnx")
        helper = onnx.helper
        values = [
            helper.make_tensor_value_info(own, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for own, array in inputs.items()
        ]
        graph = helper.make_graph([node], "one", values, [helper.make_empty_tensor_value_info(name)])
        try:
            model = helper.make_model(graph, opset_imports=self.file.model.opset_import)
            (result,) = onnx.reference.ReferenceEvaluator(model).run(None, dict(inputs))
        except Exception as error:  # as the evaluator and NumPy raise them
            raise DataError(
                f"{self.file.where}: the node {written(node.name)} cannot be computed ({first_line(error)})."
            ) from error
        return np.asarray(result)

    def is_zero(self, name: str) -> bool:
        """Whether a state to start from is zeros, or the caller's to give."""
        for _ in range(len(self.nodes) + 1):
            if not name or name in self._inputs:
                return True
            node = self._makers.get(name)
            if node is not None and node.op_type == "ConstantOfShape":
                return all(not self.file.array(one.t).any() for one in node.attribute if one.name == "value")
            if node is None or node.op_type not in FOLLOWED:
                break
            name = node.input[0]
        array = self.value(name)
        return array is not None and not array.any()

    def readers(self, name: str) -> int:
        """How many read a value, or are given it by the graph; what reads its shape alone does not count."""
        return self._readers.get(name, 0)


class _Node:
    """One LSTM, GRU or RNN."""

    def __init__(self, graph: _Graph, node: Any, name: str) -> None:
        self.graph, self.node, self.name = graph, node, name
        self.where = f"{graph.file.where}, node {written(name)}"
        self.op = node.op_type

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """By name."""
        return {one.name: _attribute(one) for one in self.node.attribute}

    @property
    def direction(self) -> str:
        """As ONNX names it."""
        return str(self.attributes.get("direction", "forward"))

    @property
    def layout(self) -> int:
        """0 where time comes first, 1 where the batch does."""
        return int(self.attributes.get("layout", 0))

    def stack(self) -> Stack:
        """As selfloop's layer takes it.

        Raises:
            DataError: no cell of selfloop computes it, or its weights are not constant or do not fit.
        """
        if self.direction not in DIRECTIONS:
            raise DataError(f"{self.where}: its direction must be one of ONNX' three. Got {short(self.direction)}.")
        directions, gates = DIRECTIONS[self.direction], GATES[self.op]
        recurrent = self._weight(2, "R", (directions, None, None))
        hidden = recurrent.shape[2]
        recurrent = self._weight(2, "R", (directions, gates * hidden, hidden))
        kernel = self._weight(1, "W", (directions, gates * hidden, None))
        bias = self._weight(3, "B", (directions, 2 * gates * hidden)) if self._has(3) else None
        peepholes = self._weight(7, "P", (directions, 3 * hidden)) if self.op == "LSTM" and self._has(7) else None
        if (said := self.attributes.get("hidden_size", hidden)) != hidden:
            raise DataError(f"{self.where}: its hidden_size is {short(said)}, and its weights are of {hidden}.")
        cell = self._cell(peepholes)
        raw = {"W": kernel, "R": recurrent, "B": bias, "P": peepholes}
        weights = [
            _weights(
                cell, kernel[way], recurrent[way], *(None if own is None else own[way] for own in (bias, peepholes))
            )
            for way in range(directions)
        ]
        given = {name: own.numpy() for name, own in raw.items() if own is not None}
        return Stack(
            names=(self.name,),
            was=f"{self.op} of ONNX",
            cell=cell,
            input_size=kernel.shape[2],
            hidden_size=hidden,
            weights=(tuple(weights),),
            reference=self._reference(given),
            batch_first=self.layout == 1,
            reads=self._reads(),
            notes=tuple(self._notes()),
        )

    def _has(self, k: int) -> bool:
        return len(self.node.input) > k and bool(self.node.input[k])

    def _weight(self, k: int, name: str, shape: Sequence[int | None]) -> Tensor:
        array = self.graph.value(self.node.input[k]) if self._has(k) else None
        if array is None:
            raise DataError(f"{self.where}: its weights {name} are not constants of the file, so there are none.")
        if array.dtype.name not in ("float16", "float32", "float64", "bfloat16"):
            raise DataError(f"{self.where}: its weights {name} must be floating-point numbers. Got {array.dtype}.")
        array = array if array.dtype == np.float64 else array.astype(np.float32)
        return checked(self.where, name, torch.from_numpy(np.array(array)), shape)

    def _cell(self, peepholes: Tensor | None) -> Cell:
        """The cell with the node's equations."""
        activations = tuple(self.attributes.get("activations", ()))
        directions, default = DIRECTIONS[self.direction], ACTIVATIONS[self.op]
        is_relu = self.op == "RNN" and activations == ("Relu",) * directions
        if activations not in ((), default * directions) and not is_relu:
            raise self._refused(f"its activations are {short(list(activations))}")
        if "clip" in self.attributes:
            raise self._refused(f"it clips what its gates read at {short(self.attributes['clip'])}")
        if self.op == "RNN":
            return cells.vanilla_relu if is_relu else cells.vanilla
        if self.op == "GRU":
            return cells.gru if self.attributes.get("linear_before_reset", 0) else cells.gru_reset_before
        if self.attributes.get("input_forget", 0):
            if peepholes is not None:
                raise self._refused("it couples its gates and has peepholes")
            return cells.cifg_lstm
        return cells.lstm if peepholes is None else cells.peephole_lstm

    def _refused(self, why: str) -> DataError:
        return DataError(
            f"{self.where}: {why}, which no cell of selfloop does. With @selfloop.cell its equations can be written, "
            "and these weights loaded into them."
        )

    def _notes(self) -> Iterator[str]:
        if self.direction == "reverse":
            yield "It reads from the end: flip the sequences in time, call the layer, and flip its output back."
        starts = [self.node.input[k] for k in (5, 6) if self._has(k)]
        if not all(map(self.graph.is_zero, starts)):
            yield "The graph gives it a state to start from (initial_h): give it to the layer as hx."

    def _reference(self, given: Mapping[str, Numbers]) -> Reference:
        """The node itself."""

        def reference(x: Numbers) -> list[Numbers]:
            is_reverse = self.direction == "reverse"
            y, *states = self._run(x[::-1] if is_reverse else x, given)
            y = y.transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1)  # T, directions, B, H
            return [y[::-1] if is_reverse else y, *states]

        return reference

    def _run(self, x: Numbers, given: Mapping[str, Numbers]) -> list[Numbers]:
        """The outputs of the node, by onnx' evaluator in float64, or by ONNX Runtime in float32 if that alone can."""
        special = self.attributes.get("input_forget", 0) or "Relu" in self.attributes.get("activations", ())
        if not special:  # the evaluator would pass over these
            with suppress(Exception), np.errstate(over="ignore"):  # it need not know every node
                evaluator = _package("onnx").reference.ReferenceEvaluator(self._model(x, given, np.float64))
                found: list[Numbers] = evaluator.run(None, {"X": x.astype(np.float64)})
                return found
        runtime = _package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        model = self._model(x, given, np.float32).SerializeToString()
        try:
            session = runtime.InferenceSession(model, options, ["CPUExecutionProvider"])
            outputs: list[Numbers] = session.run(None, {"X": x.astype(np.float32)})
        except Exception as error:  # as the runtime raises them
            raise DataError(f"{self.where}: ONNX Runtime does not run it ({first_line(error)}).") from error
        return outputs

    def _model(self, x: Numbers, given: Mapping[str, Numbers], dtype: type[np.floating[Any]]) -> Any:
        """The node alone, with its weights, from X to its outputs, time first."""
        onnx = _package("onnx")
        helper = onnx.helper
        inputs = ["X", "W", "R", "B" if "B" in given else "", *(["", "", "", "P"] if "P" in given else [])]
        outputs = ["Y", "Y_h", *(["Y_c"] if self.op == "LSTM" else [])]
        node = helper.make_node(self.op, inputs, outputs)
        node.attribute.extend(one for one in self.node.attribute if one.name != "layout")
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        graph = helper.make_graph(
            [node],
            "node",
            [helper.make_tensor_value_info("X", kind, x.shape)],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            [onnx.numpy_helper.from_array(own.astype(dtype), name) for name, own in given.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)

    def _reads(self) -> str | None:
        """The node whose output, its directions side by side, this one reads, and nothing else does."""
        name, passed = self.node.input[0], 0
        while (node := self.graph.maker(name)) is not None and node.op_type in FOLDED and passed < 8:
            if self.graph.readers(name) != 1:
                return None
            name, passed = node.input[0], passed + 1
        if node is None or id(node) not in self.graph.names or node.output[0] != name:
            return None
        if self.graph.readers(name) != 1:
            return None
        below = _Node(self.graph, node, self.graph.names[id(node)])
        weights = self.graph.value(node.input[2])
        if below.layout != self.layout or weights is None or weights.ndim != 3:
            return None
        directions, _, size = weights.shape
        steps, batch = self._traced() or (3, 2)
        if steps * batch * directions * size > 1 << 24:
            return None
        y = np.arange(steps * batch * directions * size, dtype=np.float32)
        y = y.reshape((steps, directions, batch, size) if not self.layout else (steps, batch, directions, size))
        expected = y.transpose(0, 2, 1, 3) if not self.layout else y
        try:
            given = self.graph.value(self.node.input[0], {name: y})
        except DataError:
            return None
        is_whole = given is not None and np.array_equal(given, expected.reshape(steps, batch, directions * size))
        return below.name if is_whole else None

    def _traced(self) -> tuple[int, int] | None:
        """The first two sizes of the input, where the graph was made for them alone."""
        node = self.graph.maker(self.node.input[0])
        shape = self.graph.value(node.input[1]) if node is not None and node.op_type == "Reshape" else None
        if shape is None or shape.shape != (3,) or min(shape[:2]) <= 0:
            return None
        return int(shape[0]), int(shape[1])


def _weights(cell: Cell, w: Tensor, r: Tensor, b: Tensor | None, p: Tensor | None) -> Weights:
    """A direction's weights by the names of selfloop's layers, and in the order of their gates."""
    biases = () if b is None else b.chunk(2)  # of the input and of the state
    order, gates = ORDERS[cell.name], len(r) // r.shape[1]
    if cell.name in DROP_INS:
        own = {"weight_ih": w, "weight_hh": r} | dict(zip(("bias_ih", "bias_hh"), biases, strict=False))
    else:
        own = {"W_xh": w, "W_hh": r} | ({"b": biases[0] + biases[1]} if biases else {})
    own = {name: reordered(each, order, gates) for name, each in own.items()}
    if cell is cells.gru_reset_before:
        both = own.pop("W_hh")
        own |= {"W_hg": both[: -both.shape[1]], "W_hn": both[-both.shape[1] :]}
    return own if p is None else {**own, "w_ch": reordered(p, (0, 2, 1))}


def _graphs(graph: Any, outer: _Graph | None, file: _File) -> Iterator[_Graph]:
    """A graph, and those in its nodes."""
    own = _Graph(graph, outer, file)
    yield own
    for node in graph.node:
        for one in node.attribute:
            for inner in (*([one.g] if one.HasField("g") else []), *one.graphs):
                yield from _graphs(inner, own, file)


def _read_names(graph: Any) -> Iterator[str]:
    """The values that nodes read, those of inner graphs included, but for those whose shape alone is read."""
    for node in graph.node:
        if node.op_type != "Shape":
            yield from filter(None, node.input)
        for one in node.attribute:
            for inner in (*([one.g] if one.HasField("g") else []), *one.graphs):
                yield from _read_names(inner)
                yield from (output.name for output in inner.output)


def _attribute(one: Any) -> Any:
    """The value of an attribute, with text as str."""
    value = _package("onnx").helper.get_attribute_value(one)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [own.decode("utf-8", "replace") if isinstance(own, bytes) else own for own in value]
    return value


def _package(name: str) -> Any:
    """The library, onnx or onnxruntime.

    Raises:
        DataError: it is not installed.
    """
    try:
        if name == "onnxruntime":
            return import_onnxruntime()
        import onnx.external_data_helper  # noqa: PLC0415
        import onnx.inliner  # noqa: PLC0415
        import onnx.reference  # noqa: PLC0415
    except ImportError as error:
        raise DataError(f"Reading ONNX files needs {name}: pip install 'selfloop[convert]'.") from error
    return onnx
