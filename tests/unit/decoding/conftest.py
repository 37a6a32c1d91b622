import itertools
import math
from collections.abc import Mapping, Sequence

import pytest
import torch

from selfloop.layers import State


class Tree:
    """A step model whose answers can be read off a table: the probabilities of the next token after each history.

    The state is the number of the history, a heap's: so a state that goes with the wrong tokens gives wrong answers.
    A history that the table lacks gives every token the same probability.
    """

    def __init__(self, table: Mapping[tuple[int, ...], Sequence[float]]) -> None:
        self.table = table
        self.vocabulary = len(table[()])
        self.rows = max(self._number(history) for history in table) + 2
        self.log_p = torch.full((self.rows, self.vocabulary), 1 / self.vocabulary, dtype=torch.float64)
        for history, probabilities in table.items():
            self.log_p[self._number(history)] = torch.tensor(probabilities, dtype=torch.float64)
        self.log_p = self.log_p.log()
        self.steps = 0
        self.stepped: list[int] = []  # the rows of each step
        self.inference: list[bool] = []  # whether each step ran in inference mode

    def after(self, *prompts: Sequence[int]) -> tuple[torch.Tensor, State]:
        """What decoding starts with."""
        return self._answer(torch.tensor([float(self._number(prompt)) for prompt in prompts], dtype=torch.float64))

    def step(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        self.steps += 1
        self.stepped.append(len(tokens))
        self.inference.append(torch.is_inference_mode_enabled())
        return self._answer(state.history[0, :, 0] * self.vocabulary + tokens + 1)

    def log_probability(self, tokens: Sequence[int], prompt: Sequence[int] = ()) -> float:
        """By the chain rule."""
        known = [*prompt]
        total = 0.0
        for token in tokens:
            total += float(self.log_p[min(self._number(known), self.rows - 1), token])
            known.append(token)
        return total

    def sequences(self, length: int, end: int | None = None) -> dict[tuple[int, ...], float]:
        """Every sequence that decoding can give, the end token included, with its log-probability."""
        found = {}
        for tokens in itertools.product(range(self.vocabulary), repeat=length):
            if end in tokens:
                tokens = tokens[: tokens.index(end) + 1]  # noqa: PLW2901
            found[tokens] = self.log_probability(tokens)
        return {tokens: log_p for tokens, log_p in found.items() if log_p > -math.inf}

    def _number(self, history: Sequence[int]) -> int:
        number = 0
        for token in history:
            number = number * self.vocabulary + token + 1
        return number

    def _answer(self, history: torch.Tensor) -> tuple[torch.Tensor, State]:
        rows = history.clamp(max=self.rows - 1).long()
        return self.log_p[rows], State(history=history[None, :, None])


@pytest.fixture(scope="session")
def tree() -> type[Tree]:
    return Tree


@pytest.fixture(scope="session")
def random_tree():
    """Makes a tree of random probabilities, all histories below a length in it."""

    def make(seed: int, vocabulary: int, length: int, sharpness: float = 2.0) -> Tree:
        draw = torch.Generator().manual_seed(seed)
        histories = itertools.chain.from_iterable(itertools.product(range(vocabulary), repeat=n) for n in range(length))
        return Tree(
            {
                history: (torch.randn(vocabulary, generator=draw).double() * sharpness).softmax(0).tolist()
                for history in histories
            }
        )

    return make
