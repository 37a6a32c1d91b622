import pytest
from pydantic import Field, model_validator

from selfloop.config import Section, assign, changed, parse, read_toml
from selfloop.errors import ConfigError
from selfloop.tasks.table import TASKS
from selfloop.training import TrainingOptions


class Net(Section):
    size: int = Field(default=8, gt=0)
    rate: float = 0.5
    tied: bool = False
    cell: str = "lstm"
    extra: dict[str, int] = Field(default_factory=dict)
    pair: tuple[float, float] = (0.1, 0.2)
    low: int | None = None
    high: int | None = None

    @model_validator(mode="after")
    def _ordered(self):
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; let them grow")
        return self


class Everything(Section):
    net: Net = Net()
    seed: int = 1


def test_what_is_not_set_has_its_default():
    parsed = parse(Everything, {"net": {"size": 3}}, "a.toml")
    assert (parsed.net.size, parsed.net.rate, parsed.seed) == (3, 0.5, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"net": {"size": -3}}, "sets 'net.size' wrongly: it must be greater than 0. Got -3 instead."),
        ({"net": {"size": 1.5}}, "sets 'net.size' wrongly: it must be a whole number. Got 1.5 instead."),
        ({"net": {"size": "big"}}, "sets 'net.size' wrongly: it must be a whole number. Got 'big' instead."),
        ({"net": {"size": None}}, "sets 'net.size' wrongly: it must be a whole number. Got None instead."),
        ({"net": {"rate": "fast"}}, "sets 'net.rate' wrongly: it must be a number. Got 'fast' instead."),
        ({"net": {"rate": float("nan")}}, "sets 'net.rate' wrongly: it must be a finite number. Got nan instead."),
        ({"net": {"rate": float("inf")}}, "sets 'net.rate' wrongly: it must be a finite number. Got inf instead."),
        ({"net": {"tied": "perhaps"}}, "sets 'net.tied' wrongly: it must be true or false. Got 'perhaps' instead."),
        ({"net": {"cell": 3}}, "sets 'net.cell' wrongly: it must be a string. Got 3 instead."),
        ({"net": {"extra": 3}}, "sets 'net.extra' wrongly: it must be a section. Got 3 instead."),
        ({"net": {"extra": {"p": "x"}}}, "sets 'net.extra.p' wrongly: it must be a whole number. Got 'x' instead."),
        ({"net": {"pair": [1]}}, "sets 'net.pair' wrongly: it must be a longer list. Got [1] instead."),
        ({"net": 3}, "sets 'net' wrongly: it must be a section. Got 3 instead."),
        ({"net": {"low": 2, "high": 1}}, "cannot be followed: low is 2 and high 1; let them grow."),
        ({"net": {"sise": 3}}, "sets 'net.sise', which does not exist; did you mean 'size'?"),
        ({"nett": {"size": 3}}, "sets 'nett', which does not exist; did you mean 'net'?"),
        ({"x": 3}, "sets 'x', which does not exist; known are: net, seed."),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(values, message):
    with pytest.raises(ConfigError) as caught:
        parse(Everything, values, "a.toml")
    assert str(caught.value) == f"a.toml {message}"


def test_a_section_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Everything().seed = 2


@pytest.mark.parametrize("given", ["epochs and steps", "minutes and steps", "minutes, epochs and steps"])
def test_a_run_has_one_budget(given):
    with pytest.raises(ConfigError, match=rf"^X cannot be followed: a run has one budget, but it gives {given};"):
        parse(TrainingOptions, dict.fromkeys(given.replace(" and", ",").split(", "), 1), "X")


def test_one_number_is_no_pair():
    with pytest.raises(ConfigError, match=r"sets 'betas' wrongly: it must be a list, as \[28,28\]. Got 28 instead."):
        parse(TrainingOptions, {"betas": 28}, "X")


@pytest.mark.parametrize(
    ("name", "value"),
    [("betas", [0.9, 1]), ("momentum", -1), ("seed", 2**63), ("warmup", 1.1), ("validations", 0), ("save_every", 0)],
)
def test_a_training_option_out_of_its_range_is_named(name, value):
    with pytest.raises(
        ConfigError, match=f"^X sets '{name}.*' wrongly: it must be (less|greater) than .* Got .* instead"
    ):
        parse(TrainingOptions, {name: value}, "X")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("256", 256),
        ("-1e-3", -1e-3),
        ("true", True),
        ("[0.9, 0.99]", [0.9, 0.99]),
        ("gru", "gru"),
        ("'gru'", "gru"),
        ('"a = b"', "a = b"),
        ("my.py:cell", "my.py:cell"),
        ("/a b/c=d.txt", "/a b/c=d.txt"),
        (" 7 ", 7),
        ("", ""),
        ("nan", pytest.approx(float("nan"), nan_ok=True)),
    ],
)
def test_an_assigned_value_is_read_as_toml_and_else_as_a_string(text, value):
    assert assign({}, [f"net.key={text}"]) == {"net": {"key": value}}


def test_assignments_nest_and_the_last_one_holds_and_nothing_else_changes():
    values = {"net": {"size": 1, "extra": {"p": 1}}, "seed": 2}
    assert assign(values, ["net.extra.q=2", "net.size=3", "net.size=4", " seed =5"]) == {
        "net": {"size": 4, "extra": {"p": 1, "q": 2}},
        "seed": 5,
    }
    assert values == {"net": {"size": 1, "extra": {"p": 1}}, "seed": 2}


@pytest.mark.parametrize("assignment", ["net.size", "", "=3", "net.=3"])
def test_what_is_no_assignment_is_shown_one(assignment):
    with pytest.raises(ConfigError) as caught:
        assign({}, [assignment])
    assert str(caught.value) == (
        f"--set takes section.key=value, such as model.hidden_size=256. Got {assignment!r} instead."
    )


def test_a_value_is_no_section():
    with pytest.raises(ConfigError, match=r"^--set seed.x=1 goes through 'seed', which is a value and not a section.$"):
        assign({"seed": 3}, ["seed.x=1"])


def test_a_toml_file_is_read(tmp_path):
    (tmp_path / "a.toml").write_text("seed = 3\n[net]\nextra.p = 4\n", encoding="utf-8")
    assert read_toml(tmp_path / "a.toml") == {"seed": 3, "net": {"extra": {"p": 4}}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"[net\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1, column 5)."),
        (b"seed = 1\nseed = 2\n", "is not TOML: Cannot overwrite a value (at line 2, column 9)."),
        (b"\xff", "is not TOML, which is text in UTF-8."),
    ],
)
def test_what_is_not_toml_is_said(tmp_path, content, message):
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    assert str(caught.value) == f"The configuration {path} {message}"


OTHER = {
    "grey": "false", "lowercase": "true", "mels": 9, "min_count": 7, "mirror": "true", "rate": 8000, "scan": "rows",
    "shared_vocabulary": "false", "size": "[16,16]", "stereo": "true", "tokenizer": "byte", "vectors": "a.vec",
    "vocab_size": 7, "window": 7,
}  # fmt: skip
"""Of each field that a trained model keeps, a value that is not its default."""


@pytest.mark.parametrize("task", TASKS)
def test_what_a_trained_model_keeps_cannot_be_changed(task):
    config, sections = TASKS[task].config(), ("data", "decoding")
    assert changed(config, ["data.encoding=latin-1"], sections).data.encoding == "latin-1"
    assert config.data.FIXED
    for name in config.data.FIXED:
        value = "bpe" if (task, name) == ("caption", "tokenizer") else OTHER[name]
        with pytest.raises(
            ConfigError, match=rf"--set cannot change data\.{name}, which a trained model keeps: .+ Got"
        ):
            changed(config, [f"data.{name}={value}"], sections)
