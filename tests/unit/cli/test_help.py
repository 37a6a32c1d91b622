"""What help and the errors of the command line's own parser say."""

import pytest

from selfloop.options import ClassifyConfig
from selfloop.options.fields import fields
from selfloop.tasks.table import TASKS
from selfloop.training.schedule import DEFAULT_MINUTES


def test_help_names_the_budget_that_a_run_without_one_has():
    assert f"{DEFAULT_MINUTES:g} if no budget is given" in fields(ClassifyConfig)["minutes"].description


@pytest.mark.parametrize("verb", ["train lm", "train classify", "train label", "train translate", "train caption"])
def test_examples_stand_in_a_line_each(selfloop, verb):
    """What they do was broken into two lines on a terminal of 80 columns."""
    shown = [" ".join(line.split()) for line in selfloop(*verb.split(), "--help").out.splitlines()]
    for command, what in TASKS[verb.split()[1]].examples.items():
        if len(command) < 78:
            assert f"{command} {what}".strip() in shown, command


def test_train_is_the_first_of_the_verbs(selfloop):
    shown = selfloop("--help").out
    assert shown.index("Train a model on your own data") < shown.index("Score a trained model on data")


def test_a_default_is_said_to_be_one(selfloop):
    """It stood at the end of the sentence, as if it were a part of it."""
    shown = " ".join(selfloop("generate", "--help").out.replace("│", " ").split())
    assert "takes the likeliest. [default: 0.8]" in shown
    shown = " ".join(selfloop("train", "lm", "--help").out.replace("│", " ").split())
    assert "Units per layer. [default: 512]" in shown


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("train", "classify", "--cuda"), None),  # in which difflib sees --scan, because of the dashes
        (("train", "classify", "--minuts", "3"), "--minutes"),
        (("train", "lm", "--tokeniser", "char"), "--tokenizer"),
        (("predict", "run", "--fromat", "csv"), "--format"),
    ],
)
def test_an_unknown_option_is_told_what_it_is_near_to(selfloop, words, offered):
    said = selfloop(*words)
    text = " ".join(said.err.replace("│", " ").split())
    assert (said.status, said.out) == (2, "")
    assert f"No such option: {words[-1] if offered is None else words[2]}" in text
    options = text.partition("(Possible options: ")[2]
    assert offered in options if offered else not options
