"""Backward -> the gradients of all matrices: of those in the step, and of those whose products were hoisted."""

from selfloop.compiler.lower.hoist import InputProduct
from selfloop.compiler.lower.rematerialise import Backward, MatrixGradient


def weight_gradients(backward: Backward, products: tuple[InputProduct, ...]) -> tuple[MatrixGradient, ...]:
    """The gradient of each submatrix that multiplies anything."""
    hoisted = (
        MatrixGradient(p.matrix, p.size, p.length, backward.hoisted[p.result.name], p.argument)
        for p in products
        if p.result.name in backward.hoisted
    )
    return (*backward.gradients, *hoisted)
