"""Program -> residuals that share memory: a loop may overwrite the hoisted product that it alone has read."""

from selfloop.compiler.lower.program import Program
from selfloop.compiler.lower.step import SCALAR


def reused_residuals(program: Program) -> dict[str, str]:
    """For residuals that can overwrite a hoisted product, the name of that product's residual.

    A product that is loaded in one tile loop only is dead after it, so what that loop stores may take its place: the
    residuals of an LSTM are its gates, where the products of the input were.
    """
    values = program.step.values
    readers: dict[str, set[tuple[int, int]]] = {}
    for number, stage in enumerate(program.stages):
        loops = [(loop.size, loop.stores) for loop in stage] if isinstance(stage, tuple) else [(SCALAR, stage.stores)]
        for size, stores in loops:
            for k in program.inputs((s.value for s in stores), number):
                location = values[k].location
                if location and location.buffer == "residual":
                    readers.setdefault(location.name, set()).add((number, size))
    read_by_products = {a for v in values if v.op == "product" for a in v.args}
    free = {
        v.location.name: (next(iter(readers[v.location.name])), v.size)
        for k, v in enumerate(values)
        if v.location
        and v.location.buffer == "residual"
        and len(readers.get(v.location.name, ())) == 1
        and k not in read_by_products
    }
    reused: dict[str, str] = {}
    for number, stage in enumerate(program.stages):
        for loop in stage if isinstance(stage, tuple) else ():
            for s in loop.stores:
                if s.location.buffer == "residual":
                    here = ((number, loop.size), values[s.value].size)
                    name = next((name for name, at in free.items() if at == here), None)
                    if name is not None:
                        reused[s.location.name] = name
                        del free[name]
    return reused
