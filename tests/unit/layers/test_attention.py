import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from selfloop.errors import ArgumentError
from selfloop.layers import Attention

KINDS = ("dot", "general", "additive")


def make(kind, Q=4, M=4, **options):
    torch.manual_seed(3)
    return Attention(Q, M, kind, **options).double()


def score(attention, q, m):
    """As the papers write it, of one query and one step of the memory."""
    if attention.kind == "dot":
        return q @ m
    if attention.kind == "general":
        return q @ attention.key.weight @ m
    v = attention.energy.weight[0]
    return v @ torch.tanh(attention.query.weight @ q + attention.key.weight @ m)


def in_a_loop(attention, queries, memory, lengths):
    T, B, _ = queries.shape
    context, weights = queries.new_zeros(T, B, memory.shape[2]), queries.new_zeros(T, B, len(memory))
    for t in range(T):
        for b in range(B):
            if lengths[b]:
                scores = [score(attention, queries[t, b], memory[s, b]) for s in range(lengths[b])]
                weights[t, b, : lengths[b]] = torch.stack(scores).softmax(0)
                context[t, b] = sum(w * m for w, m in zip(weights[t, b], memory[: lengths[b], b], strict=False))
    return context, weights


# ------------------------------------------------------------------------------------------------ what it computes


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), T=st.integers(0, 3), B=st.integers(0, 3), S=st.integers(0, 4), M=st.integers(1, 3))
def test_it_is_the_papers_formula_at_each_step(kind, data, T, B, S, M):
    lengths = data.draw(st.lists(st.integers(0, S), min_size=B, max_size=B))
    Q = M if kind == "dot" else data.draw(st.integers(1, 3))
    attention = make(kind, Q, M)
    queries, memory = torch.randn(T, B, Q).double(), torch.randn(S, B, M).double()
    context, weights = attention(queries, memory, lengths)
    expected = in_a_loop(attention, queries, memory, lengths)
    torch.testing.assert_close((context, weights), expected)


def test_dot_is_torchs_attention_unscaled():
    queries, memory = torch.randn(5, 3, 8), torch.randn(7, 3, 8)
    lengths = torch.tensor([7, 2, 5])
    context, _ = Attention(8, 8, "dot")(queries, memory, lengths)
    q, m = queries.transpose(0, 1), memory.transpose(0, 1)
    mask = (torch.arange(7) < lengths[:, None])[:, None]
    expected = scaled_dot_product_attention(q, m, m, attn_mask=mask, scale=1.0).transpose(0, 1)
    torch.testing.assert_close(context, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    attention = make(kind, 3, 3)
    queries = torch.randn(2, 3, 3).double().requires_grad_()
    memory = torch.randn(4, 3, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda q, m: attention(q, m, [4, 2, 0]), (queries, memory))


def test_the_size_inside_an_additive_score_is_free():
    attention = make("additive", 4, 6, size=9)
    assert attention.query.weight.shape == (9, 4)
    assert attention.key.weight.shape == (9, 6)


# ------------------------------------------------------------------------------------------------ lengths


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filling", [torch.nan, torch.inf, 1e30])
def test_what_lies_beyond_a_memorys_end_changes_nothing_and_gets_no_gradient(kind, filling):
    attention, lengths = make(kind), [5, 2, 0]
    beyond = torch.arange(5)[:, None] >= torch.tensor(lengths)
    clean = torch.randn(5, 3, 4).double()
    memory = clean.masked_fill(beyond[..., None], filling).requires_grad_()
    queries = torch.randn(2, 3, 4).double().requires_grad_()
    context, weights = attention(queries, memory, lengths)
    torch.testing.assert_close((context, weights), attention(queries, clean, lengths))
    (context.square().sum() + weights.square().sum()).backward()
    assert all(g.isfinite().all() for g in (queries.grad, memory.grad, *(p.grad for p in attention.parameters())))
    assert not memory.grad[beyond].any()
    assert memory.grad[~beyond].all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_without_a_step_gives_zeros_and_no_nan(kind):
    context, weights = make(kind)(torch.randn(2, 2, 4).double(), torch.randn(3, 2, 4).double(), [3, 0])
    assert not context[:, 1].any()
    assert not weights[:, 1].any()
    torch.testing.assert_close(weights.sum(-1), torch.tensor([[1.0, 0.0]] * 2).double())


# ------------------------------------------------------------------------------------------------ rows of a memory


@pytest.mark.parametrize("kind", KINDS)
@given(rows=st.lists(st.integers(0, 2), max_size=7), again=st.lists(st.integers(0, 99), max_size=6))
def test_selected_rows_attend_to_their_own_memory(kind, rows, again):
    attention, lengths = make(kind), torch.tensor([4, 2, 3])
    memory = torch.randn(4, 3, 4).double()
    again = [row % len(rows) for row in again] if rows else []
    chosen = attention.remember(memory, lengths).select(torch.tensor(rows, dtype=torch.long))
    for known, own in (
        (chosen, rows),
        (chosen.select(torch.tensor(again, dtype=torch.long)), [rows[i] for i in again]),
    ):
        queries = torch.randn(2, len(own), 4).double()
        assert known.batch_size == len(own)
        torch.testing.assert_close(attention.attend(queries, known), attention(queries, memory[:, own], lengths[own]))


def test_beams_of_each_memory_share_it_without_a_copy():
    memory = make("general").remember(torch.randn(4, 3, 4).double(), [4, 2, 3])
    beams = memory.select(torch.arange(3).repeat_interleave(5))
    survivors = beams.select(torch.tensor([4, 4, 0, 1, 2, 5, 5, 5, 9, 6, 10, 14, 13, 11, 11]))
    assert survivors.batch_size == 15
    assert survivors.values is memory.values
    assert survivors.keys is memory.keys
    assert beams.select(torch.tensor([0, 14])).values is not memory.values
    fewer = beams.select(torch.tensor([4, 1, 2, 0, 0, 11, 10, 10, 12, 14]))  # a memory that none reads any more is gone
    assert (fewer.beams, fewer.batch_size) == (5, 10)
    assert torch.equal(fewer.values, memory.values[:, [0, 2]])


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "dott"}, r"The 'kind' of Attention must be one of dot, general, additive. .*did you mean 'dot'\?"),
        ({"query_size": 0}, "The 'query_size' of Attention must be at least 1. Got 0 instead"),
        ({"memory_size": 0}, "The 'memory_size' of Attention must be at least 1. Got 0 instead"),
        ({"kind": "additive", "size": 0}, "The 'size' of Attention must be at least 1. Got 0 instead"),
        ({"memory_size": 5}, "must be equal for kind='dot'. Got 4 and 5 instead; kind='general' takes any sizes"),
        ({"kind": "general", "size": 3}, "The 'size' of Attention is that of the score of kind='additive' alone"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Attention(**{"query_size": 4, "memory_size": 4, **arguments})


@pytest.mark.parametrize(
    ("queries", "memory", "lengths", "message"),
    [
        ((2, 3, 5), (6, 3, 4), None, r"The 'queries' of Attention must be of shape \(T, 3, 4\).*Got \(2, 3, 5\)"),
        ((2, 1, 4), (6, 3, 4), None, r"The 'queries' of Attention must be of shape \(T, 3, 4\).*Got \(2, 1, 4\)"),
        ((3, 4), (6, 3, 4), None, r"The 'queries' of Attention must be of shape \(T, 3, 4\)"),
        ((2, 3, 4), (6, 3, 5), None, r"The 'memory' of Attention must be of shape \(S, B, 4\).*Got \(6, 3, 5\)"),
        ((2, 3, 4), (6, 4), None, r"The 'memory' of Attention must be of shape \(S, B, 4\)"),
        ((2, 3, 4), (6, 3, 4), [6, 6], "The 'lengths' of Attention must have one entry a sequence, 3"),
        ((2, 3, 4), (6, 3, 4), [6, 7, 1], "The 'lengths' of Attention must lie between 0 and 6"),
    ],
)
def test_what_it_is_called_with_is_checked(queries, memory, lengths, message):
    with pytest.raises(ArgumentError, match=message):
        Attention(4, 4)(torch.zeros(queries), torch.zeros(memory), lengths)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_finite(kind):
    attention = Attention(4, 4, kind).bfloat16()
    context, weights = attention(torch.randn(2, 2, 4).bfloat16(), torch.randn(3, 2, 4).bfloat16(), [3, 0])
    assert context.dtype == weights.dtype == torch.bfloat16
    assert context.isfinite().all()
    assert context[:, 0].any()
