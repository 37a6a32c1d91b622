import pytest
import torch

from selfloop import cells
from selfloop.cells import ZOO
from selfloop.errors import ArgumentError
from selfloop.models import LanguageModel

VOCABULARY = 9
TOKENS = torch.tensor([[1, 4], [2, 2], [8, 0], [3, 3], [5, 1]])


def make(cell=cells.lstm, learns=False, **options):
    """A model; without gradients, so that no kernels are compiled for them, unless it learns."""
    torch.manual_seed(2)
    options = {"embedding_size": 4, "hidden_size": 6, "sizes": dict.fromkeys(cell.sizes, 2), **options}
    return LanguageModel(VOCABULARY, cell, **options).double().requires_grad_(learns)


def read_in_steps(model, tokens):
    logits, state = [], None
    for row in tokens:
        step, state = model.step(row, state)
        logits.append(step)
    return torch.stack(logits), state


# ------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("cell", [cell for cell in ZOO.values() if len(cell.inputs) == 1], ids=lambda cell: cell.name)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "tied": True}], ids=["one layer", "two layers, tied"])
def test_step_by_step_it_gives_what_it_gives_at_once(cell, options):
    model = make(cell, **{"embedding_size": 3, "hidden_size": 4, **options})  # the sizes of the catalogue
    logits, state = model(TOKENS)
    stepped, last = read_in_steps(model, TOKENS)
    torch.testing.assert_close(stepped, logits)
    torch.testing.assert_close(last.tensors, state.tensors)


def test_the_state_carried_over_windows_gives_what_one_long_pass_gives():
    model = make()
    first, state = model(TOKENS[:2])
    second, _ = model(TOKENS[2:], state)
    whole, _ = model(TOKENS)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert not torch.allclose(model(TOKENS[2:])[0], whole[2:])


def test_lengths_end_each_sequence_where_it_alone_would_end():
    model = make()
    logits, state = model(TOKENS, lengths=torch.tensor([5, 3]))
    alone, last = model(TOKENS[:3, 1:])
    torch.testing.assert_close(logits[:3, 1:], alone)
    torch.testing.assert_close(state.h[:, 1:], last.h)


# ------------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("hidden_size", [4, 6], ids=["same size", "projected"])
def test_a_tied_table_is_one_tensor_and_counts_once(hidden_size):
    tied, free = (make(hidden_size=hidden_size, tied=tied) for tied in (True, False))
    table = tied.embedding.embedding.weight
    assert tied.readout.weight is table
    assert tied.readout.weight.data_ptr() == table.data_ptr()
    recurrent = sum(p.numel() for p in tied.rnn.parameters())
    projection = 6 * 4 + 4 if hidden_size == 6 else 0
    assert tied.num_parameters == VOCABULARY * 4 + recurrent + projection + VOCABULARY
    assert free.num_parameters == VOCABULARY * 4 + recurrent + VOCABULARY * hidden_size + VOCABULARY


def test_a_projection_stands_only_where_tied_sizes_differ():
    kinds = [type(make(tied=tied, hidden_size=h).projection).__name__ for tied, h in ((True, 6), (True, 4), (False, 6))]
    assert kinds == ["Linear", "Identity", "Identity"]


@pytest.mark.parametrize(
    "options", [{}, {"tied": True, "num_layers": 2}, {"embedding_dropout": 0.1, "weight_drop": 0.1}], ids=str
)
def test_every_parameter_gets_a_gradient(options):
    model = make(learns=True, **options)
    logits, _ = model(TOKENS)
    (logits.log_softmax(-1) ** 2).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


# ------------------------------------------------------------------------------------------------ dropouts

DROPOUTS = ("embedding_dropout", "input_dropout", "hidden_dropout", "output_dropout", "weight_drop")


@pytest.mark.parametrize("variational", [True, False], ids=["variational", "each step"])
@pytest.mark.parametrize("name", DROPOUTS)
def test_a_dropout_acts_in_training_only(name, variational):
    model = make(num_layers=2, variational=variational, **{name: 0.5})
    once = model(TOKENS)[0]
    assert not all(torch.equal(once, model(TOKENS)[0]) for _ in range(9))
    model.eval()
    torch.testing.assert_close(model(TOKENS)[0], make(num_layers=2)(TOKENS)[0])


@pytest.mark.parametrize(("variational", "constant"), [(True, True), (False, False)])
@pytest.mark.parametrize("name", ["input_dropout", "output_dropout"])
def test_a_variational_mask_is_the_same_at_all_steps_and_differs_between_rows(name, variational, constant):
    model = make(embedding_size=64, variational=variational, **{name: 0.5})
    out = getattr(model, name)(torch.ones(5, 2, 64))
    assert bool((out == out[0]).all()) is constant
    assert not torch.equal(out[:, 0], out[:, 1])
    assert set(out.unique().tolist()) == {0.0, 2.0}


def test_embedding_dropout_drops_a_type_wherever_it_stands():
    model = make(embedding_dropout=0.5)
    tokens = torch.arange(VOCABULARY).repeat(3, 1)
    out, table = model.embedding(tokens), model.embedding.embedding.weight
    assert torch.equal(out, out[:1].expand_as(out))
    dropped = (out[0] == 0).all(1)
    assert 0 < dropped.sum() < VOCABULARY
    torch.testing.assert_close(out[0][~dropped], 2 * table[~dropped])


def test_weight_drop_takes_recurrent_weights_and_leaves_the_rest():
    model = make(weight_drop=0.5)
    one, other = model(TOKENS[:1])[0], model(TOKENS[:1])[0]  # from a zero state recurrent weights do not matter
    torch.testing.assert_close(one, other)
    assert not torch.allclose(model(TOKENS)[0][1:], model(TOKENS)[0][1:])


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"embedding_size": 0}, "embedding_size"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"num_layers": 0}, "num_layers"),
        ({"backend": "cuda"}, "backend"),
        *(({dropout: 1.0}, dropout) for dropout in DROPOUTS),
        *(({dropout: -0.1, "variational": False}, dropout) for dropout in DROPOUTS),
    ],
    ids=str,
)
def test_an_argument_that_does_not_fit_is_named(options, name):
    with pytest.raises(ArgumentError, match=f"^The '{name}' "):
        make(**options)


def test_a_vocabulary_needs_a_type():
    with pytest.raises(ArgumentError, match=r"^The 'vocab_size' of LanguageModel must be at least 1"):
        LanguageModel(0, cells.lstm, embedding_size=1, hidden_size=1)


def test_a_size_of_the_cell_must_be_given():
    with pytest.raises(ArgumentError, match=r"projected_lstm.*'p'"):
        make(cells.projected_lstm, sizes={})
