"""From a Python function to a Graph: the function is called once, with symbols."""

import linecache
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import NoReturn

from selfloop.errors import CellError, nearest
from selfloop.language.graph import COMPARISONS, JOINT, Graph, Node, Part, ancestors, without_dead_code
from selfloop.language.operations import OPERATIONS, Misfit, Operand
from selfloop.language.sizes import Shape, Size, describe
from selfloop.language.words import WORDS, NoValue, Number, Symbol, apply, split


def trace(
    function: Callable[..., object],
    inputs: Mapping[str, Size],
    states: Mapping[str, Shape],
    params: Mapping[str, Shape],
    heads: Mapping[str, int | str],
) -> Graph:
    """Call `function` with a symbol for each leaf and return what it wrote.

    The parameters in `heads` are block-diagonal matrices of so many blocks; of such a one, `params` has the blocks.

    Several inputs are parts of one, in their order, which is named after all of them: ``x+dt``.

    Raises:
        CellError: the function does not return its states, does not use a parameter, or says what the language cannot.
    """
    writer = Trace(function.__code__)
    input = JOINT.join(inputs)
    whole = writer.leaf("input", input, (Size.total(inputs.values()),))
    leaves = dict(zip(inputs, (whole,) if len(inputs) == 1 else split(whole, [*inputs.values()]), strict=True))
    leaves |= {name: writer.leaf("state", name, shape) for name, shape in states.items()}
    leaves |= {name: writer.leaf("param", name, shape) for name, shape in params.items()}
    for name, number in heads.items():
        leaves[name] = apply("block_diagonal", leaves[name], value=(params[name][0].stacked, number))

    try:
        returned = function(**leaves)
    except Exception as error:
        if isinstance(error, CellError) and not isinstance(error, NoValue):
            raise
        _explain(writer, error, leaves)
    outputs = _check_returned(writer, returned, states)
    names = writer.names()
    if len(inputs) > 1:
        _check_used(writer, outputs, {name: leaves[name].index for name in [*inputs][1:]})
    return _graph(writer, input, tuple(states), tuple(params), outputs, names)


class Trace:
    """The Graph while it is being written. Equal nodes are shared, as by common subexpression elimination."""

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.nodes: list[Node] = []
        self._is_constant: list[bool] = []
        self._index_of: dict[Node, int] = {}
        self._last_frame: FrameType | None = None

    def names(self) -> dict[str, int]:
        """The local variables that hold a value when the function has returned, with the value's index. Works once."""
        frame, self._last_frame = self._last_frame, None  # let go: a frame keeps its variables alive
        values = {} if frame is None else frame.f_locals
        return {name: v.index for name, v in values.items() if isinstance(v, Symbol) and v.trace is self}

    def leaf(self, op: str, name: str, shape: Shape) -> Symbol:
        """A new input, state or parameter."""
        return self._write(Node(op, (), shape, name))

    def add(self, op: str, args: tuple[Symbol | Number, ...], value: Part | float | None) -> Symbol:
        """A new operation, its shape checked by the operation's rule."""
        symbols = [self._symbol(op, argument) for argument in args]
        operands = [self.operand(symbol) for symbol in symbols]
        try:
            shape = OPERATIONS[op].shape(*operands, *(() if value is None else (value,)))
        except Misfit as misfit:
            self.fail(str(misfit))
        return self._write(Node(op, tuple(s.index for s in symbols), shape, value, self._line()))

    def draw(self, shape: Shape, rate: float, per_step: bool) -> Symbol:
        """A new random leaf. Its stream is a number of its own, so that two draws of one shape and rate stay two."""
        stream = sum(node.op == "bernoulli" for node in self.nodes)
        return self._write(Node("bernoulli", (), shape, (rate, stream, per_step), self._line()))

    def fail(self, message: str, line: int | None = None) -> NoReturn:
        """Raise a CellError that names the cell, the file, the line and its text."""
        raise_cell_error(self.code, message, line or self._line())

    def _symbol(self, op: str, argument: object) -> Symbol:
        if isinstance(argument, Symbol):
            if argument.trace is not self:
                self.fail("a value of another cell is used; a cell sees only its own arguments")
            return argument
        if isinstance(argument, bool) or not isinstance(argument, int | float):
            kind = f"{type(argument).__module__}.{type(argument).__name__}"
            self.fail(f"'{op}' takes values and numbers, but got a {kind.removeprefix('builtins.')}")
        number = float(argument)
        if number != 0 or math.copysign(1, number) > 0:
            return self._write(Node("const", (), (), number))
        zero = self._write(Node("const", (), (), 0.0))  # -0.0 == 0.0, so a const of -0.0 would be shared with it
        return self._write(Node("neg", (zero.index,), (), line=self._line()))

    def operand(self, symbol: Symbol) -> Operand:
        """What rules and messages see of a value; its text is the local variable that holds it, if there is one."""
        node = self.nodes[symbol.index]
        text = str(node.value) if node.op in ("input", "state", "param") else f"the '{node.op}'"
        if node.op == "const":
            text = f"{node.value:g}"
        for name, value in self._frame_locals().items():
            if value is symbol:
                text = name
        return Operand(text, node.shape, node.op in COMPARISONS, self._is_constant[symbol.index])

    def _write(self, node: Node) -> Symbol:
        index = self._index_of.setdefault(node, len(self.nodes))
        if index == len(self.nodes):
            self.nodes.append(node)
            made = (self._is_constant[a] for a in node.args)
            self._is_constant.append(all(made) if node.args else node.op in ("param", "const"))
        return Symbol(self, index)

    def _frame(self) -> FrameType | None:
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame.f_code is not self.code:
            frame = frame.f_back
        self._last_frame = frame or self._last_frame
        return frame

    def _frame_locals(self) -> Mapping[str, object]:
        frame = self._frame()
        return frame.f_locals if frame else {}

    def _line(self) -> int:
        frame = self._frame()
        return frame.f_lineno if frame else self.code.co_firstlineno


def _explain(writer: Trace, error: Exception, leaves: Mapping[str, Symbol]) -> NoReturn:
    """Say what an exception inside the cell's function means in the language of cells."""
    line = writer.code.co_firstlineno
    entry = error.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code is writer.code:
            line = entry.tb_lineno
        entry = entry.tb_next
    if isinstance(error, NoValue):
        word = str(error).partition(" ")[0]
        writer.fail(f"{word} was given no value of the cell; for numbers alone use Python's own math", line)
    if isinstance(error, NameError | AttributeError) and _is_unknown_word(error) and error.name:
        known = [*WORDS, *leaves]
        state = f"'{error.name}' is neither a word of the language nor declared as a parameter"
        writer.fail(f"{state}{nearest(error.name, known) or '; declare it after the * as NAME=param(SHAPE)'}", line)
    writer.fail(
        f"the function raised {type(error).__name__}: {str(error).rstrip('.')}; a cell uses only the words of the "
        "language, numbers and Python's control flow",
        line,
    )


def _is_unknown_word(error: NameError | AttributeError) -> bool:
    """Whether a word of the language may be misspelt: ``sigmod``, which is no name, or ``sl.sigmod``."""
    if isinstance(error, NameError):
        return True
    return isinstance(error.obj, ModuleType) and error.obj.__name__.partition(".")[0] == "selfloop"


def _check_returned(writer: Trace, returned: object, states: Mapping[str, Shape]) -> tuple[int, ...]:
    values = returned if isinstance(returned, tuple | list) else (returned,)
    line = _last_line(writer.code)
    wanted = "return " + ", ".join(states)
    for value in values:
        if not isinstance(value, Symbol):
            got = "nothing" if value is None else f"a {type(value).__name__}"
            writer.fail(f"the function must return its new states, '{wanted}', but returned {got}", line)
    if len(values) != len(states):
        missing = list(states)[len(values) :]
        what = f"the state '{missing[0]}' is not returned" if missing else "more is returned than there are states"
        writer.fail(
            f"{what}: the function has {len(states)} states, so write '{wanted}'; it returns {len(values)}", line
        )
    for (name, shape), value in zip(states.items(), values, strict=True):
        new = writer.operand(value)
        if new.shape != shape or new.is_condition:
            writer.fail(f"the new '{name}' must be {describe(shape)}, but is {new.kind}", line)
    return tuple(value.index for value in values)


def _last_line(code: CodeType) -> int:
    """The line of the last return: the largest line of the function's own code."""
    return max(line for _, _, line in code.co_lines() if line)


def _check_used(writer: Trace, outputs: Sequence[int], inputs: Mapping[str, int]) -> None:
    needed = ancestors(writer.nodes, outputs)
    for name, k in inputs.items():
        if k not in needed:
            writer.fail(f"the input '{name}' is never used; use it or remove it", writer.code.co_firstlineno)


def _graph(
    writer: Trace,
    input: str,
    states: tuple[str, ...],
    params: tuple[str, ...],
    outputs: tuple[int, ...],
    names: Mapping[str, int],
) -> Graph:
    """The Graph of what the outputs need. Input and states stay; a parameter that no output needs is an error."""
    nodes, outputs, moved = without_dead_code(writer.nodes, outputs)
    for k, node in enumerate(writer.nodes):
        if node.op == "param" and k not in moved:
            writer.fail(f"the parameter '{node.value}' is never used; use it or remove it", writer.code.co_firstlineno)
    return Graph(
        name=writer.code.co_name,
        nodes=nodes,
        input=input,
        states=states,
        params=params,
        outputs=outputs,
        names={name: moved[k] for name, k in names.items() if k in moved},
    )


def raise_cell_error(code: CodeType, message: str, line: int | None = None) -> NoReturn:
    """Raise a CellError that names the cell, its file, the line and the line's text."""
    line = line or code.co_firstlineno
    source = linecache.getline(code.co_filename, line).strip()
    where = f"{Path(code.co_filename).name}, line {line}" + (f": {source}" if source else "")
    stop = "" if message.endswith("?") else "."
    raise CellError(f"In cell '{code.co_name}' ({where}): {message}{stop}") from None
