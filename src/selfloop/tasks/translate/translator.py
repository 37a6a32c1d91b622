"""A trained translator."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from selfloop.data.batches import Report, in_order, pad
from selfloop.data.examples import BadItems, Examples
from selfloop.data.readers.pairs import PairReader
from selfloop.decoding import beam_search
from selfloop.language import Cell
from selfloop.layers.read_out import cross_entropy
from selfloop.metrics import bleu, chrf
from selfloop.models import EncoderDecoder
from selfloop.options.translate import TranslateConfig, TranslatorOptions
from selfloop.tasks.answer import Answer
from selfloop.tasks.given import TEXTS, as_examples
from selfloop.tasks.predictor import FromExamples, Inspectable, ScoresPairs
from selfloop.tasks.reading import bad_items, reading
from selfloop.tasks.score import Alignment, TokenScore
from selfloop.tasks.translate.languages import Languages, Tokens, plain
from selfloop.tasks.translate.score import Score
from selfloop.tasks.watched import Watched, check_steps, of_decoder
from selfloop.training import Run

BATCH = 64
"""Texts in one call; it changes the speed, not the figures."""

WATCHED = 128
"""Texts whose translation is looked at to see what the decoder does."""

ALIGNED = (2, 5, 7, 9)
"""Texts whose attention a score shows: the one that is longer than two tenths of all, and so on."""


@dataclass(frozen=True)
class Translated(Answer):
    """What a translator makes of one text.

    Attributes:
        place: where the text stands.
        source: the text.
        translation: the best that was found.
        log_probability: of it, in nats.
        truth: the translation of the data, as the model reads it, where it is known.
    """

    source: str
    translation: str
    log_probability: float
    truth: str | None = None

    def facts(self) -> dict[str, object]:
        """All of it, for JSON."""
        return {
            **self.example(),
            "source": self.source,
            "translation": self.translation,
            "log_probability": self.log_probability,
        }

    def rows(self) -> list[dict[str, object]]:
        """One row, for CSV."""
        return [{**self.facts(), "log_probability": f"{self.log_probability:.4f}"}]

    def judged_rows(self) -> list[dict[str, object]]:
        """The same row, with the translation of the data, and whether the two are the same."""
        return [{**row, "reference": self.truth, "correct": self.translation == self.truth} for row in self.rows()]

    def line(self) -> str:
        """The translation alone."""
        return self.translation


class Translator(FromExamples[EncoderDecoder, Languages, TranslateConfig, Translated], ScoresPairs, Inspectable):
    """A translator that was trained on pairs of texts.

    Attributes:
        model: the network, in evaluation mode.
        inputs: between texts and tokens.
        config: what was chosen when it was trained.
        shown: texts whose translations `sample` shows.
    """

    shown: Sequence[str] = ()

    @classmethod
    def load_inputs(cls, run: Run, config: TranslateConfig, encoder: str | None) -> Languages:
        """The vocabularies."""
        return Languages.load(run, config.data.shared_vocabulary, config.data.lowercase)

    @classmethod
    def build(cls, options: TranslatorOptions, inputs: Languages, cell: Cell) -> EncoderDecoder:
        """The network, with fresh weights."""
        given = options.model_dump(exclude={"cell", "attention"})
        return EncoderDecoder(
            inputs.source.vocab_size,
            inputs.target.vocab_size,
            cell,
            attention=None if options.attention == "none" else options.attention,
            shared_embedding=options.tied and inputs.shared,
            **given,
        )

    def knows(self) -> str:
        """The tokens to write with."""
        return f"{self.inputs.target.vocab_size:,} types of tokens ({self.inputs.target.kind})"

    @classmethod
    def reader(
        cls, config: TranslateConfig, bad: BadItems, inputs: Languages | None = None, column: str | None = None
    ) -> PairReader:
        """What reads the pairs of a configuration; of a trained model's other sources the target is not known."""
        data = config.data
        targets = {"train": data.target, "valid": data.valid_target, "test": data.test_target}
        return PairReader(reading(data, bad, column), targets if inputs is None else {})

    def predict(
        self,
        examples: Examples | str | Path | Iterable[str | Path],
        *,
        beam: int | None = None,
        length_penalty: float | None = None,
    ) -> list[Translated]:
        """The translation of each text; of one without words, nothing.

        Args:
            examples: a text, which gives a list of one, or several, or what `read` gives. A path, as a `pathlib.Path`,
                stands for the texts of its file.
            beam: the hypotheses kept at each step; None for the run's own, as of the next.
            length_penalty: 0 ranks hypotheses by their probability, more favours longer ones.

        Raises:
            ArgumentError: something is no text, or `beam` is below 1.
        """
        examples = as_examples(examples, replace(TEXTS, unit="text"), partial(self.read, bad=BadItems()))
        return self._translated(examples, beam, length_penalty)

    def lines(self, lines: Iterable[str]) -> Examples:
        """Lines to translate; an empty one stays, so that translations are line by line."""
        lines = list(lines)
        return Examples(lines, [], [f"line {number}" for number in range(1, 1 + len(lines))])

    def parts(
        self,
        source: str | None = None,
        column: str | None = None,
        target: str | None = None,
        *,
        bad: BadItems | None = None,
    ) -> Mapping[str, Examples]:
        """Pairs to score, by name: all of a source, or the run's own validation and test pairs.

        Args:
            source: as in `selfloop train translate`.
            column: of a table, that of the source; None for the run's own.
            target: the file of translations, where the source is one of sentences.
            bad: as of `TrainedModel.parts`.

        Raises:
            DataError: a file cannot be read.
        """
        if source is None or target is None:
            return super().parts(source, column, bad=bad)
        config = self.config
        how = reading(config.data, bad or bad_items(config.data), column)
        return {Path(source).name: PairReader(how, {"train": target}).score(source)}

    def score(  # type: ignore[override]  # its own parts
        self, part: Examples, *, sample: int | None = None, report: Report | None = None
    ) -> Score:
        """How well the model does on texts whose translation is known.

        Args:
            part: the pairs.
            sample: judge pairs of about so many tokens, evenly chosen; None judges all.
            report: is told the share that is done, from 0 to 1.
        """
        targets = self.inputs.written(part.labels)
        tokens = sum(len(target) - 1 for target in targets)
        rows = range(0, len(part), max(1, tokens // sample) if sample else 1)
        part, targets = part.select(rows), [targets[row] for row in rows]
        predictions = self._translated(part, report=report)
        predicted, references = [one.translation for one in predictions], part.labels
        lowercase, tokenizer = self.inputs.lowercase, self.config.decoding.bleu_tokenizer
        by_length = sorted(range(len(part)), key=lambda row: len(part.inputs[row]))
        shown = dict.fromkeys(by_length[len(part) * tenths // 10] for tenths in ALIGNED)
        attends = self.config.model.attention != "none"
        surprise = self.surprise(self.inputs.read(part.inputs), targets)
        return Score(
            surprise.nats,
            surprise.tokens,
            bleu(predicted, references, lowercase=lowercase, tokenize=tokenizer),
            chrf(predicted, references, lowercase=lowercase),
            [self.align(part.inputs[row], predicted[row]) for row in shown] if attends else None,
            predictions=predictions,
        )

    @torch.inference_mode()
    def surprise(self, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> TokenScore:
        """The surprise at the targets' tokens, each given those before it."""
        nats: dict[int, float] = {}
        for rows in self.world.share(in_order([len(target) for target in targets], BATCH)):
            batch = Batch.of([sources[row] for row in rows], [targets[row] for row in rows], self.device)
            nats[int(rows[0])] = float(batch.loss(self.model).double())
        return TokenScore(math.fsum(self.world.joined(nats).values()), sum(len(target) - 1 for target in targets))

    @torch.inference_mode()
    def align(self, source: str, target: str | None = None) -> Alignment:
        """What each token of a translation attends to.

        Args:
            source: the text.
            target: a translation; None for the model's own.

        Raises:
            ArgumentError: the model has no attention.
        """
        target = self.predict([source])[0].translation if target is None else target
        read, written = self.inputs.read([source]), self.inputs.written([target])
        batch = Batch.of(read, written, self.device)
        weights = self.model.attention_weights(batch.inputs[0], batch.inputs[1])[:, 0].float().cpu().numpy()
        inputs = self.inputs
        return Alignment(
            weights,
            inputs.shown(inputs.source, read[0].tolist()),
            inputs.shown(inputs.target, written[0][1:].tolist()),
        )

    @torch.no_grad()
    def watched(self, steps: int, source: str | None = None, *, fresh: bool = False) -> Watched:
        """What the decoder reads while it writes up to 128 of the true translations; see `Inspectable.watched`."""
        check_steps(steps)
        (part,) = [self.parts()["valid"]] if source is None else self.parts(source).values()
        part = part.select(range(0, len(part), -(-len(part) // WATCHED)))
        inputs, model = self.inputs, self.before_training() if fresh else self.model
        written = inputs.written(part.labels)
        read, read_lengths = pad(inputs.read(part.inputs))
        tokens, _ = pad([target[:-1] for target in written])
        targets, _ = pad([target[1:] for target in written])
        state = model.encode(read.to(self.device), None if read_lengths is None else read_lengths.to(self.device))
        return of_decoder(
            model.decoder,
            state,
            tokens.to(self.device),
            targets.long().to(self.device),
            torch.tensor([len(target) - 1 for target in written]),
            part.places,
            lambda token: inputs.target.decode([token]) if token != inputs.start_id else "",
        )

    def sample(self) -> Mapping[str, str]:
        """A few held-out texts and their translations."""
        found = self.predict(self.shown)
        return (
            {"From the held-out texts:": "\n".join(f"{f.source}\n  → {f.translation}" for f in found)} if found else {}
        )

    def _translated(
        self,
        examples: Examples,
        beam: int | None = None,
        length_penalty: float | None = None,
        report: Report | None = None,
    ) -> list[Translated]:
        """The translation of each text; of one without words, nothing."""
        rows = [row for row, text in enumerate(examples.inputs) if text.strip()]
        found = self._search([examples.inputs[row] for row in rows], beam, length_penalty, report)
        by_row = dict(zip(rows, found, strict=True))
        truths = [text and plain(text, self.inputs.lowercase) for text in examples.labels or [None] * len(examples)]
        return [
            Translated(place, text, *by_row.get(row, ("", 0.0)), truth)
            for row, (place, text, truth) in enumerate(zip(examples.places, examples.inputs, truths, strict=True))
        ]

    @torch.inference_mode()
    def _search(
        self, texts: Sequence[str], beam: int | None, length_penalty: float | None, report: Report | None
    ) -> list[tuple[str, float]]:
        """The translation of each text, and its log-probability."""
        options, sources = self.config.decoding, self.inputs.read(texts)
        found: dict[int, tuple[str, float]] = {}
        for rows in self.world.share(in_order([len(source) for source in sources], BATCH, report)):
            batch, lengths = pad([sources[row] for row in rows])
            state = self.model.encode(batch.to(self.device), None if lengths is None else lengths.to(self.device))
            start = torch.full((len(rows),), self.inputs.start_id, device=self.device)
            hypotheses = beam_search(
                self.model,
                *self.model.step(start, state),
                max_tokens=self.config.data.max_length,
                beam=options.beam if beam is None else beam,
                length_penalty=options.length_penalty if length_penalty is None else length_penalty,
                end=self.inputs.start_id,
            )
            for row, (best, *_) in zip(rows.tolist(), hypotheses, strict=True):
                found[row] = self.inputs.text(best.tokens), best.log_probability
        found = self.world.joined(found)
        return [found[row] for row in range(len(texts))]


@dataclass(frozen=True)
class Batch:
    """Pairs side by side, as the model reads them.

    Attributes:
        inputs: the source, the target up to each step, and how long both are: the arguments of the model.
        valid: which steps of the target there are.
        truth: the tokens after these steps.
    """

    inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]
    valid: torch.Tensor
    truth: torch.Tensor

    @classmethod
    def of(cls, sources: Sequence[Tokens], targets: Sequence[Tokens], device: torch.device) -> "Batch":
        """A batch; of each target all tokens but the last are read, and all but the first are to be found."""
        source, source_lengths = pad(sources)
        target, lengths = pad(targets)
        steps = torch.tensor([len(t) - 1 for t in targets])
        valid = torch.arange(len(target) - 1)[:, None] < steps
        tensors = (source, target[:-1], source_lengths, None if lengths is None else steps)
        moved = tuple(None if t is None else t.to(device) for t in tensors)
        return cls(moved, valid.to(device), target[1:][valid].long().to(device))  # type: ignore[arg-type]

    def loss(self, model: nn.Module, label_smoothing: float = 0.0, divisor: float = 1.0) -> torch.Tensor:
        """The sum of the cross-entropies at all steps, each given the true tokens before it (teacher forcing)."""
        loss = cross_entropy(self.truth, label_smoothing=label_smoothing, divisor=divisor)
        total: torch.Tensor = model(*self.inputs, where=self.valid, loss=loss)
        return total
