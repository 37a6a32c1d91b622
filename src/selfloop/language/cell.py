"""``@cell``: one step of a recurrence, stated as a function."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

from selfloop.errors import ArgumentError, CellError, nearest
from selfloop.language.graph import Graph
from selfloop.language.sizes import Shape, Size, describe, parse_shape
from selfloop.language.trace import raise_cell_error, trace
from selfloop.language.words import Number, Symbol


@dataclass(frozen=True)
class Chrono:
    """How the bias of a gate that keeps starts, or with the other sign that of one that lets in: see `chrono`."""

    steps: int
    sign: int = 1

    def __neg__(self) -> "Chrono":
        return Chrono(self.steps, -self.sign)

    def __repr__(self) -> str:
        return f"{'-' if self.sign < 0 else ''}chrono({self.steps})"


@runtime_checkable
class Array(Protocol):
    """A NumPy array or a tensor."""

    def __array__(self) -> Any: ...


Init = str | float | Chrono | tuple[float | Chrono, ...] | Array | Callable[[Any], object] | None
RESERVED = ("self", "state", "lengths", "resets")
"""Arguments of a layer's call."""

INITS = ("orthogonal", "glorot", "uniform", "identity")


def chrono(steps: int) -> Chrono:
    """The start of a gate's bias, as ``init`` of `param`: the units' memories are of 1 to T steps.

    A gate that keeps the share σ(b) of a unit's memory at every step remembers for about 1 + exp(b) of them. So
    b = log(n) with n drawn evenly from 1 to T - 1, for each unit its own (Tallec & Ollivier 2018, "Can recurrent neural
    networks warp time?", section 3). ``-chrono(T)`` is for a gate that lets in, and of one vector both have the same n:
    ``init=(-chrono(784), chrono(784), 0, 0)`` is the paper's for the gates i, f, g, o of an LSTM.

    Args:
        steps: T, the longest memory that is looked for, at least 2.

    Raises:
        ArgumentError: it is less, or no whole number.

    >>> param("2h", init=(chrono(784), 0))
    Param(shape='2h', init=(chrono(784), 0), trainable=True, heads=1)
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 2:
        raise ArgumentError(f"The 'steps' of chrono must be a whole number ≥ 2. Got {steps!r} instead.")
    return Chrono(steps)


@dataclass(frozen=True)
class Param:
    """The declaration of a parameter: its shape in named sizes, how it starts, and whether it learns."""

    shape: str
    init: Init = None
    trainable: bool = True
    heads: int | str = 1


@dataclass(frozen=True)
class StateSize:
    """The declaration of a state's size."""

    size: str


@dataclass(frozen=True)
class InputSize:
    """The declaration of an input's size."""

    size: str


def param(shape: str, init: Init = None, *, trainable: bool = True, heads: int | str = 1) -> Symbol:
    """Declare a parameter of a cell, as the default of a keyword-only argument: ``W_hh=param("4h h")``.

    Args:
        shape: sizes separated by spaces; ``x`` is the input's size, ``h`` the hidden size, any other name a size given
            when the layer is made. Two sizes make a matrix, one a vector, ``""`` a scalar.
        init: how it starts. A number fills it; a tuple of numbers fills as many equal parts of a vector
            (``(0, 1, 0, 0)`` for a forget gate that starts open); ``"orthogonal"`` and ``"glorot"`` fill each
            square or rectangular block of a matrix; ``"identity"`` fills it with ones on the diagonal; ``"uniform"``
            draws from ±1/√h, as torch.nn does; `chrono` is for the biases of gates. An array or a tensor is copied; a
            function is given the tensor to fill, as those of ``torch.nn.init`` are. By default matrices that multiply
            a state are orthogonal (Saxe et al. 2014), other matrices glorot (Glorot & Bengio 2010), vectors and
            scalars 0.
        trainable: False for what stays as it starts. It is a buffer of the layer: saved with the weights, and no
            parameter of an optimiser.
        heads: above 1, the matrix is block-diagonal, so that units see those of their own head alone:
            ``param("4h h", heads=2)`` stacks four matrices of h × h, each with two blocks of h/2 × h/2 on its diagonal
            and zeros beside them. The parameter holds the blocks, one below the other: 4h × h/2. A name is that of a
            size, which is 1 unless it is given when the layer is made. Compiled code grows with the number of heads.

    Returns:
        A declaration; typed as what the argument is within the cell, where it is used as a value.
    """
    return cast(Symbol, Param(shape, init, trainable, heads))


def state(size: str) -> Symbol:
    """Declare the size of a state, as the default of its argument: ``h=state("p")``. Undeclared states have size h.

    ``C=state("h h")`` is a matrix; cells with one run by the interpreter. The first state, the output, is a vector.
    """
    return cast(Symbol, StateSize(size))


def given(size: str) -> Symbol:
    """Declare a further input of a cell, as the default of its argument: ``dt=given("1")``, ``mask=given("x")``.

    A layer takes it as a keyword: ``rnn(x, dt=dt)``, a vector a step, or one for the whole sequence. As the default of
    the first argument it declares the size of that, where it is not ``x``.
    """
    return cast(Symbol, InputSize(size))


@dataclass(frozen=True)
class Cell:
    """One step of a recurrence: its Graph, and how its parameters start. Made by `cell`; prints as equations.

    Attributes:
        graph: the step as data.
        inputs: the size of each input; the first is a layer's ``x``, the others are its keywords.
        inits: how each parameter starts, as declared.
        fixed: the parameters that stay as they start.
        heads: the number of heads of each block-diagonal matrix, or the name of that number.
        sizes: the names that a layer must be given a number for, beside ``x`` and ``h``.
        divisors: the names that others are divided by, as ``heads``; they are 1 unless they are given.
        function: the function it was written as.
    """

    graph: Graph
    inputs: Mapping[str, Size]
    inits: Mapping[str, Init] = field(compare=False)
    fixed: frozenset[str]
    heads: Mapping[str, int | str]
    sizes: tuple[str, ...]
    divisors: tuple[str, ...]
    function: Callable[..., object] = field(compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__module__", self.function.__module__)

    def __reduce__(self) -> str:
        return self.function.__qualname__  # pickled as a function is: by its name, which holds the cell

    @property
    def name(self) -> str:
        """The function's name."""
        return self.graph.name

    def bind(self, input_size: int, hidden_size: int, sizes: Mapping[str, int]) -> dict[str, int]:
        """The number of every named size.

        Raises:
            ArgumentError: a size is missing, unknown, not a whole number of at least 1, or no multiple of its heads.
        """
        known = (*self.sizes, *self.divisors)
        for name in sizes:
            if name not in known:
                hint = nearest(name, known) or f"; its own sizes are: {', '.join(known) or 'none'}"
                raise ArgumentError(f"The cell '{self.name}' has no size '{name}'{hint}.")
        for name in self.sizes:
            if name not in sizes:
                raise ArgumentError(f"The cell '{self.name}' needs the size '{name}'; give it as {name}=….")
        numbers = {"x": input_size, "h": hidden_size, **dict.fromkeys(self.divisors, 1), **sizes}
        titles = {"x": "input_size", "h": "hidden_size"}
        for name, number in numbers.items():
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise ArgumentError(
                    f"The '{titles.get(name, name)}' of '{self.name}' must be a whole number ≥ 1. Got {number!r} "
                    "instead."
                )
        for name, divisor in sorted(self._quotients):
            heads = int(divisor) if divisor.isdigit() else numbers[divisor]
            if numbers[name] % heads:
                of = "" if divisor.isdigit() else f", its {divisor}"
                raise ArgumentError(
                    f"The '{titles.get(name, name)}' of '{self.name}' must be a multiple of {heads}{of}. "
                    f"Got {numbers[name]} instead."
                )
        first = next(iter(self.inputs.values()))
        if first.value(numbers) != input_size:
            raise ArgumentError(
                f"The 'input_size' of '{self.name}' must be {first}, which is {first.value(numbers)}. "
                f"Got {input_size} instead."
            )
        return numbers

    @property
    def _quotients(self) -> set[tuple[str, str]]:
        """What is divided in its sizes, and by what: shapes, and the rows of block-diagonal matrices."""
        sizes = {size for node in self.graph.nodes for size in node.shape}
        sizes |= {self.graph.shape(name)[0].over(heads) for name, heads in self.heads.items()}
        return {quotient for size in sizes for quotient in size.quotients}

    def __call__(self, *args: Symbol | Number, **kwargs: Symbol | Number) -> Any:
        """One step written inside another cell: the function itself.

        Raises:
            ArgumentError: it is called on tensors or numbers, rather than on values of a cell.
        """
        if not any(isinstance(value, Symbol) for value in (*args, *kwargs.values())):
            got = ", ".join(type(value).__name__ for value in (*args, *kwargs.values())) or "nothing"
            raise ArgumentError(
                f"The cell '{self.name}' is the equations of one step, which other cells may call on their values. "
                f"Got {got} instead; to run it over tensors, make Recurrent({self.name}, input_size=…, hidden_size=…)."
            )
        return self.function(*args, **kwargs)

    def __str__(self) -> str:
        return str(self.graph)

    def __repr__(self) -> str:
        return f"Cell({str(self.graph).partition(chr(10))[0]})"


def cell(function: Callable[..., object]) -> Cell:
    """Make a cell of a function that states one step of a recurrence.

    The first argument is the input, the next are the states, in the order in which they are returned; the first
    returned state is the step's output. Arguments declared by `given` are further inputs. Keyword-only arguments are
    parameters, declared by `param`. Everything is a vector of one example: batch and time are never written.

    Raises:
        CellError: the function is no cell; the message names the cell, the line and what was expected.

    >>> from selfloop import cell, param, tanh
    >>> @cell
    ... def vanilla(x, h, *, W_xh=param("h x"), W_hh=param("h h"), b=param("h")):
    ...     h = tanh(W_xh @ x + W_hh @ h + b)
    ...     return h
    >>> print(vanilla)
    vanilla: x[t], h[t-1] -> h[t]
      W_xh: h × x, W_hh: h × h, b: h
      h[t] = tanh(W_xh @ x[t] + W_hh @ h[t-1] + b)
    """
    if not inspect.isfunction(function):
        raise CellError(f"@cell takes a function. Got a {type(function).__name__} instead.")
    arguments = list(inspect.signature(function).parameters.values())
    vectors = [a for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD]
    further = [a for a in vectors[1:] if isinstance(a.default, InputSize)]
    if len(vectors) - len(further) < 2 or any(
        a.kind in (a.VAR_POSITIONAL, a.VAR_KEYWORD, a.POSITIONAL_ONLY) for a in arguments
    ):
        raise_cell_error(
            function.__code__,
            "the arguments must be the input, one state or more, then parameters after a *, as in "
            f"(x, h, *, W=param('h h')); got {inspect.signature(function)}",
        )
    inputs = {a.name: _input_size(function, a) for a in (vectors[0], *further)}
    states = {a.name: _state_shape(function, a) for a in vectors[1:] if a not in further}
    output, shape = next(iter(states.items()))
    if len(shape) != 1:
        raise_cell_error(
            function.__code__,
            f"the state '{output}' must be a vector; got {describe(shape)}; the first state is the output, and a "
            "matrix comes after it",
        )
    declared = {a.name: a.default for a in arguments if a.kind is a.KEYWORD_ONLY}
    for name, default in declared.items():
        if not isinstance(default, Param):
            got = "nothing" if default is inspect.Parameter.empty else repr(default)
            raise_cell_error(
                function.__code__, f"the parameter '{name}' must be declared as {name}=param(SHAPE); got {got}"
            )
    params = {name: _read(function, name, declaration.shape) for name, declaration in declared.items()}
    for name, declaration in declared.items():
        _check_init(function, name, declaration.init, params[name])
    heads = {name: declaration.heads for name, declaration in declared.items() if declaration.heads != 1}
    for name, number in heads.items():
        params[name] = _blocks(function, name, params[name], number)

    graph = trace(function, inputs, states, params, heads)
    sizes = {size for shape in (*states.values(), *params.values(), tuple(inputs.values())) for size in shape}
    divisors = {divisor for size in sizes for _, divisor in size.quotients if not divisor.isdigit()}
    names = {name for size in sizes for name in size.names}
    return Cell(
        graph=graph,
        inputs=inputs,
        inits={name: declaration.init for name, declaration in declared.items()},
        fixed=frozenset(name for name, declaration in declared.items() if not declaration.trainable),
        heads=heads,
        sizes=tuple(sorted(names - divisors - {"x", "h"})),
        divisors=tuple(sorted(divisors)),
        function=function,
    )


def _input_size(function: Callable[..., object], argument: inspect.Parameter) -> Size:
    """The size of an input; the first one needs no declaration."""
    name, default = argument.name, argument.default
    if default is inspect.Parameter.empty:
        return Size.parse("x")
    if not isinstance(default, InputSize):
        raise_cell_error(
            function.__code__, f"the input '{name}' takes no default but {name}=given(SIZE); got {default!r}"
        )
    if name in RESERVED:
        raise_cell_error(function.__code__, f"an input cannot be called '{name}', as an argument of a layer is")
    shape = _read(function, name, default.size)
    if len(shape) != 1:
        raise_cell_error(function.__code__, f"the input '{name}' must be a vector; got {describe(shape)}")
    return shape[0]


def _state_shape(function: Callable[..., object], argument: inspect.Parameter) -> Shape:
    if argument.default is inspect.Parameter.empty:
        return parse_shape("h")
    if not isinstance(argument.default, StateSize):
        raise_cell_error(
            function.__code__,
            f"the state '{argument.name}' takes no default but {argument.name}=state(SIZE); parameters stand after a *",
        )
    shape = _read(function, argument.name, argument.default.size)
    if not shape:
        raise_cell_error(
            function.__code__,
            f"the state '{argument.name}' must be a vector or a matrix; got a scalar; write state('1') for one number",
        )
    return shape


def _blocks(function: Callable[..., object], name: str, shape: Shape, heads: object) -> Shape:
    """The shape of a parameter that holds the blocks of a block-diagonal matrix."""
    is_number = isinstance(heads, int) and not isinstance(heads, bool) and heads >= 1
    if not (is_number or (isinstance(heads, str) and heads.isidentifier() and heads not in ("x", "h"))):
        raise_cell_error(
            function.__code__,
            f"the heads of '{name}' must be a whole number ≥ 1, or the name of a size; got {heads!r}",
        )
    if len(shape) != 2 or any(len(size.terms) != 1 or not size.names or size.quotients for size in shape):
        raise_cell_error(
            function.__code__,
            f"'{name}' has heads, so it must be a matrix whose rows and columns are each one size, as in "
            f"param('4h h', heads=4); got {describe(shape)}",
        )
    rows, columns = shape
    return rows, columns.over(cast(int | str, heads))


def _read(function: Callable[..., object], name: str, text: object) -> Shape:
    if not isinstance(text, str):
        raise_cell_error(function.__code__, f"the shape of '{name}' must be a text like '4h x'; got {text!r}")
    try:
        return parse_shape(text)
    except ValueError as error:
        raise_cell_error(function.__code__, f"the shape of '{name}' has an unknown size: {error}")


def _check_init(function: Callable[..., object], name: str, init: Init, shape: Shape) -> None:
    parts = init if isinstance(init, tuple) else (init,)
    is_numbers = all(isinstance(n, int | float | Chrono) and not isinstance(n, bool) for n in parts)
    if callable(init) or isinstance(init, Array):
        return
    if not (init is None or is_numbers or (isinstance(init, str) and init in INITS)):
        raise_cell_error(
            function.__code__,
            f"the init of '{name}' must be a number, a tuple of numbers, an array, a function that fills a tensor, or "
            f"one of {', '.join(INITS)}; got {init!r}",
        )
    match init:
        case "orthogonal" | "glorot" | "identity" if len(shape) != 2:
            raise_cell_error(
                function.__code__, f"the init '{init}' of '{name}' is for matrices; '{name}' is {describe(shape)}"
            )
        case Chrono() if len(shape) != 1:
            raise_cell_error(
                function.__code__, f"the init {init} of '{name}' is for vectors; '{name}' is {describe(shape)}"
            )
        case tuple() if len(shape) != 1 or not init or shape[0].divided(len(init)) is None:
            raise_cell_error(
                function.__code__, f"the init of '{name}' has {len(init)} parts; '{name}' is {describe(shape)}"
            )
