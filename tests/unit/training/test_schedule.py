import pytest

from selfloop.training import TrainingOptions
from selfloop.training.schedule import Budget, learning_rate, passed


@pytest.mark.parametrize(
    ("options", "step", "elapsed", "spent"),
    [
        ({"steps": 200}, 50, 1e9, 0.25),
        ({"steps": 200}, 300, 0, 1),
        ({"epochs": 2.5}, 5, 0, 0.2),
        ({"epochs": 0.001}, 1, 0, 1),
        ({"minutes": 2}, 10**9, 30, 0.25),
        ({"minutes": 2}, 1, 121, 1),
        ({}, 10**9, 45, 0.5),
    ],
)
def test_a_budget_is_spent_by_the_step_or_by_the_clock(options, step, elapsed, spent):
    budget = Budget.of(TrainingOptions(**options), steps_per_epoch=10)
    assert budget.spent(step, elapsed) == spent


@pytest.mark.parametrize(
    ("schedule", "warmup", "spent", "share"),
    [
        ("cosine", 0.1, 0.0, 0.1),
        ("cosine", 0.1, 0.005, 0.1),
        ("cosine", 0.1, 0.05, 0.5),
        ("cosine", 0.1, 0.1, 1),
        ("cosine", 0.1, 0.55, 0.5),
        ("cosine", 0.1, 1.0, 0),
        ("cosine", 0.0, 0.0, 1),
        ("cosine", 0.0, 0.25, 0.5 + 0.125**0.5),
        ("constant", 0.0, 0.0, 1),
        ("constant", 0.2, 0.1, 0.5),
        ("constant", 0.2, 1.0, 1),
        ("plateau", 0.2, 0.9, 1),
        ("constant", 1.0, 0.7, 0.7),
        ("cosine", 1.0, 1.0, 0),
    ],
)
@pytest.mark.parametrize("scale", [1, 0.25])
def test_the_learning_rate_at_the_points_that_matter(schedule, warmup, spent, share, scale):
    options = TrainingOptions(learning_rate=8, schedule=schedule, warmup=warmup)
    assert learning_rate(options, spent, scale) == pytest.approx(8 * scale * share)


@pytest.mark.parametrize("steps", [10, 100, 300])
@pytest.mark.parametrize("marks", [1, 3, 10, 100])
def test_every_mark_is_passed_at_its_own_step(steps, marks):
    assert [passed(step / steps, marks) for step in range(steps + 1)] == [
        step * marks // steps for step in range(steps + 1)
    ]
