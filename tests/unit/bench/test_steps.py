from dataclasses import replace

import pytest
import torch
from torch import nn

from selfloop.bench import STEPS, measure_step, steps
from selfloop.layers.dropout import Dropout
from selfloop.tasks.table import TASKS


def tiny(case):
    return replace(case, T=3, B=2)


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    monkeypatch.setattr("selfloop.bench.timing.SETTLE", 0)
    monkeypatch.setattr("selfloop.bench.timing.LEAST", 1e-4)


def test_every_task_has_a_case_and_every_case_a_name():
    assert {case.task for case in STEPS} == TASKS.keys()
    assert len({case.name for case in STEPS}) == len(STEPS)


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
def test_ours_and_torchs_agree_and_all_time_is_told(case):
    row = measure_step(tiny(case), rounds=1)
    assert row.error is None
    assert set(row.parts) == {*steps.PARTS, "rest"}
    assert sum(row.parts.values()) == pytest.approx(1)
    assert row.parts["kernels"] > 0 and row.parts["optimiser"] > 0


def test_the_peer_has_nothing_of_ours():
    peer = steps._on_torch(STEPS[0].model("torch"))
    assert not [module for module in peer.modules() if isinstance(module, Dropout)]
    assert len([module for module in peer.modules() if type(module) is nn.Dropout]) == 3


def test_flops_are_those_of_the_products():
    case = tiny(STEPS[0])
    torch.manual_seed(0)
    recurrent, readout = 4 * 512 * (128 + 512), 512 * 65
    found = steps._flops(case, case.batch(case)) / (2 * case.T * case.B)
    first = 4 * 512 * 512 / case.T  # the first state needs no gradient
    assert found == 3 * (recurrent + readout) - first


def test_what_differs_is_not_timed(monkeypatch):
    monkeypatch.setattr(steps, "TOLERANCE", 0)
    row = measure_step(tiny(STEPS[2]), rounds=1)
    assert "differs from the peer's" in row.error and row.ours is None
    assert row.facts(1.0)["tokens_per_second"] is None
