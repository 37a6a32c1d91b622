"""Gates, probes and memory: each against a layer or a number of which the answer is known."""

import numpy as np
import pytest
import torch
from catalogue import CELLS
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import r2_score, roc_auc_score
from torch.nn import functional as F

import selfloop as sl
from selfloop import param, sigmoid, tanh
from selfloop.errors import ArgumentError
from selfloop.inspect import (
    Followed,
    Memory,
    Watched,
    draw_gates,
    draw_memory,
    draw_units,
    followed,
    gates,
    gradient_flow,
    gradient_flow_of,
    memory,
)
from selfloop.inspect.memory_picture import uses
from selfloop.inspect.probes import _score


def watched(rnn, lengths, *, texts=None, facts=None, unit="step", losses=None, targets=None, names=None, start=None):
    """Noise as a task would show it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(max(lengths), len(lengths), rnn.input_size, generator=generator)
    x = x.to(next(iter(rnn.zero_state(1))).dtype)
    targets = torch.zeros(0, 2).long() if targets is None else targets
    names = names or [f"sequence {k}" for k in range(len(lengths))]
    return Watched(rnn, x, torch.tensor(lengths), unit, names, texts or [], facts or {}, targets, losses, start)


# Gates

RATES = np.array([0.5, 0.9, 0.99])


@sl.cell
def leak(x, h, *, W=param("h x"), rate=param("h", init=RATES)):
    h = rate * h + W @ x
    return h


@sl.cell
def inline(x, h, *, W=param("2h x"), U=param("2h h")):
    f, g = sl.split(W @ x + U @ h, 2)
    h = sigmoid(f) * h + (1 - sigmoid(f)) * tanh(g)
    return h


def test_the_time_constants_of_a_leak_are_known():
    found = gates(watched(sl.Recurrent(leak, 2, 3), [30, 7]), 20)
    (layer,) = found.layers.values()
    assert layer.remembers == "h" and not layer.gates
    np.testing.assert_allclose(layer.time_constants("h"), -1 / np.log(RATES), rtol=1e-4)
    assert layer.order().tolist() == [2, 1, 0]


def test_a_unit_that_keeps_all_remembers_for_ever():
    @sl.cell
    def integral(x, h, *, W=param("h x")):
        h = h + W @ x
        return h

    (layer,) = gates(watched(sl.Recurrent(integral, 2, 3), [9]), 9).layers.values()
    assert np.isinf(layer.time_constants("h")).all()


@pytest.mark.parametrize("bias", [(-5.0, 1, 0), (5.0, 0, 1), (0.0, 0, 0)])
def test_how_often_a_gate_is_shut_and_open(bias):
    value, shut, opened = bias
    rnn = sl.LSTM(2, 4)
    with torch.no_grad():
        for weight in rnn.parameters():
            weight.zero_()
        rnn.bias_ih_l0[4:8] = value
    (layer,) = gates(watched(rnn, [5, 3]), 9).layers.values()
    assert set(layer.gates) == {"i", "f", "o"} and layer.remembers == "c"
    for share, expected in zip(layer.saturation("f"), (shut, opened), strict=True):
        np.testing.assert_array_equal(share, [expected] * 4)
    forget = 1 / (1 + np.exp(-value))
    np.testing.assert_allclose(layer.time_constants("c"), [-1 / np.log(forget)] * 4, rtol=1e-3)


def test_a_gate_without_a_variable_of_its_own_is_seen():
    rnn = sl.Recurrent(inline, 2, 3)
    (layer,) = gates(watched(rnn, [6]), 6).layers.values()
    assert list(layer.gates) == ["f"] and 0 < layer.gates["f"].min() < layer.gates["f"].max() < 1
    np.testing.assert_allclose(layer.kept["h"], layer.gates["f"], atol=1e-5)


def test_layers_and_directions_are_named_and_ends_are_left_empty():
    found = gates(watched(sl.LSTM(2, 3, num_layers=2, bidirectional=True), [6, 2]), 4)
    titles = [layer.title for layer in found.layers.values()]
    assert titles == ["layer 1", "layer 1, backwards", "layer 2", "layer 2, backwards"]
    for layer in found.layers.values():
        for values in (*layer.states.values(), *layer.gates.values(), *layer.kept.values()):
            assert values.shape == (4, 2, 3) and np.isnan(values[2:, 1]).all() and np.isfinite(values[:2]).all()
    assert found.lengths.tolist() == [4, 2]


def test_what_is_seen_is_what_the_layer_computes():
    rnn = sl.LSTM(2, 3)
    shown = watched(rnn, [5, 5], start=sl.State(h=torch.ones(1, 2, 3), c=torch.full((1, 2, 3), 2.0)))
    y, state = rnn(shown.x, shown.start)
    (layer,) = gates(shown, 5).layers.values()
    np.testing.assert_allclose(layer.states["h"], y.detach(), atol=1e-6)
    np.testing.assert_allclose(layer.states["c"][-1], state.c[0].detach(), atol=1e-6)
    np.testing.assert_allclose(layer.kept["c"], layer.gates["f"], atol=1e-5)


@pytest.mark.parametrize("entry", [entry for entry in CELLS if len(entry.cell.graph.inputs) == 1], ids=str)
def test_the_gates_of_every_cell_are_seen_and_drawn(entry, tmp_path):
    found = gates(watched(entry.layer().eval(), [6, 3]), 6)
    assert isinstance(draw_gates(found, tmp_path / "gates.png"), Figure)
    for layer in found.layers.values():
        assert all(np.nanmin(v) >= 0 and np.nanmax(v) <= 1 for v in layer.gates.values())


# Probes


def planted(T=60, B=40, units=16, noise=0.3, seed=0):
    draw = np.random.default_rng(seed)
    states = draw.normal(size=(T, B, units))
    so = np.repeat(draw.random((T // 6, B)) < 0.4, 6, axis=0).astype(float)
    number = np.cumsum(draw.normal(size=(T, B)), axis=0)
    states[..., 3] = -(2 * so + noise * draw.normal(size=(T, B)))
    states[..., 7] = 0.1 * number + 0.01 * draw.normal(size=(T, B))
    return states, so, number


def test_planted_units_are_found_with_their_score_on_the_other_sequences():
    states, so, number = planted()
    noise = np.random.default_rng(1).normal(size=states.shape)
    found = {one.what: one for one in followed({("_l0", "h"): noise, ("_l1", "c"): states}, {"so": so, "n": number})}
    one = found["so"]
    assert (one.layer, one.state, one.unit, one.sign, one.measure) == ("_l1", "c", 3, -1, "AUC")
    assert one.score == pytest.approx(roc_auc_score(so[:, 1::2].ravel(), -states[:, 1::2, 3].ravel()))
    one = found["n"]
    assert (one.layer, one.state, one.unit, one.sign, one.measure) == ("_l1", "c", 7, 1, "R²")
    assert one.score > 0.99 and one.by_all > 0.99
    assert str(one) == "n: unit 7 of c_l1, R² 1.00"


@pytest.mark.parametrize("seed", range(5))
def test_a_unit_of_noise_is_not_named(seed):
    draw = np.random.default_rng(seed)
    states = np.cumsum(draw.normal(size=(64, 60, 128)), axis=0)  # drifts, which a few sequences take for a class
    whole = {f"class {k}": np.broadcast_to(draw.random(60) < 0.1, (64, 60)).astype(float) for k in range(10)}
    whole["drift"] = np.cumsum(draw.normal(size=(64, 60)), axis=0)
    assert followed({("_l0", "c"): states}, whole) == []


def test_one_sequence_is_cut_in_the_middle():
    states, so, _ = planted(T=600, B=1)
    states[300:, 0, 3] = np.random.default_rng(2).normal(size=300)  # a unit that stops following is not named
    assert followed({("_l0", "c"): states}, {"so": so}) == []
    states, so, _ = planted(T=600, B=1)
    assert [one.unit for one in followed({("_l0", "c"): states}, {"so": so})] == [3]


def test_what_is_seldom_or_never_so_or_unknown_has_no_unit():
    states, so, _ = planted()
    seldom = np.zeros_like(so)
    seldom[0, :4] = 1
    unknown = np.full_like(so, np.nan)
    for facts in ({"never": np.zeros_like(so)}, {"seldom": seldom}, {"unknown": unknown}, {}):
        assert followed({("_l0", "c"): states}, facts) == []
    assert followed({("_l0", "c"): np.zeros_like(states)}, {"so": so}) == []  # dead units
    assert followed({("_l0", "c"): states[:1, :1]}, {"so": so[:1, :1]}) == []  # one step


def test_scores_are_those_of_scikit_learn():
    draw = np.random.default_rng(0)
    truth, said = draw.random(200) < 0.3, draw.integers(0, 8, 200).astype(float)
    assert _score(said, truth - truth.mean(), is_number=False) == pytest.approx(roc_auc_score(truth, said))
    number = draw.normal(size=200)
    assert _score(said, number, is_number=True) == pytest.approx(r2_score(number, said))


# Memory


@sl.cell
def remember(x, h=sl.state("x"), *, one=param("", init=1.0, trainable=False)):
    """h has the sum of all that was read."""
    h = one * h + x
    return h


def counting(need, lengths=(40,) * 8):
    """A model whose loss is 1 for each of the last `need` steps that it does not see: each step reads a 1."""
    rnn = sl.Recurrent(remember, 1, 1)
    targets = torch.tensor([(row, n - 1) for row, n in enumerate(lengths)])

    def losses(y, lengths, at, rows):
        return (need - y[at, torch.arange(len(at)), 0]).clamp(min=0)

    shown = watched(rnn, list(lengths), losses=losses, targets=targets)
    shown.x.fill_(1.0)
    return shown


@pytest.mark.parametrize("need", [1, 2, 8, 16, 32])
def test_a_model_that_needs_so_many_steps_is_found_to_use_them(need):
    found = memory(counting(need), 40)
    assert found.uses == need and not found.is_open
    np.testing.assert_allclose(found.losses, (need - found.spans).clip(0))
    assert not found.errors.any()


def test_a_model_that_needs_more_than_it_is_shown_uses_them_all_or_more():
    found = memory(counting(100), 20)
    assert found.uses == 20 and found.is_open and not found.is_whole
    assert uses(found) == "uses 20 steps or more"
    whole = memory(counting(100), 40)
    assert whole.uses == 40 and whole.is_whole and not whole.is_open and uses(whole) == "uses all 40 steps"


def test_short_sequences_are_seen_whole():
    found = memory(counting(3, lengths=(40, 2, 1, 7)), 40)
    np.testing.assert_allclose(found.losses[-1], (0 + 1 + 2 + 0) / 4)


def test_both_directions_see_as_many_steps_after_the_target():
    rnn = sl.Recurrent(remember, 1, 1, bidirectional=True)
    targets = torch.tensor([(0, 10), (1, 0), (1, 19)])

    def losses(y, lengths, at, rows):
        return y[at, torch.arange(len(at))].sum(-1)

    shown = watched(rnn, [20, 20], losses=losses, targets=targets)
    shown.x.fill_(1.0)
    found = memory(shown, 4)
    np.testing.assert_allclose(found.losses, [(2 * s + (1 + s) + (s + 1)) / 3 for s in found.spans])


def test_the_memory_of_a_loss_that_is_not_in_nats_is_within_a_share_of_it():
    at = {"spans": np.array([1, 2, 4]), "losses": np.array([900.0, 5.0, 1.0]), "errors": np.zeros(3), "unit": "step"}
    assert Memory(**at).uses == 4 and Memory(**at, loss_unit="squared error").uses == 2


def test_what_memory_refuses():
    with pytest.raises(ArgumentError, match=r"'steps' of memory must be at least 2\. Got 1"):
        memory(counting(3), 1)
    with pytest.raises(ArgumentError, match="input feeding cannot be cut"):
        memory(watched(sl.LSTM(2, 3), [4]), 3)


def test_a_language_model_with_the_whole_text_has_the_loss_of_its_score(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "play.txt").write_text("to be or not to be,\nthat is the question\n" * 60)
    model = sl.train("lm", "play.txt", run="run", steps=3, hidden_size=8, embedding_size=4, quiet=True)
    shown = model.watched(20)
    y, _ = model.model.rnn(shown.x)
    logits = model.model.readout(model.model.projection(y))[20:]
    ids = [
        [model.tokenizer.encode(text)[0] for text in row[21:]] for row in shown.steps
    ]  # what comes next is read next
    expected = F.cross_entropy(logits[:-1].transpose(0, 1).flatten(0, 1), torch.tensor(ids).flatten(), reduction="none")
    rows = torch.arange(len(shown.targets)).view(len(ids), -1)[:, :-1].flatten()
    sequence, step = shown.targets[rows].unbind(1)
    losses = shown.losses(y[:, sequence], shown.lengths[sequence], step, rows)
    torch.testing.assert_close(losses, expected)
    found = memory(shown, 20)
    assert found.unit == "character" and found.spans[-1] == 20 and np.isfinite(found.losses).all()
    assert "position in the line" in shown.facts


# The gradient flow of what a task shows


def test_the_gradient_flow_of_what_is_shown_starts_where_it_starts():
    start = sl.State(h=torch.rand(1, 2, 3), c=torch.rand(1, 2, 3))
    rnn = sl.LSTM(2, 3)
    shown = watched(rnn, [5, 9], start=start)
    expected = gradient_flow(rnn, shown.x[:6, [1, 0]], lengths=[6, 5], start=start.select(torch.tensor([1, 0])))
    np.testing.assert_array_equal(gradient_flow_of(shown, 6).whole, expected.whole)
    assert (expected.whole != gradient_flow(rnn, shown.x[:6, [1, 0]], lengths=[6, 5]).whole).any()


# Pictures


def written(figure):
    """All the text of a figure."""
    return " | ".join(
        text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()
    )


def arrays(path):
    with np.load(path) as file:
        found = dict(file)
    about = str(found.pop("about"))
    assert {line.split(":")[0] for line in about.splitlines()} == set(found)  # each is explained
    return found


def test_the_heat_maps_say_what_they_show(tmp_path):
    text = list("Oh no,\n what?\t€")
    rnn = sl.LSTM(2, 60, num_layers=2)
    found = gates(watched(rnn, [len(text), 3], texts=[text, text[:3]], unit="character"), 200)
    words = written(draw_gates(found, tmp_path / "new" / "gates.png"))
    for said in (
        "Layer 2, on sequence 0", "48 of 60 units", "layer 1: in the .npz", "c, the state that remembers",
        "f, a gate: the share of c that is kept", "remembers for, characters", "shut", "open", "↵", "⇥", "€",
    ):  # fmt: skip
        assert said in words, said
    data = arrays(tmp_path / "new" / "gates.npz")
    (top,) = list(found.layers.values())[1:]
    np.testing.assert_array_equal(data["f_l1"], top.gates["f"][:, 0])
    np.testing.assert_array_equal(data["time_constants_c_l0"], found.layers["_l0"].time_constants("c"))
    assert "".join(data["texts"]) == "".join(text)


def test_a_gru_replaces_and_a_vanilla_cell_keeps_nothing(tmp_path):
    words = written(draw_gates(gates(watched(sl.GRU(2, 4), [9]), 9), tmp_path / "g.png"))
    assert "z, a gate: the share of h that is kept" in words
    words = written(draw_gates(gates(watched(sl.RNN(2, 4), [9]), 9), tmp_path / "v.png"))
    assert "nothing of a state goes straight on" in words and "remembers for" not in words
    words = written(draw_gates(gates(watched(sl.Recurrent(leak, 2, 3), [9]), 9), tmp_path / "l.png"))
    assert "what h keeps of itself from one step to the next" in words


@pytest.mark.parametrize("hidden", [1, 16, 1024])
@pytest.mark.parametrize("steps", [1, 10, 200])
def test_pictures_of_few_and_many_units_and_steps_keep_their_size(hidden, steps, tmp_path):
    shown = watched(sl.GRU(1, hidden, bidirectional=steps == 10), [steps])
    draw_gates(gates(shown, 200), tmp_path / "g.png")
    with Image.open(tmp_path / "g.png") as picture:
        assert picture.width < 2300 and picture.height < 4000


@pytest.mark.parametrize("letter", ["$", "\x00", "\u200b", "你", "🙂", "a$b_{", "word", ""])
def test_odd_texts_are_drawn(letter, tmp_path):
    texts = [[letter] * 50, [letter]]
    draw = np.random.default_rng(0)
    fact = (draw.random((50, 2)) < 0.5).astype(float)
    fact[1:, 1] = np.nan
    found = gates(watched(sl.GRU(1, 5), [50, 1], texts=texts, unit="token", facts={"so $x$": fact}), 50)
    draw_gates(found, tmp_path / "g.png")
    one = Followed("so $x$", "_l0", "h", 2, 0.9, 0.95, is_number=False, sign=-1)
    found.followed.append(one)
    words = written(draw_units(found, tmp_path / "u.png"))
    assert "so $x$" in words and "unit 2 of h, layer 1: AUC 0.90" in words and "falls with it" in words
    arrays(tmp_path / "u.npz")


def test_units_of_a_text_and_of_numbers_are_drawn(tmp_path):
    lengths = [30, 20, 25, 30]
    fact = np.arange(30.0)[:, None] + np.zeros(4)
    fact[np.arange(30)[:, None] >= lengths] = np.nan
    texts = [list("the cat sat on\n the mat, again")[:n] for n in lengths]
    one = Followed("step", "_l0", "h", 1, 0.75, 0.95, is_number=True, sign=1)
    for number, shown in enumerate(([], texts)):
        found = gates(watched(sl.GRU(1, 5), lengths, texts=shown, facts={"step": fact}), 40)
        found.followed[:] = [one] * 7
        words = written(draw_units(found, tmp_path / f"{number}.png"))
        assert "R² 0.75 (all units of h together 0.95)" in words and "and step: in the .npz" in words
        data = arrays(tmp_path / f"{number}.npz")
        np.testing.assert_array_equal(data["values_0"], found.layers["_l0"].states["h"][..., 1])
    found.followed.clear()
    with pytest.raises(ArgumentError, match="must have a unit that follows something"):
        draw_units(found, tmp_path / "none.png")


def test_the_picture_of_memory_names_what_is_used(tmp_path):
    shown = counting(8)
    flow = {"layer 1": gradient_flow_of(shown, 20)}
    found = memory(shown, 40)
    figure = draw_memory(found, tmp_path / "m.png", flows=flow, before=flow, gates=gates(shown, 40))
    words = written(figure)
    assert "uses about 8 steps" in words and "before training" in words and "How long the units remember" in words
    data = arrays(tmp_path / "m.npz")
    np.testing.assert_array_equal(data["losses"], found.losses)
    assert {"gradient_after_0", "gradient_before_0", "time_constants_h_l0"} <= set(data)
    one = Memory(np.array([1]), np.array([2.0]), np.array([0.0]), "word", is_both_ways=True)
    words = written(draw_memory(one, tmp_path / "one.png"))
    assert "uses 1 word" in words and "reads both ways" in words


def test_data_that_cannot_be_written_are_said(tmp_path):
    (tmp_path / "m.npz").mkdir()
    with pytest.raises(ArgumentError, match=r"m\.npz cannot be written"):
        draw_memory(memory(counting(8), 40), tmp_path / "m.png")
