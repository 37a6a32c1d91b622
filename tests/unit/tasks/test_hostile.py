"""Runs whose files were changed to do harm: a sentence says so at once, in bounded memory."""

import json
import resource
import shutil
import sys
import time
from pathlib import Path

import pytest
from small_runs import make

from selfloop.errors import SelfloopError
from selfloop.tasks import load
from selfloop.tasks.table import TASKS

ROOM = 400 << 20
"""Bytes that a refusal may take."""

SECONDS = 5.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")


@pytest.fixture(scope="module", params=list(TASKS))
def whole(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp("runs") / request.param)


@pytest.fixture
def run(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def bounded():
    """Little memory beyond what the process has, and little of a processor's time."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    began = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - began < SECONDS


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(SelfloopError) as caught:
        load(path)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 500, said
    for part in parts:
        assert part in said


def test_a_run_as_it_was_made_opens(run):
    assert not load(run).model.training


HUGE = 10**9
FIELDS = {
    "num_layers": [10_000_000, 10**18, 10**4000, 0, -1, 1e400, float("nan"), "many", None, [1], {"a": 1}],
    "hidden_size": [HUGE, 2**31, 2**63, 10**30, 1.5],
    "embedding_size": [HUGE, 10**30, 10**4000, "x" * 100_000],
    "sizes": [{"p": HUGE}, {"p": 10**30}, {f"p{n}": 1 for n in range(10_000)}, {"in": -1}],
    "cell": ["", "gru", "\ud800", "x" * 100_000, "a\nb", 7],
    "backend": ["\0", "magic" * 10_000],
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_model_that_is_not_that_of_the_weights(run, field, bounded):
    file = run / "config.json"
    config = json.loads(file.read_text())
    for value in FIELDS[field]:
        if field in config["model"] and not (field == "embedding_size" and config["task"] == "classify"):  # of text
            file.write_text(json.dumps({**config, "model": {**config["model"], field: value}}))
            refused(run)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 200_000,
        '{"format":' * 200_000,
        "",
        "null",
        "7",
        "9" * 100_000,
        '{"format": 3, "task": "%s"}' % ("x" * 500_000),
        '{"format": 3, "task": "a\\nb"}',
        '{"format": %s}' % ("9" * 4000),
        '{"format": "%s"}' % ("x" * 500_000),
        b"\xff\xfe",
        '{"format": 3, "task": TASK, "a.b": 1}',
        '{"format": 3, "task": TASK, "%s": 1}' % ("x" * 500_000),
        '{"format": 3, "task": TASK, "model": {"a.b\\n": 1}}',
        '{"format": 3, "task": TASK, "model": [[[]]]}',
        '{"format": 3, "task": TASK, "training": {"steps": 1, "epochs": 1}}',
    ],
    ids=lambda content: str(content[:40]),
)
def test_a_configuration_that_is_none(run, content, bounded):
    task = json.loads((run / "config.json").read_text())["task"]
    content = content if isinstance(content, bytes) else content.replace("TASK", f'"{task}"').encode()
    (run / "config.json").write_bytes(content)
    refused(run, str(run))


@pytest.mark.parametrize(
    ("whole", "name"),
    [("lm", "config.json"), ("lm", "tokenizer.json"), ("label", "inputs.json")],
    indirect=["whole"],
)
def test_a_file_that_is_large_or_has_no_end(run, name, bounded):
    (run / name).unlink()
    with (run / name).open("wb") as file:
        file.truncate(2 << 30)
    refused(run, name, "2,147,483,648 bytes")
    (run / name).unlink()
    (run / name).symlink_to("/dev/zero")
    refused(run, name, "it is not a file")


@pytest.mark.parametrize(
    "values",
    [
        {"shape": [HUGE]},
        {"shape": [10**30]},
        {"shape": [-1]},
        {"shape": [3, 3]},
        {"shape": 3},
        {"shape": [[3]]},
        {"kind": "frames", "shape": [HUGE, HUGE]},
        {"kind": "frames", "shape": [4, 4]},
        {"kind": "frames", "shape": []},
        {"kind": "smells"},
        {"kind": "text"},
        {"kind": None},
        {"classes": "ab"},
        {"classes": []},
        {"classes": ["a", "a"]},
        {"classes": [1, 2]},
        {"classes": [f"{n}" for n in range(1_000_000)]},
        {"words": [1, 2]},
        {"words": "the"},
        {"characters": [[]]},
        {"image": [1]},
        {"image": [HUGE, -1]},
        {"unheard": 1},
    ],
    ids=lambda values: str(values)[:40],
)
@pytest.mark.parametrize("whole", ["classify", "label"], indirect=True)
def test_inputs_that_are_not_those_of_the_weights(run, values, bounded):
    file = run / "inputs.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    refused(run)
    for content in ("[" * 200_000, "[1]", "null", "7"):
        file.write_text(content)
        refused(run, "inputs.json")


@pytest.mark.parametrize("whole", ["lm", "translate", "caption"], indirect=True)
def test_a_tokenizer_that_would_fill_the_memory(run, bounded):
    file = run / "tokenizer.json"
    whole = json.loads(file.read_text())
    model = whole["model"]
    padding = {"strategy": {"Fixed": 10**12}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    for changed in (
        {**whole, "padding": {**padding, "pad_type_id": 0, "pad_token": "x"}},
        {**whole, "truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}},
        {**whole, "model": {**model, "vocab": {**model["vocab"], "far": 4_000_000_000}}},
        {**whole, "model": {**model, "vocab": {f"t{n}": n for n in range(300_000)}}},
        {**whole, "model": {**model, "vocab": {}}},
        {**whole, "model": {**model, "vocab": {**model["vocab"], "more": len(model["vocab"])}}},
        {**whole, "model": {**model, "unk_token": 7}},
        {**whole, "model": {**model, "merges": [["no", "such"]]}},
        {},
        [],
    ):
        file.write_text(json.dumps(changed))
        refused(run, "tokenizer.json" if "more" not in str(changed) and "t9" not in str(changed) else "")
    file.write_text("[" * 200_000)
    refused(run, "tokenizer.json")


def header(values: object, length: int | None = None) -> bytes:
    text = values if isinstance(values, bytes) else json.dumps(values).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text


FACTS = {"__metadata__": {"facts": "{}", "checksum": "x"}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        header(b"{}", 10**18),
        header(b"[" * 1_000_000),
        header(b'{"a":' * 1_000_000),
        header({**FACTS, **{f"{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(300_000)}}),
        header({**FACTS, "embedding.weight": {"dtype": "F32", "shape": [HUGE, HUGE], "data_offsets": [0, 0]}}),
        header({**FACTS, "embedding.weight": {"dtype": "F32", "shape": [HUGE] * 9, "data_offsets": [0, 4]}}),
        header({**FACTS, "embedding.weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}),
        header({**FACTS, "embedding.weight": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}),
        header({**FACTS, **{f"{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(20_000)}}),
        header({}),
        header({"__metadata__": {}}),
        header({"__metadata__": {"facts": "[" * 200_000, "checksum": ""}}),
    ],
    ids=lambda content: str(content[:30]),
)
def test_weights_with_a_header_that_lies(run, content, bounded):
    (run / "model.safetensors").write_bytes(content)
    refused(run, "model.safetensors")
