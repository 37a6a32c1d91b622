"""`training.precision`, and what `auto` makes of it."""

import pytest

import selfloop as sl
from selfloop.app import precision
from selfloop.app.precision import FASTER_FROM, mixed_precision
from selfloop.options import LanguageModelConfig
from selfloop.options.fields import configure


def chosen(**changes):
    given = {"training": {"precision": "auto"}, "model": {"hidden_size": FASTER_FROM}}
    for name, value in changes.items():
        given["training" if name == "precision" else "model"][name] = value
    return configure(LanguageModelConfig, given)


@pytest.fixture
def able(monkeypatch):
    """On a processor that multiplies bfloat16."""
    monkeypatch.setattr(precision, "pair_products", lambda: "somehow")


@pytest.mark.parametrize(
    ("changes", "on_cpu", "expected"),
    [
        ({}, True, "bf16"),
        ({"backend": "native"}, True, "bf16"),
        ({"hidden_size": FASTER_FROM - 1}, True, "no"),
        ({"backend": "interpret"}, True, "no"),
        ({}, False, "no"),
        ({"precision": "fp32"}, True, "no"),
        ({"precision": "bf16", "hidden_size": 8}, False, "bf16"),
    ],
)
def test_auto_takes_bfloat16_where_it_is_faster(changes, on_cpu, expected, able):
    assert mixed_precision(chosen(**changes), on_cpu) == expected


def test_auto_is_float32_where_no_bfloat16_is_multiplied(monkeypatch):
    monkeypatch.setattr(precision, "pair_products", lambda: None)
    assert mixed_precision(chosen(), True) == "no"
    assert mixed_precision(chosen(precision="bf16"), True) == "bf16"


def test_auto_is_the_default():
    assert LanguageModelConfig().training.precision == "auto"


def test_runs_of_one_process_may_differ_in_precision(tmp_path):
    (tmp_path / "play.txt").write_text("to be or not to be\n" * 40)
    for name in ("fp32", "bf16", "fp32"):
        sl.train(
            "lm",
            tmp_path / "play.txt",
            run=tmp_path / f"{name}{len([*tmp_path.iterdir()])}",
            precision=name,
            steps=1,
            hidden_size=8,
            window=8,
            batch_size=2,
            quiet=True,
        )
