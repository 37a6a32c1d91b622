"""The benchmark: our kernels beside their peers, with the same weights, after their numbers agree."""

from selfloop.bench.cases import CASES, Case
from selfloop.bench.peak import peak
from selfloop.bench.picture import draw
from selfloop.bench.rows import Row, measure, summary
from selfloop.bench.steps import STEPS, StepCase, StepRow, measure_step

__all__ = ["CASES", "STEPS", "Case", "Row", "StepCase", "StepRow", "draw", "measure", "measure_step", "peak", "summary"]
