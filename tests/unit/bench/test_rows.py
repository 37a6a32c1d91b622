from dataclasses import replace

import numpy as np
import pytest
import torch

from selfloop.bench import CASES, Case, Row, measure, summary
from selfloop.bench.cases import MODES
from selfloop.bench.peers import PEERS, Contest, Peer
from selfloop.bench.rows import DisagreementError, agree
from selfloop.bench.timing import Spread, spread
from selfloop.cells import ZOO

TINY = Case("lstm", "lstm", "torch.nn", T=3, B=2, I=4, H=6)


def kinds():
    """A small case of every peer and mode, and one of a projection."""
    known = {(c.peer, c.mode, c.group == "projection"): c for c in CASES}
    return [replace(case, T=min(case.T, 3), B=min(case.B, 2), I=4, H=6) for case in known.values()]


def never(*_):
    pytest.fail("the clock ran")


@pytest.mark.parametrize("case", kinds(), ids=lambda case: f"{case.title} {case.cell}")
def test_ours_and_the_peer_agree(case):
    if PEERS[case.peer].missing:
        pytest.skip(f"{case.peer} is not installed")
    contest = PEERS[case.peer].enter(case)
    for first, second in contest.checks:
        try:
            agree(first, second, contest.tolerance)
        except UserWarning as warning:
            assert "not supported with oneDNN" in str(warning)  # torch says so once


def test_the_table_names_what_there_is():
    for case in CASES:
        assert case.cell in ZOO
        assert case.mode in MODES
        assert case.peer in PEERS
    assert len(set(CASES)) == len(CASES)


def test_a_row_holds_times_and_their_ratio(monkeypatch):
    monkeypatch.setattr("selfloop.bench.rows.take_turns", lambda runs, rounds: ([2.0] * rounds, [3.0] * rounds))
    row = measure(TINY, rounds=5)
    assert (row.ours, row.peer, row.ratio) == (spread([2]), spread([3]), spread([1.5]))
    facts = row.facts(peak=1e-2)
    assert facts["gflops"] == pytest.approx(TINY.flops / 2e6)
    assert facts["share_of_peak"] == pytest.approx(TINY.flops / 2e4)
    assert facts["ratio"] == {"median": 1.5, "low": 1.5, "high": 1.5}
    assert facts["error"] is None


def test_flops_are_those_of_the_products():
    assert TINY.flops == 3 * 2 * (3 * 2) * (24 * 4 + 24 * 6)
    assert replace(TINY, mode="infer").flops == TINY.flops // 3
    ragged = replace(TINY, T=10, B=3, ragged=True)
    assert sorted(ragged.lengths) == [2, 6, 10]
    assert ragged.flops == 3 * 2 * 18 * (24 * 4 + 24 * 6)
    assert replace(TINY, cell="indrnn").flops == 3 * 2 * 6 * 6 * 4


@pytest.mark.parametrize("wrong", ["y", "x", "weight_hh_l0"])
def test_a_wrong_peer_is_never_timed(monkeypatch, wrong):
    true = PEERS["torch.nn"].enter(TINY)

    def peer():
        answers = dict(true.peer())
        answers[wrong] = answers[wrong] * 1.01
        return answers

    contest = Contest(true.ours, peer, true.backend, ((true.ours, peer),))
    monkeypatch.setattr("selfloop.bench.rows.PEERS", {"torch.nn": Peer(lambda case: contest)})
    monkeypatch.setattr("selfloop.bench.rows.take_turns", never)
    row = measure(TINY, rounds=1)
    assert row.ours is row.peer is row.ratio is row.gflops is None
    assert f"{'y' if wrong == 'y' else f'the gradient of {wrong}'} differs from the peer's by 9.9e-03" in row.error


@pytest.mark.parametrize(
    ("got", "message"),
    [
        ({"y": np.full((2, 3), np.nan)}, "differs from the peer's by nan"),
        ({"y": np.ones((3, 2))}, r"of shape \(3, 2\), the peer's of \(2, 3\)"),
        ({"x": np.ones((2, 3))}, "The answers are x and y"),
    ],
)
def test_what_cannot_be_compared_disagrees(got, message):
    with pytest.raises(DisagreementError, match=message):
        agree(lambda: got, lambda: {"y": torch.ones(2, 3)}, 0.1)


def test_the_second_call_counts_as_well():
    values = iter([1.0, 2.0])
    with pytest.raises(DisagreementError, match="differs"):
        agree(lambda: {"y": np.array([next(values)])}, lambda: {"y": np.array([1.0])}, 0.1)


def test_a_summary_has_the_worst_ratio_and_the_geometric_mean():
    rows = [Row(replace(TINY, H=H), ratio=Spread(ratio, ratio, ratio)) for H, ratio in ((4, 2.0), (6, 0.5), (8, 8.0))]
    assert summary([*rows, Row(TINY, error="not timed")]) == [
        "worst ratio 0.50: lstm, training, T 3, B 2, H 6",
        "geometric mean of 3 ratios 2.00",
    ]
    assert summary([Row(TINY, error="not timed")]) == []
