"""Tables of which an update reads few rows have sparse gradients, which all that follows treats as the dense ones."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from unit.training.toy import Watcher

from selfloop import cells
from selfloop.models import LanguageModel, TokenEncoder, WordEncoder
from selfloop.training import TrainingOptions, sparse_gradients
from selfloop.training.averages import Average, with_average
from selfloop.training.checkpoint import read_tensors
from selfloop.training.optimizers import clip, make_optimizer, update
from selfloop.training.sparse_gradients import sparse_parameters

ROWS, SIZE = 40, 3


@pytest.fixture(autouse=True)
def every_table_is_large(monkeypatch):
    monkeypatch.setattr(sparse_gradients, "LARGE", 1)


class Words(nn.Module):
    """A table that is looked up, and a matrix."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(ROWS, SIZE)
        self.matrix = nn.Parameter(torch.randn(SIZE, 2))

    def forward(self, tokens):
        return (self.table(tokens) @ self.matrix).square().sum()


def words(seed=0):
    torch.manual_seed(seed)
    return Words()


def tokens(update):
    """A few, some of them twice; every fourth update reads row 7."""
    draw = torch.Generator().manual_seed(update)
    return torch.cat([torch.randint(8, ROWS, (9,), generator=draw), torch.full((int(update % 4 == 0),), 7)])


def gradients(model, *inputs, is_sparse):
    with sparse_gradients.sparse_gradients(model) if is_sparse else torch.enable_grad():
        model(*inputs).backward()
    return {name: coalesced(p.grad) for name, p in model.named_parameters()}


def coalesced(gradient):
    return gradient.coalesce() if gradient.is_sparse else gradient


# Which tables


def test_tables_that_are_looked_up_alone_have_sparse_gradients_within_the_block():
    model = nn.ModuleDict({"words": WordEncoder(9, 4, buckets=6), "tokens": TokenEncoder(5, 2)})
    with sparse_gradients.sparse_gradients(model):
        sparse = sparse_parameters(model)
        assert [p.shape for p in sparse] == [(9, 4), (7, 4), (5, 2)]
    assert sparse_parameters(model) == []


def test_a_tied_table_a_frozen_one_and_one_of_bounded_vectors_stay_dense():
    tied = LanguageModel(9, cells.gru, embedding_size=4, hidden_size=4, tied=True)
    frozen = nn.Embedding(9, 4).requires_grad_(False)
    shared = nn.Embedding(9, 4)
    others = nn.Embedding(9, 4, scale_grad_by_freq=True), nn.EmbeddingBag(9, 4, mode="max")  # torch has none of these
    for model in (tied, frozen, nn.ModuleDict({"a": shared, "b": shared}), nn.Embedding(9, 4, max_norm=1.0), *others):
        with sparse_gradients.sparse_gradients(model):
            assert sparse_parameters(model) == []


def test_small_tables_stay_dense(monkeypatch):
    monkeypatch.setattr(sparse_gradients, "LARGE", 13)
    model = nn.ModuleDict({"small": nn.Embedding(3, 4), "large": nn.Embedding(4, 4)})
    with sparse_gradients.sparse_gradients(model):
        assert [p.shape for p in sparse_parameters(model)] == [(4, 4)]


def test_a_table_that_its_owner_made_sparse_stays_so():
    model = nn.Embedding(9, 4, sparse=True)
    with sparse_gradients.sparse_gradients(model):
        pass
    assert model.sparse


# Gradients


@pytest.mark.parametrize("seed", range(3))
def test_sparse_gradients_are_the_dense_ones(seed):
    dense, sparse = (gradients(words(seed), tokens(seed), is_sparse=way) for way in (False, True))
    assert sparse["table.weight"].is_sparse and sparse["table.weight"].is_coalesced()
    for name in dense:
        torch.testing.assert_close(sparse[name].to_dense(), dense[name])


@pytest.mark.parametrize("most", [0.3, 1e9])
def test_gradients_are_clipped_as_dense_ones(most):
    clipped = []
    for way in (False, True):
        own = gradients(words(), tokens(0), is_sparse=way).values()
        whole = torch.cat([g.to_dense().flatten() for g in own])
        clip(torch.optim.SGD([torch.zeros(())]), own, most)
        clipped.append(torch.cat([g.to_dense().flatten() for g in own]))
        torch.testing.assert_close(clipped[-1].norm(), whole.norm().clamp(max=most))
    torch.testing.assert_close(*clipped)


# Optimizer


def trained(model, updates, average=None, is_sparse=True, **options):
    """After updates of AdamW, the weights after each."""
    seen = []
    with sparse_gradients.sparse_gradients(model) if is_sparse else torch.enable_grad():
        optimizer = make_optimizer(model, TrainingOptions(**options))
        average = average and average(model)
        for number in range(updates):
            model(tokens(number)).backward()
            update(optimizer, average=average)
            seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
    return seen, optimizer, average


def test_the_first_update_is_that_of_dense_gradients():
    """But for the weight decay of rows that were not read."""
    (dense,), (sparse,) = (trained(words(), 1, is_sparse=way)[0] for way in (False, True))
    torch.testing.assert_close(sparse["matrix"], dense["matrix"])
    read = tokens(0).unique()
    torch.testing.assert_close(sparse["table.weight"][read], dense["table.weight"][read])
    assert words()(tokens(0)) > 1
    losses = []
    for after in (dense, sparse):
        model = words()
        model.load_state_dict(after)
        losses.append(model(tokens(0)))
    torch.testing.assert_close(*losses)


def test_clipping_is_scaling_the_gradients_by_hand():
    models = words(), words()
    for by_hand, model in zip((False, True), models, strict=True):
        with sparse_gradients.sparse_gradients(model):
            optimizer = make_optimizer(model, TrainingOptions())
            for number in range(6):
                model(tokens(number)).backward()
                parts = [p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in model.parameters()]
                norm = torch.cat([part.flatten() for part in parts]).norm()
                assert norm > 1.5
                if by_hand:
                    for p in model.parameters():
                        p.grad /= norm
                update(optimizer, most=0.0 if by_hand else 1.0)
    torch.testing.assert_close(models[1].state_dict(), models[0].state_dict())


def test_rows_that_are_not_read_stay_as_they_are():
    model = words()
    before = model.table.weight.detach().clone()
    _, optimizer, _ = trained(model, 5)
    read = torch.cat([tokens(update) for update in range(5)]).unique()
    others = [row for row in range(ROWS) if row not in read]
    assert len(others) > 8
    assert torch.equal(model.table.weight[others], before[others])
    assert not torch.isclose(model.table.weight[read], before[read]).any()
    assert optimizer.state[model.table.weight]["exp_avg_sq"][others].count_nonzero() == 0


def test_a_row_moves_without_momentum_and_all_decays_by_the_updates_since_it_moved():
    """The formula, a row at a time, in float64."""
    lr, decay, eps, weight_decay = 0.01, 0.9, 1e-8, 0.5
    model = words().double()
    options = TrainingOptions(learning_rate=lr, betas=(0.8, decay), weight_decay=weight_decay)
    expected, squares, moved = model.table.weight.detach().clone(), torch.zeros(ROWS, SIZE).double(), [0] * ROWS
    with sparse_gradients.sparse_gradients(model):
        optimizer = make_optimizer(model, options)
        for number in range(9):
            model(tokens(number)).backward()
            gradient = model.table.weight.grad.to_dense()
            update(optimizer)
            for row in tokens(number).unique().tolist():
                since, moved[row] = number + 1 - moved[row], number + 1
                squares[row] = squares[row] * decay**since + (1 - decay) * gradient[row] ** 2
                size = (squares[row] / (1 - decay ** (number + 1))).sqrt() + eps
                expected[row] = expected[row] * (1 - lr * weight_decay) ** since - lr * gradient[row] / size
            torch.testing.assert_close(model.table.weight.detach(), expected)


def test_a_table_whose_gradient_is_dense_now_and_then_moves_as_if_it_were_sparse():
    models = words(), words()
    with sparse_gradients.sparse_gradients(models[0]):
        for is_dense, model in zip((False, True), models, strict=True):
            model.table.sparse = True
            optimizer, average = make_optimizer(model, TrainingOptions()), Average(model)
            for number in range(6):
                gradients(model, tokens(number), is_sparse=True)
                if is_dense and number % 2 == 1:
                    model.table.weight.grad = model.table.weight.grad.to_dense()
                update(optimizer, average=average)
    torch.testing.assert_close(models[1].state_dict(), models[0].state_dict())


def test_a_closure_makes_the_gradients_of_a_step():
    models = words(), words()
    for has_closure, model in zip((False, True), models, strict=True):
        with sparse_gradients.sparse_gradients(model):
            optimizer = make_optimizer(model, TrainingOptions())

            def closure(model=model, optimizer=optimizer):
                optimizer.zero_grad()
                loss = model(tokens(0))
                loss.backward()
                model.table.weight.grad = model.table.weight.grad.coalesce()
                return loss

            if has_closure:
                assert optimizer.step(closure) > 0
            else:
                closure()
                optimizer.step()
    torch.testing.assert_close(models[1].state_dict(), models[0].state_dict())


@pytest.mark.parametrize("name", ["sgd", "asgd"])
def test_other_optimizers_have_dense_gradients(fit, name, monkeypatch):
    task = TableTask()
    fit(task, optimizer=name, steps=2, validations=1)
    assert task.are_sparse == [False, False]


# Average


@pytest.mark.parametrize("updates", [1, 2, 3, 30])
def test_the_average_of_rows_is_that_of_a_dense_average(updates):
    model = words()
    seen, _, average = trained(model, updates, Average)
    expected = seen[0]
    for number, weights in enumerate(seen[1:], 2):
        expected = {name: value + (weights[name] - value) * 9 / (number + 8) for name, value in expected.items()}
    with with_average(model, average):
        for name, p in model.named_parameters():
            torch.testing.assert_close(p.detach(), expected[name])
    assert torch.equal(model.table.weight, seen[-1]["table.weight"])


def test_looking_at_the_average_changes_no_bit_of_it():
    def looked_at(model):
        average = Average(model)
        plain = average.update

        def and_look():
            plain()
            with with_average(model, average):
                pass

        average.update = and_look
        return average

    plain, looked = (trained(words(), 12, way)[2] for way in (Average, looked_at))
    assert torch.equal(plain.module.table.weight, looked.module.table.weight)
    assert torch.equal(plain.volumes["table.weight"], looked.volumes["table.weight"])


# The loop


class TableTask:
    """A task with a table."""

    steps_per_epoch, best_by = 10, "loss"

    def __init__(self):
        self.model, self.are_sparse, self.validated = words(), [], []
        self.model.table.weight.register_post_accumulate_grad_hook(lambda p: self.are_sparse.append(p.grad.is_sparse))

    def loss(self, model, step, share, carry):
        return model(tokens(step)), 9, None

    def validate(self, model):
        self.validated.append(model.table.weight.clone())
        return {"loss": float(model(torch.arange(ROWS)))}

    def position(self):
        return {}

    def facts(self):
        return {}


AVERAGED = {"average": True, "patience": 0}


@pytest.mark.parametrize("accelerator", ["no", "bf16"], indirect=True)
def test_a_run_that_is_resumed_has_the_bits_of_one_that_never_stopped(fit, tmp_path):
    whole, again = TableTask(), TableTask()
    fit(whole, folder="whole", **AVERAGED)
    assert whole.are_sparse == [True] * 20
    fit(TableTask(), listener=Watcher(stop_at=7), **AVERAGED)
    fit(again, **AVERAGED)
    file = ("resume", "last.safetensors")
    (tensors, _), (others, _) = (read_tensors(tmp_path.joinpath(run, *file)) for run in ("run", "whole"))
    assert "average_volume/table.weight" in tensors
    assert tensors.keys() == others.keys()
    for name in others:
        assert torch.equal(tensors[name], others[name]), name
    assert torch.equal(again.validated[-1], whole.validated[-1])


def test_a_table_that_is_read_otherwise_is_trained_by_its_dense_gradient(fit):
    class Otherwise(Words):
        def forward(self, tokens):
            return super().forward(tokens) + F.relu(self.table.weight).sum()

    task = TableTask()
    torch.manual_seed(0)
    task.model = Otherwise()
    before = task.model.table.weight.detach().clone()
    fit(task, steps=4, validations=1, **AVERAGED)
    have_gradient = (before > 0).any(1)
    assert not torch.isclose(task.model.table.weight, before)[have_gradient].all(1).any()
