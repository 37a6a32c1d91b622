"""What a step computes can be recorded: compiled as interpreted, with gradients, in sequences and step by step."""

import pytest
import torch
from catalogue import CELLS, STAGES, WITH_FURTHER_INPUTS, assert_close, outputs_and_gradients
from combinations import pairs

import selfloop as sl

WAYS = [(way, what) for way in ("forwards", "both ways") for what in ("whole", "ragged", "resets")]
each_kind = pytest.mark.parametrize("entry", [e for e in CELLS if str(e) in STAGES] + [*WITH_FURTHER_INPUTS], ids=str)


def names_of(rnn):
    return tuple(rnn.cell.graph.per_step.recordable)


@pytest.mark.parametrize(("entry", "how"), pairs([*CELLS, *WITH_FURTHER_INPUTS], WAYS), ids=str)
def test_compiled_and_interpreted_are_the_same(entry, how):
    way, what = how
    rnn = entry.layer(bidirectional=way == "both ways")
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    options = {"whole": {}, "ragged": {"lengths": [5, 0, 3, 1]}, "resets": {"resets": torch.rand(5, 4) < 0.4}}[what]
    further = entry.further(x)
    options = options | {"record": names_of(rnn), "materialize_grads": True}
    expected = outputs_and_gradients(rnn, "interpret", x, further, **options)
    for got, wanted in zip(outputs_and_gradients(rnn, "native", x, further, **options), expected, strict=True):
        assert_close(got, wanted)


@each_kind
def test_to_record_changes_no_output(entry):
    rnn = entry.layer(bidirectional=True)
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    further = entry.further(x)
    torch.manual_seed(3)
    y, final = rnn(x, **further)
    torch.manual_seed(3)
    same, too, _ = rnn(x, record=names_of(rnn), **further)
    assert_close(same, y)
    for s, wanted in zip(too, final, strict=True):
        assert_close(s, wanted)


@each_kind
@pytest.mark.parametrize("backend", ["native", "interpret"])
def test_steps_record_what_sequences_do(entry, backend):
    rnn = entry.layer(backend=backend, num_layers=2 if entry in CELLS and entry.can_stack else 1).eval()
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    further, state, names = entry.further(x), None, names_of(rnn)
    stepper = sl.Stepper(rnn, 2, record=names)
    with torch.no_grad():
        y, _, recorded = rnn(x, record=names, **further)
        for t in range(4):
            now = {name: v[t] for name, v in further.items()}
            one, state, seen = rnn.step(x[t], state, record=names, **now)
            assert_close(one, y[t])
            assert_close(stepper(x[t], **now), y[t])
            assert seen.keys() == stepper.recorded.keys() == recorded.keys()
            for name, v in recorded.items():
                assert_close(seen[name], v[t])
                assert_close(stepper.recorded[name], v[t])
