"""Steps and Programs by torch in float64, value by value: what every pass must preserve."""

import torch

from selfloop.compiler.lower.program import loops
from selfloop.compiler.lower.step import SCALAR
from selfloop.kernels.interpret import VALUES

OWN = {
    "eq": torch.eq,
    "broadcast": lambda v: v,
    "sum": lambda v: v.sum(),
    "amax": lambda v: v.amax(),
    "reversed_cumsum": lambda v: v.flip(0).cumsum(0).flip(0),
}
OF_MATRICES = {
    "outer": lambda of, a, b: torch.outer(a, b).reshape(-1),
    "transpose": lambda of, matrix: matrix.view(-1, of.rows).T.reshape(-1),
    "concat": lambda of, *parts: torch.cat(parts),
}


class Memory:
    """Buffers by name: vectors that are written in parts, and matrices."""

    def __init__(self, **buffers):
        self.buffers = {key: dict(own) for key, own in buffers.items()}

    def load(self, location, size):
        whole = self.buffers[location.buffer][location.name]
        found = whole.reshape(-1)[location.offset : location.offset + max(1, size)]
        assert not found.isnan().any(), f"{location} was read before it was written"
        return found[0] if size == SCALAR else found

    def store(self, location, value, size, accumulate):
        own = self.buffers.setdefault(location.buffer, {})
        end = location.offset + max(1, size)
        start = 0.0 if accumulate else torch.nan
        whole = own.get(location.name, torch.full((0,), start, dtype=torch.float64))
        grown = torch.full((max(end, whole.numel()),), start, dtype=torch.float64)
        grown[: whole.numel()] = whole
        grown[location.offset : end] = value + (grown[location.offset : end] if accumulate else 0)
        own[location.name] = grown

    def __getitem__(self, buffer):
        return self.buffers.get(buffer, {})


def run_step(step, memory):
    """Compute every store of a step."""
    values = {}
    for store in step.stores:
        compute(step, store.value, values, memory)
    for store in step.stores:
        memory.store(store.location, values[store.value], step.values[store.value].size, store.accumulate)


def run_program(program, memory):
    """Loop by loop: only what is stored crosses from one to the next."""
    for number, stage in enumerate(program.stages):
        for loop in loops(stage):
            values = {
                k: memory.load(location, program.step.values[k].size)
                for k, (first, location) in program.stored.items()
                if first <= number
            }
            for store in loop.stores:
                compute(program.step, store.value, values, memory)
            for store in loop.stores:
                size = program.step.values[store.value].size
                memory.store(store.location, values[store.value], size, store.accumulate)


def compute(step, k, values, memory):
    """The value of an index, and of all that it depends on."""
    if k in values:
        return values[k]
    value = step.values[k]
    args = [compute(step, a, values, memory) for a in value.args]
    if value.op == "load":
        values[k] = memory.load(value.location, value.size)
    elif value.op == "const":
        values[k] = torch.tensor(value.attribute, dtype=torch.float64)
    elif value.op == "zeros":
        values[k] = torch.zeros(value.size, dtype=torch.float64)
    elif value.op == "product":
        values[k] = sum(
            _block(memory, matrix, value.size, v.numel()) @ v for (matrix, _), v in zip(value.terms, args, strict=True)
        )
    elif value.op == "matvec":
        matrix = args[0].view(step.values[value.args[0]].rows, -1)
        found = (matrix.T if value.attribute.transposed else matrix) @ args[1]
        values[k] = found[value.attribute.first : value.attribute.first + value.size]
    elif value.op in OF_MATRICES:
        values[k] = OF_MATRICES[value.op](value, *args)
    else:
        operation = OWN.get(value.op) or VALUES[value.op]
        found = operation(*args, *(() if value.attribute is None else (value.attribute,)))
        values[k] = found if value.size == SCALAR else found.expand(value.size)
    return values[k]


def _block(memory, matrix, rows, columns):
    whole = memory["param"][matrix.name]
    if matrix.transposed:
        return whole[matrix.row : matrix.row + columns, matrix.column : matrix.column + rows].T
    return whole[matrix.row : matrix.row + rows, matrix.column : matrix.column + columns]
