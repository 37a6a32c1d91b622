"""Step -> Step: sums of products become one product of several terms, which share their sums in registers."""

from selfloop.compiler.step import LEAVES, Step, Store, Value, Writer, uses


def fuse(step: Step) -> Step:
    """`W @ x + U @ h` as one product, where its parts are used nowhere else."""
    writer, used = Writer(), uses(step)
    new: list[int] = []
    single: list[bool] = []  # a product that only one value uses
    for k, value in enumerate(step.values):
        args = tuple(new[a] for a in value.args)
        if value.op == "add" and all(single[a] for a in value.args):
            terms = [term for a in args for term in writer.values[a].terms]
            new.append(writer.product(value.size, terms))
            single.append(used[k] == 1)
        else:
            new.append(writer.add(Value(value.op, args, value.size, value.detail)))
            single.append(value.op == "product" and used[k] == 1)
    return reachable(Step(tuple(writer.values), tuple(Store(s.place, new[s.value], s.add) for s in step.stores)))


def reachable(step: Step) -> Step:
    """The step without what no store needs, leaves first."""
    writer = Writer()
    place: dict[int, int] = {}
    needed: set[int] = set()
    for store in reversed(step.stores):
        needed.add(store.value)
    for k in range(len(step.values) - 1, -1, -1):
        if k in needed:
            needed.update(step.values[k].args)
    for leaves in (True, False):
        for k in sorted(needed):
            value = step.values[k]
            if (value.op in LEAVES) == leaves:
                place[k] = writer.add(Value(value.op, tuple(place[a] for a in value.args), value.size, value.detail))
    return Step(tuple(writer.values), tuple(Store(s.place, place[s.value], s.add) for s in step.stores))
