"""The recipes run, and what they print is what they promise: `make recipes` installs what they need."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NEEDS = {"in_lightning": "lightning", "in_transformers": "transformers", "in_skorch": "skorch"}
LEARN = ("in_lightning", "in_transformers", "in_accelerate", "in_skorch", "in_compile")
SHARE = ("in_ddp", "in_fsdp")


def printed(recipe):
    needed = NEEDS.get(recipe, "torch")
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    done = subprocess.run([sys.executable, HERE / f"{recipe}.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def number(text, name):
    (found,) = re.findall(rf"{name} ([\d.e+-]+)", text)
    return float(found)


@pytest.mark.parametrize("recipe", LEARN)
def test_trainers_train_the_layer(recipe):
    assert number(printed(recipe), "accuracy") > 0.95


@pytest.mark.parametrize("recipe", SHARE)
def test_processes_that_share_the_work_learn_the_same(recipe):
    assert number(printed(recipe), "differ by") < 1e-12


def test_rollouts_and_updates_agree_and_the_agent_learns():
    text = printed("recurrent_ppo")
    assert number(text, "differ by") < 1e-5
    assert number(text, "at first,") > 0.9


def test_every_recipe_is_tried_and_on_the_page():
    recipes = {path.stem for path in HERE.glob("*.py")} - {"first_symbol", "test_recipes"}
    assert recipes == {*LEARN, *SHARE, "recurrent_ppo"}
    page = (HERE.parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    for recipe in recipes:
        assert f"examples/recipes/{recipe}.py" in page
