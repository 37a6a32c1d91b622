"""The fields of configurations: unique, described, and read from texts and keywords alike."""

import pytest

from selfloop.errors import ConfigError
from selfloop.options import ClassifyConfig, TranslateConfig
from selfloop.options.fields import configure, fields
from selfloop.tasks.table import TASKS

CONFIGS = {task: entry.config for task, entry in TASKS.items()}


@pytest.mark.parametrize("task", CONFIGS)
def test_every_field_has_a_name_of_its_own_and_says_what_it_is_for(task):
    known = fields(CONFIGS[task])
    flags = [flag for field in known.values() for flag in field.flags]
    assert len(set(flags)) == len(flags)
    assert len(known) == sum(len(section.annotation.model_fields) for section in CONFIGS[task].model_fields.values())
    assert not [name for name, field in known.items() if not field.description.endswith(".")]


@pytest.mark.parametrize("task", CONFIGS)
def test_fields_of_one_name_hold_the_same_kind_of_value_in_every_task(task):
    for config in CONFIGS.values():
        for name, field in fields(CONFIGS[task]).items():
            same = fields(config).get(name, field)
            assert (field.section, field.flags) == (same.section, same.flags)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("label", "1", "1"),
        ("label", "true", "true"),
        ("hidden_size", "256", 256),
        ("hidden_size", "many", "many"),
        ("learning_rate", "3e-3", 0.003),
        ("size", "[24,40]", [24, 40]),
        ("pooling", "mean", "mean"),
    ],
)
def test_a_text_is_read_as_the_field_holds_it(name, text, value):
    assert fields(ClassifyConfig)[name].read(text) == value


def test_names_sections_files_and_assignments_make_one_configuration(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("[model]\nhidden_size = 5\nnum_layers = 3\n[training]\nepochs = 2\nbatch_size = 7\n")
    given = {"hidden_size": 6, "model": {"cell": "gru"}, "minutes": 1, "label": "stars"}
    chosen = configure(ClassifyConfig, given, file=file, assignments=["training.batch_size=8"])
    assert (chosen.model.hidden_size, chosen.model.num_layers, chosen.model.cell) == (6, 3, "gru")
    assert (chosen.training.minutes, chosen.training.epochs, chosen.training.batch_size) == (1, None, 8)
    assert chosen.data.label == "stars"


def test_paths_that_exist_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.en").touch()
    chosen = configure(TranslateConfig, {"source": "a.en", "target": "owner/name"})
    assert (chosen.data.source, chosen.data.target) == (str(tmp_path / "a.en"), "owner/name")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"hiden_size": 3}, r"There is no field 'hiden_size'; did you mean 'hidden_size'\?"),
        ({"zzz": 3}, r"There is no field 'zzz'; selfloop train TASK --fields lists them\."),
        (
            {"model": {"hiden_size": 3}},
            r"X sets 'model.hiden_size', which does not exist; did you mean 'hidden_size'\?",
        ),
        ({"hidden_size": "x"}, r"X sets 'model.hidden_size' wrongly: it must be a whole number. Got 'x' instead\."),
        ({"model": 3}, r"There is no field 'model'; did you mean .*"),
        ({"minutes": 1, "steps": 2}, r"X cannot be followed: a run has one budget, .*"),
        (
            {"hidden_size": 1e99},
            r"X sets 'model.hidden_size' wrongly: it must be a whole number that fits into 64 bits",
        ),
        ({"size": [28]}, r"X sets 'data.size' wrongly: it must be a longer list. Got \[28\] instead\."),
        ({"size": [28, 28, 3]}, r"X sets 'data.size' wrongly: it must be a shorter list. Got \[28, 28, 3\] instead\."),
        ({"source": ""}, r"X sets 'data.source' wrongly: it must be a path or a name. Got '' instead\."),
        ({"valid": ""}, r"X sets 'data.valid' wrongly: it must be a path or a name. Got '' instead\."),
        (
            {"input": "a", "label": "a"},
            r"X cannot be followed: --input and --label name the same column, 'a'; name two",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(given, said):
    with pytest.raises(ConfigError, match=said):
        configure(ClassifyConfig, given, source="X")


def test_a_value_in_the_place_of_a_section_is_one_sentence():
    """It ended in a traceback."""
    with pytest.raises(ConfigError, match=r"X sets 'training' wrongly: it must be a section\. Got 3 instead\."):
        configure(ClassifyConfig, {}, assignments=["training=3"], source="X")
