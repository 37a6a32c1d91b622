"""What help and the errors of the command line's own parser say."""

import pytest

from selfloop.options import ClassifyConfig
from selfloop.options.fields import fields
from selfloop.training.schedule import DEFAULT_MINUTES


def test_help_names_the_budget_that_a_run_without_one_has():
    assert f"{DEFAULT_MINUTES:g} if no budget is given" in fields(ClassifyConfig)["minutes"].description


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
