"""Step -> Step: a sum of products becomes one product of several terms, which is accumulated in the same registers."""

from dataclasses import replace

from selfloop.compiler.lower.operations import LEAVES
from selfloop.compiler.lower.step import Builder, Step, ancestors, use_counts
from selfloop.compiler.lower.verify import verified


@verified
def fuse(step: Step) -> Step:
    """`W @ x + U @ h` as one product, where the two products have no other use."""
    builder, used = Builder(), use_counts(step)
    new: list[int] = []
    is_single: list[bool] = []  # a product that has one use
    for k, value in enumerate(step.values):
        args = tuple(new[a] for a in value.args)
        if value.op == "add" and all(is_single[a] for a in value.args):
            new.append(builder.product(value.size, [term for a in args for term in builder.values[a].terms]))
            is_single.append(used[k] == 1)
        else:
            new.append(builder.add(replace(value, args=args)))
            is_single.append(value.op == "product" and used[k] == 1)
    return eliminate_dead_code(builder.finish(s._replace(value=new[s.value]) for s in step.stores))


def eliminate_dead_code(step: Step) -> Step:
    """The step without the values that no store needs, leaves first."""
    builder = Builder()
    new: dict[int, int] = {}
    needed = sorted(ancestors(step, (store.value for store in step.stores)))
    for is_leaf in (True, False):
        for k in needed:
            value = step.values[k]
            if (value.op in LEAVES) == is_leaf:
                new[k] = builder.add(replace(value, args=tuple(new[a] for a in value.args)))
    return builder.finish(s._replace(value=new[s.value]) for s in step.stores)
