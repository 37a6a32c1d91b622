import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch.nn import functional as F

from selfloop.cells import ZOO
from selfloop.config import parse
from selfloop.decoding import Sampling
from selfloop.errors import ConfigError, DataError
from selfloop.options import LanguageModelConfig
from selfloop.tasks import load
from selfloop.tasks.inputs import fingerprint, fingerprint_of_parts
from selfloop.tasks.lm import LanguageModelling, TextModel
from selfloop.tasks.lm import task as task_module
from selfloop.tasks.lm.score import score
from selfloop.tasks.lm.task import as_pairs
from selfloop.training import Run, train


@pytest.fixture
def make_task(tmp_path):
    def make(text, steps=300, tokenizer=None, tokenizer_kind="char", **data):
        source = tmp_path / "text.txt"
        source.write_text(text)
        data["tokenizer"] = tokenizer_kind
        values = {
            "data": {"source": str(source), "window": 16, **data},
            "model": {"embedding_size": 8, "hidden_size": 16, "input_dropout": 0.0, "output_dropout": 0.0},
            "training": {"steps": steps, "batch_size": 4, "learning_rate": 0.02, "weight_decay": 0.0, "validations": 2},
        }
        return LanguageModelling(parse(LanguageModelConfig, values, "test"), tokenizer)

    return make


def fit(task, steps, carried):
    """Train without the loop; the state is carried from window to window, or forgotten."""
    optimizer, carry = torch.optim.Adam(task.model.parameters(), lr=0.02), None
    for step in range(steps):
        loss, _, carry = task.loss(task.model, step, slice(None), carry if carried else None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    task.model.eval()


def test_a_cycle_is_learnt_and_written_without_an_error(make_task, tmp_path, silent):
    task = make_task("abcde\n" * 200, steps=150)
    run = Run.create(tmp_path / "run", "lm", task.config.model_dump(mode="json"))
    task.inputs.save(run.path / "tokenizer.json")
    train(task, run, task.config.training, Accelerator(cpu=True), silent)
    model = load(run.path)
    assert model.score("abcde\n" * 50).loss < 0.02
    greedy = Sampling(temperature=0.0)
    assert model.write(["", "abcd"], max_tokens=60, sampling=greedy) == ["abcde\n" * 10, "e\n" + "abcde\n" * 9 + "abcd"]
    assert model.search(["abc"], max_tokens=9, beam=3)[0][0][0] == "de\nabcde\n"


def test_the_state_carried_over_windows_remembers_what_no_window_holds(make_task):
    """In "aabaab…" an a is followed by an a as often as by a b, and one step cannot know by which: without memory
    nothing is better than 2/3 · log 2 = 0.462 nats a token. With windows of one step only the carried state remembers.
    """
    floor = 2 / 3 * math.log(2)
    carried, forgotten = (make_task("aab" * 300, window=1) for _ in range(2))
    fit(carried, 250, carried=True)
    fit(forgotten, 250, carried=False)
    assert carried.validate(carried.model)["loss"] < 0.1 * floor
    ids = torch.tensor(forgotten.valid_tokens.ids.astype(int))
    with torch.no_grad():
        alone = F.cross_entropy(forgotten.model(ids[None, :-1])[0][0], ids[1:])
    assert 0.95 * floor < float(alone) < 1.2 * floor


def test_an_epoch_begins_without_memory_and_its_windows_go_on_from_each_other(make_task):
    task = make_task("abcab" * 100, window=10)
    _, _, carry = task.loss(task.model, 0, slice(None), None)
    assert all(not tensor.requires_grad for tensor in carry)
    again = [task.loss(task.model, step, slice(None), carry)[0] for step in (0, 1, task.steps_per_epoch)]
    fresh = [task.loss(task.model, step, slice(None), None)[0] for step in (0, 1, task.steps_per_epoch)]
    assert [torch.equal(a, b) for a, b in zip(again, fresh, strict=True)] == [True, False, True]


def test_shares_of_a_batch_make_up_its_loss(make_task):
    task = make_task("the cat sat on the mat\n" * 50)
    whole, targets, _ = task.loss(task.model, 0, slice(None), None)
    halves = [task.loss(task.model, 0, share, None) for share in (slice(0, 2), slice(2, 4))]
    assert sum(count for _, count, _ in halves) == targets == 4 * 16
    torch.testing.assert_close((halves[0][0] + halves[1][0]) / 2, whole)


def test_validation_is_the_score_of_the_validation_text(make_task):
    task = make_task("the cat sat on the mat\n" * 50)
    got = task.validate(task.model.eval())
    every = TextModel(task.model, task.inputs, task.config).score(task.dataset.valid)
    assert got == pytest.approx(every.metrics(), rel=1e-5)


def test_a_validation_on_the_way_stops_at_its_limit(make_task):
    text = "the cat sat on the mat\n" * 300
    limited, whole = make_task(text, valid_tokens=1), make_task(text)
    first = score(limited.model.eval(), limited._valid_streams, limited.valid_tokens, 1)
    assert first.tokens < len(whole.valid_tokens)
    assert limited.validate(limited.model) == first.metrics() != whole.validate(whole.model.eval())


def test_the_text_as_the_runs_tokenizer_reads_it_decides_the_facts(make_task):
    task = make_task("abc" * 100)
    same, other = (make_task(text * 100, tokenizer=task.inputs).facts() for text in ("abc", "abd"))
    assert task.facts() == same != other


def test_the_runs_seed_decides_the_first_weights(make_task):
    one, other = (make_task("the cat\n" * 50).model.readout.weight for _ in range(2))
    assert torch.equal(one, other)


def test_a_cell_that_is_given_stands_for_the_one_that_is_named(make_task):
    task = make_task("the cat\n" * 50)
    assert LanguageModelling(task.config, task.inputs, ZOO["gru"]).model.rnn.cell is ZOO["gru"]


def test_a_text_too_short_to_learn_from_is_refused(make_task):
    with pytest.raises(
        DataError, match=r"^The training part of 'text' has 1 tokens, which is too little to learn from\."
    ):
        make_task("ab")


def test_a_cell_that_does_not_exist_is_refused_before_the_text_is_read():
    config = parse(LanguageModelConfig, {"model": {"cell": "lstn"}, "data": {"source": "nowhere.txt"}}, "test")
    with pytest.raises(ConfigError, match="did you mean 'lstm'"):
        LanguageModelling(config)


def test_penalties_are_on_the_outputs_and_on_their_change(make_task):
    """Merity et al. 2017, section 4.6: α · mean of squares of the dropped outputs, β · that of the steps between."""
    task = make_task("abcde\n" * 200)
    plain, _, _ = task.loss(task.model, 0, slice(None), None)
    inputs, _ = task._streams.window(0, 0)
    y, _ = task.model.rnn(task.model.embedding(inputs))
    expected = {"activity": y.square().mean(), "slowness": (y[1:] - y[:-1]).square().mean()}
    for name, penalty in expected.items():
        loss = task.config.loss.model_copy(update={name: 3.0})
        task.config = task.config.model_copy(update={"loss": loss})
        found, _, _ = task.loss(task.model, 0, slice(None), None)
        torch.testing.assert_close(found - plain, 3 * penalty)
        task.config = task.config.model_copy(update={"loss": type(loss)()})


def test_the_penalty_on_outputs_is_after_their_dropout(make_task):
    task = make_task("abcde\n" * 200)
    task.model.output_dropout.p = 0.5
    inputs, _ = task._streams.window(0, 0)
    _, _, y, dropped = task.model(inputs, outputs=True)
    kept = dropped != 0
    assert 0.3 < kept.float().mean() < 0.7
    torch.testing.assert_close(dropped[kept], 2 * y[kept])


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_a_hash_of_tokens_is_that_of_two_bytes_each_as_runs_before_had_it(dtype):
    ids = np.arange(200) % 50
    assert fingerprint_of_parts(as_pairs(ids.astype(dtype))) == fingerprint(ids.astype("u2"))
    assert fingerprint_of_parts(as_pairs(ids.astype("u4"))) == fingerprint(ids.astype("u4"))


@pytest.mark.parametrize(("kind", "name"), [("word", "{}"), ("bpe", "Ġ{}"), ("char", None)])
def test_words_of_a_long_text_are_learnt_from_blocks_all_over_it_and_characters_from_all(
    make_task, monkeypatch, kind, name
):
    monkeypatch.setattr(task_module, "MOST_LEARNT_FROM", 300_000)
    names = [f"a{first}{second}a" for first in "bcdfg" for second in "hjklmnpq"]
    text = "".join(f"Here {names[number // 2500]} is\n" for number in range(100_000)) + "é Here" + " is" * 1000
    vocabulary = make_task(text, tokenizer_kind=kind, valid_fraction=0.001).inputs.vocabulary
    if name is None:
        assert "é" in vocabulary
    else:
        known = [number for number in range(40) if name.format(names[number]) in vocabulary]
        assert 3 <= len(known) < 30
        assert max(known) > 30
