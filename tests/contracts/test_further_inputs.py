"""Cells with further inputs: compiled as interpreted, with all gradients, and a step at a time."""

import pytest
import torch
from catalogue import WITH_FURTHER_INPUTS, assert_close, outputs_and_gradients

import selfloop as sl

each_cell = pytest.mark.parametrize("entry", WITH_FURTHER_INPUTS, ids=str)


@each_cell
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"lengths": [5, 0, 3, 1]}, {"resets": True}], ids=["whole", "ragged", "resets"]
)
def test_compiled_and_interpreted_are_the_same(entry, bidirectional, options):
    rnn = entry.layer(bidirectional=bidirectional)
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    if "resets" in options:
        options = {"resets": torch.rand(5, 4) < 0.4}
    further = entry.further(x)
    expected = outputs_and_gradients(rnn, "interpret", x, further, **options)
    for got, wanted in zip(outputs_and_gradients(rnn, "native", x, further, **options), expected, strict=True):
        assert_close(got, wanted)


@each_cell
@pytest.mark.parametrize("backend", ["native", "interpret"])
def test_steps_are_those_of_whole_sequences(entry, backend):
    rnn = entry.layer(backend=backend).requires_grad_(False)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    further, state, stepper = entry.further(x), None, sl.Stepper(rnn, 2)
    y, _ = rnn(x, **further)
    for t in range(4):
        now = {name: v[t] for name, v in further.items()}
        one, state = rnn.step(x[t], state, **now)
        assert_close(one, y[t])
        assert_close(stepper(x[t], **now), y[t])


def test_what_was_not_measured_may_be_nan():
    (entry,) = (e for e in WITH_FURTHER_INPUTS if e.cell.name == "gru_d")
    rnn = entry.layer()
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    further = entry.further(x)
    missing = torch.where(further["mask"] > 0, x, torch.nan)
    for backend in ("native", "interpret"):
        for got, wanted in zip(
            outputs_and_gradients(rnn, backend, missing, further),
            outputs_and_gradients(rnn, backend, x, further),
            strict=True,
        ):
            if wanted.shape != further["mask"].shape:  # the gradient of the mask itself
                assert_close(got, wanted)
