"""Sequences that a trained stack reads, with what is known of each step: what `selfloop inspect` looks at."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from selfloop.errors import ArgumentError
from selfloop.layers import Recurrent, State
from selfloop.models.decoder import Decoder, DecoderState

Facts = Mapping[str, npt.NDArray[np.float64]]
"""What is true of each step, by name, (T, B): zeros and ones, or numbers; NaN where nothing is known."""

Losses = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""The loss of each of N targets (N,): of the stack's outputs (L, N, H), the lengths of these N sequences, the step in
each where the target stands, and the indices of the targets."""

QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»"}
"""Marks that begin a quotation, and those that end it."""

BRACKETS = {"(": ")", "[": "]", "{": "}"}

CLASSES = 12
"""Classes that are facts of the steps; the rest are rare."""

LONGEST = 16
"""Sequences that the gradient runs back through, which takes the memory of every step."""


@dataclass(frozen=True, eq=False)
class Watched:
    """Sequences as a recurrent stack reads them.

    Attributes:
        rnn: the stack.
        x: what it reads, (T, B, I).
        lengths: the steps of each sequence, (B,).
        unit: what a step is, in the singular: ``"character"``, ``"word"``, ``"token"``, ``"frame"``, ``"step"``.
        names: of the sequences.
        steps: for each sequence the text of its steps; none where they are numbers.
        facts: what is true of each step.
        targets: (N, 2), the sequence and the step of each loss.
        losses: the loss of each target; None where the stack's outputs alone do not make it.
        start: the state that it starts from; zeros if None.
        loss_unit: what the loss is counted in: ``"nats"``, or ``"squared error"``.
    """

    rnn: Recurrent
    x: Float[Tensor, "T B I"]
    lengths: Int[Tensor, " B"]
    unit: str
    names: Sequence[str]
    steps: Sequence[Sequence[str]] = ()
    facts: Facts = field(default_factory=dict)
    targets: Int[Tensor, "N 2"] = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.long))
    losses: Losses | None = None
    start: State | None = None
    loss_unit: str = "nats"

    def longest(self, steps: int) -> "Watched":
        """The longest sequences, 16 at the most, cut to so many steps; without what is known of them."""
        rows = self.lengths.sort(descending=True, stable=True).indices[:LONGEST]
        lengths = self.lengths[rows].clamp(max=steps)
        return replace(
            self,
            x=self.x[: int(lengths.max()), rows.to(self.x.device)],
            lengths=lengths,
            names=[self.names[row] for row in rows.tolist()],
            steps=[self.steps[row][:steps] for row in rows.tolist()] if self.steps else [],
            facts={},
            targets=self.targets[:0],
            losses=None,
            start=None if self.start is None else self.start.select(rows),
        )


def check_steps(steps: int) -> None:
    """Raise ArgumentError where there is no such number of steps to look at."""
    if steps < 1:
        raise ArgumentError(f"The 'steps' to look at must be at least 1. Got {steps} instead.")


def of_decoder(
    decoder: Decoder,
    state: DecoderState,
    tokens: Int[Tensor, "T B"],
    targets: Int[Tensor, "T B"],
    lengths: Int[Tensor, " B"],
    names: Sequence[str],
    written: Callable[[int], str],
) -> Watched:
    """What a decoder reads while it is told the true tokens, and the loss of each of the next ones.

    Args:
        decoder: in evaluation mode.
        state: where it starts.
        tokens: what it is told, with the start token first.
        targets: the token after each.
        lengths: of the sequences.
        names: of the sequences.
        written: the text of a token.
    """
    steps = [[written(token) for token in row[:n]] for row, n in zip(tokens.T.tolist(), lengths.tolist(), strict=True)]
    rows = [
        {**facts, "step": [*range(len(row))], "steps left": [*range(len(row))][::-1]}
        for row, facts in zip(steps, facts_of_texts(steps), strict=True)
    ]
    there = torch.arange(len(tokens))[:, None] < lengths
    judged = there.T.nonzero()

    def losses(y: Tensor, lengths: Tensor, at: Tensor, rows: Tensor) -> Tensor:
        del lengths
        sequence, step = judged[rows].unbind(1)
        memory = None if state.memory is None else state.memory.select(sequence)
        read, _ = decoder.attend(y[at, torch.arange(len(at), device=y.device)][None], memory)
        return F.cross_entropy(decoder.readout(read[0]).float(), targets[step, sequence], reduction="none")

    return Watched(
        rnn=decoder.rnn,
        x=decoder.vectors(tokens, state, lengths),
        lengths=lengths,
        unit="token",
        names=names,
        steps=steps,
        facts=side_by_side(rows, len(tokens)),
        targets=judged,
        losses=None if decoder.input_feeding else losses,
        start=state.recurrent,
    )


def text_facts(tokens: Iterable[str]) -> dict[str, list[float]]:
    """What is true of each token of a text, after its last character.

    A quotation that is not closed ends with its paragraph, and so do brackets. The position in the line, and in the
    word, is a number of characters; all others are 0 or 1.

    >>> facts = text_facts('"Oh" (3)')
    >>> facts["inside quotes"]
    [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    >>> facts["position in the word"]
    [0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    """
    names = ("inside quotes", "inside brackets", "position in the line", "position in the word", "upper case", "digit")
    found: dict[str, list[float]] = {name: [] for name in names}
    closing, brackets, column, word, before = "", list[str](), 0, 0, ""
    for token in tokens:
        for character in token:
            if character == "\n":
                column = 0
                if before == "\n":
                    closing = ""
                    brackets.clear()
            else:
                column += 1
            if not closing:
                closing = QUOTES.get(character, "")
            elif character == closing:
                closing = ""
            if character in BRACKETS:
                brackets.append(BRACKETS[character])
            elif brackets and character == brackets[-1]:
                brackets.pop()
            word = word + 1 if character.isalnum() else 0
            before = character
        values = (bool(closing), bool(brackets), column, word, before.isupper(), before.isdigit())
        for name, value in zip(names, values, strict=True):
            found[name].append(float(value))
    return found


def facts_of_texts(texts: Sequence[Sequence[str]]) -> list[dict[str, list[float]]]:
    """What is true of each token of some texts, whose tokens are characters, parts of words or words.

    Words have spaces between them, and no position in themselves. There is no position in the line where no line ends.

    >>> [sorted(facts) for facts in facts_of_texts([["Oh", "no"]])]
    [['digit', 'inside brackets', 'inside quotes', 'upper case']]
    """
    tokens = {token for text in texts for token in text}
    are_words = any(len(token) > 1 for token in tokens) and not any(token[:1].isspace() for token in tokens - {"\n"})
    left_out = {
        *(() if any("\n" in token for token in tokens) else ("position in the line",)),
        *(("position in the word",) if are_words else ()),
    }
    found = (text_facts(f" {token}" for token in text) if are_words else text_facts(text) for text in texts)
    return [{name: values for name, values in facts.items() if name not in left_out} for facts in found]


def side_by_side(rows: Sequence[Mapping[str, Sequence[float]]], steps: int) -> dict[str, npt.NDArray[np.float64]]:
    """Facts of sequences as (T, B), NaN beyond a sequence's end and where it has no such fact."""
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: np.full((steps, len(rows)), np.nan) for name in names}
    for number, row in enumerate(rows):
        for name, values in row.items():
            found[name][: len(values), number] = values[:steps]
    return found


def class_facts(names: Sequence[str | None], of: str, most: int) -> dict[str, npt.NDArray[np.float64]]:
    """For each of the most frequent classes, whether it is that of an entry; NaN where the class is not known.

    >>> class_facts(["a", None, "b"], "class", 1)
    {'class a': array([ 1., nan,  0.])}
    """
    known = [name for name in names if name is not None]
    frequent = sorted(dict.fromkeys(known), key=known.count, reverse=True)[:most]
    return {
        f"{of} {name}": np.array([np.nan if one is None else float(one == name) for one in names]) for name in frequent
    }
