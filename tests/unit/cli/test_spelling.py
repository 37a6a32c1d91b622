"""What errors advise is what the command takes that met them."""

import json
import re

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from selfloop.cli import app
from selfloop.cli.spelling import as_taken_by, set_where_lacking
from selfloop.options.fields import fields
from selfloop.tasks.table import TASKS

COMMANDS = typer.main.get_command(app).commands
DATA = {
    name: field for entry in TASKS.values() for name, field in fields(entry.config).items() if field.section == "data"
}
SMALL = ("--steps", "1", "--set", "model.hidden_size=4")


@pytest.mark.parametrize("verb", ["predict", "evaluate", "inspect"])
@pytest.mark.parametrize("name", DATA)
def test_no_field_of_data_is_named_by_an_option_that_is_lacking(verb, name):
    command = COMMANDS[verb]
    taken = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    for flag in (one for flags in DATA[name].flags for one in flags.split("/")):
        said = as_taken_by(command, f"Give {flag}, or {flag}.")
        assert {one for one in re.findall(r"--[a-z-]+", said) if one != "--set"} <= taken
        assert (f"--set data.{name}=" in said) == (flag not in taken)
        assert as_taken_by(COMMANDS["train"], f"Give {flag}, or {flag}.") == f"Give {flag}, or {flag}."


@given(st.text(alphabet="a -=.…", max_size=30))
def test_text_that_names_no_field_stays(text):
    assert set_where_lacking(text, (), {"label": False}) == text
    assert set_where_lacking(f"x--label{text}", (), {"label": False}) == f"x--label{text}"


def reviews(path, *, columns, rows=8, more=()):
    sentences = [(f"a {word} film", mood) for word, mood in (("good", "up"), ("bad", "down"))] * rows
    lines = [{columns[0]: text, columns[1]: "so so it is", columns[2]: mood} for text, mood in sentences]
    path.write_text("".join(json.dumps(line) + "\n" for line in (*lines, *more)))
    return path


def test_the_advice_of_an_error_can_be_followed(selfloop, tmp_path):
    run = tmp_path / "run"
    usual = reviews(tmp_path / "usual.jsonl", columns=("text", "n", "label"))
    assert selfloop("train", "classify", usual, "--run", run, *SMALL).status == 0
    other = reviews(tmp_path / "other.jsonl", columns=("said", "again", "mood"), more=[{"said": "", "mood": "up"}])
    said = selfloop("train", "classify", other, *SMALL)
    assert (said.status, said.out) == (2, "") and "(on the command line --input=said)" in said.err
    label = ("--set", "data.label=mood")
    for verb, options in (
        ("predict", ("--set", "data.input=said")),
        ("evaluate", ("--column", "said", *label)),
        ("inspect", ("--set", "data.input=said", *label)),
    ):
        said = selfloop(verb, run, other)
        assert (said.status, said.out) == (2, "")
        assert "name one with input='said' (on the command line --set data.input=said)" in said.err
        said = selfloop(verb, run, other, *options)
        assert "has no text in column 'said'. Fix it, or leave such items out with --skip-bad." in said.err
        said = selfloop(verb, run, other, *options, "--skip-bad")
        assert said.status == 0, said.err
