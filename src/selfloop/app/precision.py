"""In which precision the products of a run are made."""

from typing import Any, Literal

from selfloop.kernels.bfloat16 import pair_products

FASTER_FROM = 256
"""Units from which `auto` takes bfloat16. Whole steps of training are then 1.48 to 1.85 times as fast (Zen 5, one
thread, language models, translation and captions); with 128 units 1.0 to 1.4 times, with fewer 0.7 to 1.2 times, by the
batch. After 600 updates the loss of tiny Shakespeare is within 0.002 nats. That of Penn Treebank, after 360 updates, is
0.03 above and 0.07 below with two seeds, whose losses in float32 are 0.05 apart (benchmarks/results/precisions.txt):
as long as it is not shown to be within 0.01, float32 is the default."""


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
