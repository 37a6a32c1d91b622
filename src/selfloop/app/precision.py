"""In which precision the products of a run are made."""

from typing import Any, Literal

from selfloop.kernels.bfloat16 import pair_products

FASTER_FROM = 256
"""Units from which `auto` takes bfloat16. Whole steps of training are then 1.48 to 1.85 times as fast (Zen 5, one
thread, language models, translation and captions); with 128 units 1.0 to 1.4 times, with fewer 0.7 to 1.2 times, by the
batch. At equal updates the validation loss is 0.001 nats higher on tiny Shakespeare and 0.009 on Penn Treebank, each
the mean of two seeds, whose losses in float32 are 0.006 and 0.007 apart (benchmarks/results/precisions.txt)."""


def mixed_precision(chosen: Any, on_cpu: bool) -> Literal["bf16", "no"]:
    """What accelerate calls the precision that a configuration asks for.

    Args:
        chosen: the configuration.
        on_cpu: whether it is trained on a CPU; elsewhere `auto` was not measured, and is float32.
    """
    precision, model = chosen.training.precision, chosen.model
    is_compiled = on_cpu and model.backend in ("auto", "native")
    if precision == "auto" and is_compiled and model.hidden_size >= FASTER_FROM and pair_products() is not None:
        precision = "bf16"
    return "bf16" if precision == "bf16" else "no"
