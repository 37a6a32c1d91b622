import copy
import pickle

import pytest
import torch
from torch.utils import _pytree as pytree

import selfloop as sl
from selfloop.errors import ArgumentError, RunError


@pytest.fixture
def state():
    """One whose states do not stand in the order of the alphabet."""
    return sl.State(h=torch.randn(2, 3, 4), c=torch.randn(2, 3, 5))


def assert_same(got, expected):
    assert list(got.tensors) == list(expected.tensors)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_states_are_attributes_and_unpack_in_order(state):
    h, c = state
    assert state.h is h
    assert state.c is c
    assert len(state) == 2
    assert state.batch_size == 3
    assert repr(state) == "State(h=(2, 3, 4), c=(2, 3, 5))"


def test_a_state_that_is_not_there_is_an_attribute_error(state):
    with pytest.raises(AttributeError, match="this State holds h, c, not 'm'"):
        _ = state.m
    assert not hasattr(state, "m")


def test_a_state_without_tensors_is_refused():
    with pytest.raises(ArgumentError, match="A State needs at least one tensor"):
        sl.State()


def test_reset_zeroes_the_sequences_that_start_anew(state):
    new = state.reset(torch.tensor([False, True, False]))
    for before, after in zip(state, new, strict=True):
        assert not after[:, 1].any()
        assert torch.equal(after[:, [0, 2]], before[:, [0, 2]])
        assert before.all(), "the old State is as it was"


def test_reset_says_what_mask_it_takes(state):
    with pytest.raises(
        ArgumentError, match=r"'mask' of State.reset must have one entry a sequence, 3. Got shape \(1,\)"
    ):
        state.reset(torch.tensor([True]))


def test_select_takes_rows_in_any_order_and_number(state):
    rows = state.select(torch.tensor([2, 0, 2, 2]))
    assert rows.batch_size == 4
    assert torch.equal(rows.c, state.c[:, [2, 0, 2, 2]])


def test_detach_cuts_the_graph_of_derivatives(state):
    grown = sl.State(**{name: t.requires_grad_() * 2 for name, t in state.tensors.items()})
    assert not any(t.requires_grad for t in grown.detach())
    assert all(t.requires_grad for t in grown)


def test_to_casts_and_moves_every_tensor(state):
    assert {t.dtype for t in state.to(torch.float64)} == {torch.float64}
    assert {t.device.type for t in state.to("meta")} == {"meta"}


def test_a_state_keeps_its_order_and_bits_on_disk(state, tmp_path):
    path = str(tmp_path / "state.safetensors")
    turned = sl.State(**{name: t.transpose(0, 1) for name, t in state.tensors.items()})  # not contiguous
    turned.save(path)
    assert_same(sl.State.load(path), turned)


@pytest.mark.parametrize("content", [None, b"", b"not a state"])
def test_a_state_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "state"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=f"The state {path} cannot be read .* must be a file that State.save wrote"):
        sl.State.load(str(path))


def test_a_state_is_a_tree_of_its_tensors(state):
    leaves, spec = pytree.tree_flatten(state)
    assert [leaf.shape for leaf in leaves] == [t.shape for t in state]
    assert_same(pytree.tree_unflatten(leaves, spec), state)
    assert_same(pytree.tree_map(lambda t: t + 1, state), sl.State(h=state.h + 1, c=state.c + 1))
    paths, _ = pytree.tree_flatten_with_path(state)
    assert [pytree.keystr(path) for path, _ in paths] == [".h", ".c"]


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_state_can_be_copied_and_pickled(state, clone):
    assert_same(clone(state), state)
