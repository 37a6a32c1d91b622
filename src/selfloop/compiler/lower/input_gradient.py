"""Backward -> the gradient of the input through matrices, as a step that runs for all time steps at once.

The backward step itself stores what reaches the input without a matrix (`dx`). To that the transposed matrices times
the cotangents of their products are added: as large products over all steps, not one per step.
"""

from itertools import pairwise

from selfloop.compiler.lower.rematerialise import MatrixGradient
from selfloop.compiler.lower.step import Builder, Location, Step, Store, Submatrix
from selfloop.compiler.lower.verify import verified


@verified
def input_gradient(gradients: tuple[MatrixGradient, ...], backward: Step) -> Step | None:
    """The gradient of the input; None where no matrix multiplies the input."""
    of_input = [g for g in gradients if g.argument.buffer == "x"]
    if not of_input:
        return None
    sizes = backward.sizes("cotangent")
    direct = [(offset, offset + size) for (_, offset), size in backward.sizes("dx").items()]
    spans = [(g.argument.offset, g.argument.offset + g.columns) for g in of_input]
    builder, stores = Builder(), []
    for start, end in pairwise(sorted({bound for span in (*direct, *spans) for bound in span})):
        terms = []
        for g, (first, last) in zip(of_input, spans, strict=True):
            if first <= start and end <= last:
                matrix = Submatrix(g.matrix.name, g.matrix.row, g.matrix.column + start - first, transposed=True)
                terms.append((matrix, builder.load(Location("cotangent", g.cotangent), sizes[g.cotangent, 0])))
        if terms:
            location = Location("dx", of_input[0].argument.name, start)
            total = builder.product(end - start, terms)
            if any(first <= start and end <= last for first, last in direct):
                total = builder.apply("add", total, builder.load(location, end - start))
            stores.append(Store(location, total))
    return builder.finish(stores)
