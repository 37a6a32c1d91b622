"""A trained language model with its tokenizer: writes text, and scores it."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from selfloop.data import Corpus, Streams, Text, Tokenizer, read_corpus, read_text, tokenize
from selfloop.data.batches import Report
from selfloop.data.examples import BadItems, Examples
from selfloop.data.text.streaming import read_streamed
from selfloop.decoding import Hypothesis, Sampling, beam_search, generate
from selfloop.errors import ArgumentError, DataError
from selfloop.language import Cell
from selfloop.layers import State
from selfloop.models import LanguageModel
from selfloop.options.lm import LanguageModelConfig, LanguageModelOptions
from selfloop.tasks.lm.score import Score, evaluation_streams, score
from selfloop.tasks.predictor import Generates, Inspectable, Predictor
from selfloop.tasks.reading import reading, table_format
from selfloop.tasks.run_config import load_tokenizer
from selfloop.tasks.score import Score as TaskScore
from selfloop.tasks.watched import Watched, check_steps, facts_of_texts
from selfloop.training import Run
from selfloop.world import ALONE

WATCHED, JUDGED = 64, 32
"""Places of a text that are looked at, and the tokens of each whose loss is."""

MOST_TOKENS = 1_000_000
"""Tokens of a text, the first ones, that these places are in: what is known of each is found one by one."""

SAMPLE_TOKENS = 300
"""How long the text is that is shown at the end of training."""


class TextModel(Predictor[LanguageModel, Tokenizer, LanguageModelConfig, Text], Generates, Inspectable):
    """A language model that was trained on text.

    Attributes:
        model: the network, in evaluation mode.
        inputs: the tokenizer, between text and tokens.
        config: what was chosen when it was trained.
    """

    @classmethod
    def load_inputs(cls, run: Run, config: LanguageModelConfig, encoder: str | None) -> Tokenizer:
        """The tokenizer."""
        return load_tokenizer(run)

    @classmethod
    def build(cls, options: LanguageModelOptions, inputs: Tokenizer, cell: Cell) -> LanguageModel:
        """The network, with fresh weights."""
        return LanguageModel(inputs.vocab_size, cell, **options.model_dump(exclude={"cell"}))

    @classmethod
    def read_dataset(cls, config: LanguageModelConfig, bad: BadItems) -> Corpus:
        """The corpus of a configuration."""
        data, valid, test = config.data, config.data.valid, config.data.test
        if data.streaming:
            assert data.source is not None  # the configuration says so
            how = reading(data, bad)
            return read_streamed(data.source, how, valid=valid, test=test, valid_examples=data.valid_examples)
        options = data.model_dump(include={"column", "valid_fraction", "encoding"})
        return read_corpus(data.source, valid=valid, test=test, **options, format=table_format(data), bad=bad)

    def read_known(self, source: str, column: str | None, bad: BadItems) -> Text:
        """A text."""
        data = self.config.data
        return read_text(source, column=column or data.column, encoding=data.encoding, format=table_format(data))

    def knows(self) -> str:
        """The tokens."""
        return f"{self.tokenizer.vocab_size:,} types of tokens ({self.tokenizer.kind})"

    @property
    def tokenizer(self) -> Tokenizer:
        """Between text and tokens."""
        return self.inputs

    def write(
        self,
        prompts: Sequence[str] = ("",),
        *,
        max_tokens: int = 500,
        sampling: Sampling = Sampling(),
        seed: int | None = None,
    ) -> list[str]:
        """Continue each prompt, all in one batch.

        Args:
            prompts: beginnings, which may be empty.
            max_tokens: how many tokens to write.
            sampling: how they are drawn.
            seed: at least 0; the same seed gives the same text, None draws anew.

        Returns:
            The continuations, without the prompts. A prompt and its continuation, joined, are the text.

        Raises:
            ArgumentError: there is no prompt, or one is not text; or the seed is out of its range.
        """
        rows = [tokens for tokens, _ in self._draw(prompts, max_tokens, sampling, seed)]
        columns = torch.stack(rows).T.tolist() if rows else [[] for _ in prompts]
        return ["".join(self._after(prompt, column)) for prompt, column in zip(prompts, columns, strict=True)]

    def stream(
        self, prompt: str = "", *, max_tokens: int = 500, sampling: Sampling = Sampling(), seed: int | None = None
    ) -> Iterator[str]:
        """Continue one prompt, and yield the text as it comes."""
        drawn = self._draw([prompt], max_tokens, sampling, seed)
        return self._after(prompt, (int(tokens[0]) for tokens, _ in drawn))

    def search(
        self, prompts: Sequence[str] = ("",), *, max_tokens: int = 100, beam: int = 5
    ) -> list[list[tuple[str, Hypothesis]]]:
        """For each prompt its most probable continuations by beam search, the best first."""
        logits, state = self._read(prompts)
        found = beam_search(self.model, logits, state, max_tokens=max_tokens, beam=beam)
        return [
            [("".join(self._after(prompt, h.tokens)), h) for h in hypotheses]
            for prompt, hypotheses in zip(prompts, found, strict=True)
        ]

    def sample(self) -> Mapping[str, str]:
        """A text that the model writes."""
        (text,) = self.write(max_tokens=SAMPLE_TOKENS, sampling=Sampling(temperature=0.8), seed=1)
        return {"A sample, temperature 0.8:": text.strip("\n")}

    def score(  # type: ignore[override]  # its own parts
        self, text: Text | str, *, sample: int | None = None, report: Report | None = None
    ) -> Score:
        """How well the model predicts a text.

        Args:
            text: a string, or a text of a corpus.
            sample: score about so many tokens, from 32 places of the text side by side; None scores every token once,
                in order, with the state carried through the whole text.
            report: is told the share that is done, from 0 to 1.

        Raises:
            DataError: the text has no token.
        """
        tokens = tokenize(Text.of(text) if isinstance(text, str) else text, self.tokenizer)
        if not len(tokens):
            raise DataError("The text to score has no tokens. Give a text that is not empty.")
        streams = evaluation_streams(tokens, self.tokenizer, 1 if sample is None else 32)
        return score(self.model, streams, tokens, sample, self.tokenizer.unknown_id, report, self.world)

    def scores(
        self,
        parts: Mapping[str, Examples | Text],
        *,
        sample: int | None = None,
        report: Callable[[str, Examples | Text], Report] | None = None,
    ) -> dict[str, TaskScore]:
        """The score of each part, by name; a text is one stream from end to end, so processes share the parts."""
        if sample is not None:
            return super().scores(parts, sample=sample, report=report)
        world, self.world = self.world, ALONE
        mine = dict(world.share(parts.items()))
        found = super().scores(mine, report=report)
        self.world = world
        every = {name: own for each in world.each(found) for name, own in each.items()}
        return {name: every[name] for name in parts}

    @torch.no_grad()
    def watched(self, steps: int, source: str | None = None, *, fresh: bool = False) -> Watched:
        """What the stack reads at up to 64 places of a text, and the losses of the last 32 tokens of each.

        For the rest see `Inspectable.watched`.
        """
        check_steps(steps)
        (text,) = [self.parts()["valid"]] if source is None else self.parts(source).values()
        tokens = tokenize(text, self.tokenizer)
        ids = np.asarray(tokens.ids[:MOST_TOKENS])
        length = steps + JUDGED
        places = min(WATCHED, len(ids) // length)
        if not places:
            raise DataError(
                f"The text has {len(ids):,} tokens, and {length:,} are needed to look at {steps:,} steps. Ask for "
                "fewer steps, or give a longer text."
            )
        streams = Streams(ids, batch_size=places, window=length, start_id=self.tokenizer.start_id)
        inputs, targets = (v.to(self.device) for v in streams.window(0, 0))
        model = self.before_training() if fresh else self.model
        read = np.concatenate([[self.tokenizer.start_id], ids[:-1].astype(np.int64)])
        written = [self.tokenizer.decode([token]) for token in range(self.tokenizer.vocab_size)]
        (known,) = facts_of_texts([[written[token] for token in read]])
        facts = {name: np.array(row) for name, row in known.items()}
        starts = np.arange(places) * streams.steps_per_epoch
        where = np.arange(length)[:, None] + starts
        last = torch.cartesian_prod(torch.arange(places), torch.arange(steps, length))

        def losses(y: Tensor, lengths: Tensor, at: Tensor, rows: Tensor) -> Tensor:
            del lengths
            logits = model.readout(model.projection(y[at, torch.arange(len(at), device=y.device)]))
            sequence, step = last[rows].unbind(1)
            return F.cross_entropy(logits.float(), targets[step, sequence], reduction="none")

        unit = {"char": "character", "word": "word"}.get(self.tokenizer.kind, "token")
        return Watched(
            rnn=model.rnn,
            x=model.embedding(inputs),
            lengths=torch.full((places,), length),
            unit=unit,
            names=[f"the text from {unit} {start + 1:,} on" for start in starts],
            steps=[[written[token] for token in row] for row in inputs.T.tolist()],
            facts={name: values[where] for name, values in facts.items()},
            targets=last,
            losses=losses,
        )

    def _draw(
        self, prompts: Sequence[str], max_tokens: int, sampling: Sampling, seed: int | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        logits, state = self._read(prompts)
        generator = torch.Generator(logits.device)
        if seed is None:
            generator.seed()
        elif 0 <= seed < 2**64:
            generator.manual_seed(seed)
        else:
            raise ArgumentError(f"The 'seed' must be at least 0 and below 2**64. Got {seed} instead.")
        return generate(self.model, logits, state, max_tokens=max_tokens, sampling=sampling, generator=generator)

    def _after(self, prompt: str, tokens: Iterable[int]) -> Iterator[str]:
        """The text of tokens as they go on after a prompt: a word's space comes from one of the two."""
        last = self.tokenizer.encode(prompt)[-1:]
        shown = self.tokenizer.decode(last)
        skip, spaced = len(shown), prompt.endswith(" ") and not shown.endswith(" ")
        for piece in self.tokenizer.stream(itertools.chain(last, tokens)):
            text, skip = piece[skip:], max(0, skip - len(piece))
            if text:
                yield text.removeprefix(" ") if spaced else text
                spaced = False

    @torch.inference_mode()
    def _read(self, prompts: Sequence[str]) -> tuple[Tensor, State]:
        """The logits after each prompt, and the state; the start token stands before every prompt."""
        if isinstance(prompts, str) or not prompts:
            raise ArgumentError(f"The 'prompts' must be a list of at least one text. Got {prompts!r} instead.")
        for prompt in prompts:
            if any("\ud800" <= character <= "\udfff" for character in prompt):  # as of bytes that are not UTF-8
                raise ArgumentError(f"A prompt must be text, in Unicode. Got {prompt!r} instead.")
        rows = [[self.tokenizer.start_id, *self.tokenizer.encode(prompt)] for prompt in prompts]
        lengths = torch.tensor([len(row) for row in rows])
        tokens = torch.zeros(int(lengths.max()), len(rows), dtype=torch.long)
        for column, row in enumerate(rows):
            tokens[: len(row), column] = torch.tensor(row)
        logits, state = self.model(tokens.to(self.device), lengths=lengths.to(self.device))
        return logits[lengths - 1, torch.arange(len(rows))], state
