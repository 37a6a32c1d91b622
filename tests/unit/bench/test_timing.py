import pytest
import torch

from selfloop.bench.timing import LEAST, SETTLE, SETTLE_TOGETHER, ratio, spread, take_turns


class Clock:
    """Goes on when told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        def run():
            self.now += seconds

        return run


def test_a_spread_is_the_median_between_the_quartiles():
    assert spread([4, 0, 1, 3, 2]) == (2, 1, 3)
    assert spread([7.0]) == (7, 7, 7)


def test_a_ratio_is_taken_round_by_round():
    assert ratio(ours=[1, 2, 4], peer=[2, 4, 4]) == pytest.approx((2, 1.5, 2))
    assert ratio(ours=[2, 1], peer=[1, 2]) == pytest.approx((1.25, 0.875, 1.625))


@pytest.mark.parametrize("seconds", [1e-4, LEAST, 2 * SETTLE])
def test_times_are_of_one_call_in_ms(seconds):
    clock = Clock()
    ours, peer = take_turns([clock.spend(seconds), clock.spend(3 * seconds)], rounds=4, clock=clock)
    assert ours == pytest.approx([1e3 * seconds] * 4)
    assert peer == pytest.approx([3e3 * seconds] * 4)


def test_a_turn_settles_before_it_is_timed():
    clock, calls = Clock(), []

    def slow_at_first():
        calls.append(clock.now)
        clock.now += 0.05 if len(calls) == 3 else 0.01  # after the two warm-ups

    (times,) = take_turns([slow_at_first], rounds=1, clock=clock)
    assert times == pytest.approx([10])


@pytest.mark.parametrize(("threads", "seconds"), [(1, SETTLE), (2, SETTLE_TOGETHER)])
def test_a_turn_settles_longer_with_several_threads(monkeypatch, threads, seconds):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    clock, begun = Clock(), []

    def run():
        begun.append(clock.now)
        clock.now += LEAST / 2

    take_turns([run], rounds=1, warm_ups=1, clock=clock)
    warm_up, timed = 1, 2
    settling = (len(begun) - warm_up - timed) * LEAST / 2
    assert seconds <= settling < seconds + LEAST
