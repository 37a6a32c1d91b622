"""Whole training steps of the tasks' models: forward, loss, backward, clipping and AdamW, beside the same on torch.nn.

The peer is the same model with torch's recurrent functions and dropout, and torch's cross_entropy of its logits.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile, record_function
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from selfloop import cells
from selfloop.bench.rows import agree
from selfloop.bench.timing import Spread, ratio, spread, take_turns
from selfloop.data.batches import pad
from selfloop.data.text.vocabulary import Vocabulary
from selfloop.errors import SelfloopError
from selfloop.layers.dropout import Dropout
from selfloop.layers.read_out import cross_entropy
from selfloop.models import (
    EncoderDecoder,
    LanguageModel,
    ManyToMany,
    ManyToOne,
    OneToMany,
    TokenEncoder,
    WordEncoder,
)
from selfloop.options.training import TrainingOptions
from selfloop.training.optimizers import make_optimizer, update
from selfloop.training.sparse_gradients import sparse_gradients

TOLERANCE = 1e-3
"""Of the loss and the gradients, relative to their norm."""

PARTS = {
    "kernels": ("_Direct", "_DirectBackward"),
    "readout": ("_CrossEntropy", "_CrossEntropyBackward"),
    "dropout": ("_Dropout", "_DropoutBackward"),
    "optimiser": ("optimiser",),
}
"""The parts of a step, by what torch's profiler calls them; all else is the rest."""

PROFILED = 5
"""Steps in which the parts are told apart."""


Model = Callable[[str], nn.Module]
"""Makes a model whose recurrent layers run on the backend of this name."""


class Batch(NamedTuple):
    """What a step is given.

    Attributes:
        inputs: the arguments of the model.
        tokens: how many are read, or written.
        labels: what is to be found, one after another.
        where: which of the model's answers have a label; None for all.
    """

    inputs: tuple[Any, ...]
    tokens: int
    labels: Tensor
    where: Tensor | None = None


@dataclass(frozen=True)
class StepCase:
    """A model and the shape of its batches.

    Attributes:
        name: how it is called.
        task: the task whose model it is.
        T, B: steps and sequences.
        model: makes it.
        batch: makes a batch of this case.
    """

    name: str
    task: str
    T: int
    B: int
    model: Model
    batch: Callable[["StepCase"], Batch]


@dataclass(frozen=True)
class StepRow:
    """What was measured, or why nothing was.

    Attributes:
        case: what was compared.
        tokens: in a step.
        ours, peer: ms a step.
        ratio: how many times our time the peer takes.
        gflops: what ours reached in matrix products, in GFLOP/s.
        parts: the share of our time that each part takes.
        error: why there are no times.
    """

    case: StepCase
    tokens: int = 0
    ours: Spread | None = None
    peer: Spread | None = None
    ratio: Spread | None = None
    gflops: float | None = None
    parts: Mapping[str, float] | None = None
    error: str | None = None

    def facts(self, peak: float) -> dict[str, Any]:
        """The row as plain values, with the share of the processor's peak in GFLOP/s."""
        spreads = {"ours_ms": self.ours, "peer_ms": self.peer, "ratio": self.ratio}
        case = self.case
        return {
            **{"group": "step", "name": case.name, "task": case.task, "T": case.T, "B": case.B},
            "tokens": self.tokens,
            **{name: known and known._asdict() for name, known in spreads.items()},
            "tokens_per_second": self.ours and self.tokens / self.ours.median * 1e3,
            "gflops": self.gflops,
            "share_of_peak": self.gflops and self.gflops / peak,
            "parts": self.parts,
            "error": self.error,
        }


def measure_step(case: StepCase, rounds: int) -> StepRow:
    """Compare losses and gradients without dropout, then time whole steps in turns, then tell the parts apart."""
    torch.manual_seed(0)
    batch = case.batch(case)
    model, peer = case.model("auto"), _on_torch(case.model("torch"))
    peer.load_state_dict(model.state_dict())
    try:
        agree(lambda: _answers(model, batch, _own_loss), lambda: _answers(peer, batch, _torch_loss), TOLERANCE)
    except SelfloopError as error:
        return StepRow(case, error=str(error))
    flops = _flops(case, batch)
    with sparse_gradients(model):
        steps = _step(model.train(), batch, _own_loss), _step(peer.train(), batch, _torch_loss)
        ours, theirs = take_turns(steps, rounds)
        parts = _parts(steps[0])
    own = spread(ours)
    gflops = flops / own.median / 1e6
    return StepRow(case, batch.tokens, own, spread(theirs), ratio(ours, theirs), gflops, parts)


Loss = Callable[[nn.Module, Batch], Tensor]


def _own_loss(model: nn.Module, batch: Batch) -> Tensor:
    return _first(model(*batch.inputs, loss=cross_entropy(batch.labels, batch.where)))


def _torch_loss(model: nn.Module, batch: Batch) -> Tensor:
    logits = _first(model(*batch.inputs))
    logits = logits.flatten(0, -2) if batch.where is None else logits[batch.where]
    return F.cross_entropy(logits, batch.labels.flatten())


def _first(found: Any) -> Tensor:
    answer: Tensor = found[0] if isinstance(found, tuple) else found
    return answer


def _answers(model: nn.Module, batch: Batch, loss_of: Loss) -> dict[str, Tensor]:
    """The loss and its gradients, without dropout."""
    loss, names = loss_of(model.eval(), batch), dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, [*names.values()], allow_unused=True, materialize_grads=True)
    return {"y": loss.detach(), **dict(zip(names, gradients, strict=True))}


def _on_torch(model: nn.Module) -> nn.Module:
    """The model with torch's dropout in the place of ours."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, Dropout):
                setattr(module, name, nn.Dropout(child.p))
    return model


def _step(model: nn.Module, batch: Batch, loss_of: Loss) -> Callable[[], object]:
    """A step of training, as the loop makes it."""
    optimizer = make_optimizer(model, TrainingOptions())

    def step() -> float:
        loss = loss_of(model, batch)
        loss.backward()
        with record_function("optimiser"):
            update(optimizer, most=1.0)
        return loss.item()

    return step


def _flops(case: StepCase, batch: Batch) -> int:
    """Of all matrix products of a step, forward and backward, counted where each is one of torch's operations."""
    with FlopCounterMode(display=False) as counter:
        _torch_loss(case.model("interpret"), batch).backward()
    return int(counter.get_total_flops())


def _parts(step: Callable[[], object]) -> dict[str, float]:
    """The share of the time that each part takes."""
    with _silent_errors(), profile(use_kineto=False) as found:
        start = time.perf_counter()
        for _ in range(PROFILED):
            step()
        whole = 1e6 * (time.perf_counter() - start)
    events = {event.key: event for event in found.key_averages()}
    parts = {}
    for part, names in PARTS.items():
        taken = sum(events[name].cpu_time_total for name in names if name in events)
        parts[part] = taken / whole
    return {**parts, "rest": 1 - sum(parts.values())}


@contextmanager
def _silent_errors() -> Iterator[None]:
    """Without what libraries write to the process's standard error: torch's profiler says when it starts and stops."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# The cases


def _text(vocabulary: int) -> Callable[[StepCase], Batch]:
    def batch(case: StepCase) -> Batch:
        tokens = torch.randint(0, vocabulary, (case.T + 1, case.B))
        return Batch((tokens[:-1],), case.T * case.B, tokens[1:])

    return batch


def _language_model(vocabulary: int, embedding_size: int, hidden_size: int, dropout: float) -> Model:
    return lambda backend: LanguageModel(
        vocabulary,
        cells.lstm,
        embedding_size=embedding_size,
        hidden_size=hidden_size,
        input_dropout=dropout,
        output_dropout=dropout,
        backend=backend,
    )


def _lengths(case: StepCase) -> Tensor:
    """Spread evenly over 20 to 100 % of T."""
    return torch.linspace(0.2 * case.T, case.T, case.B).round().clamp(min=1).long()


LABELS, WORDS = 17, 6500
"""Tags and words of UD English EWT, nearly."""


def _labeller(backend: str) -> nn.Module:
    options: dict[str, Any] = {"bidirectional": True, "input_dropout": 0.3, "output_dropout": 0.3, "backend": backend}
    return ManyToMany(WordEncoder(WORDS, 128), cells.lstm, LABELS, hidden_size=128, **options)


def _sentences(case: StepCase) -> Batch:
    """Words that are spelt at random, the frequent ones as often as in texts (Zipf)."""
    draw, lengths = random.Random(0), _lengths(case)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 11))) for _ in range(WORDS - 1)]
    vocabulary = Vocabulary(("<unk>", *sorted({*words})))
    weights = [1 / rank for rank in range(1, 1 + len(words))]
    rows, _ = pad([vocabulary.encode(draw.choices(words, weights, k=n)) for n in lengths.tolist()])
    where = torch.arange(case.T)[:, None] < lengths
    tokens = int(lengths.sum())
    return Batch((rows, None, lengths), tokens, torch.randint(0, LABELS, (tokens,)), where)


def _classifier(backend: str) -> nn.Module:
    options: dict[str, Any] = {"input_dropout": 0.5, "output_dropout": 0.5, "backend": backend}
    return ManyToOne(TokenEncoder(WORDS, 64), cells.lstm, 5, hidden_size=128, pooling="mean", **options)


def _texts(case: StepCase) -> Batch:
    lengths = _lengths(case)
    inputs = torch.randint(0, WORDS, (case.T, case.B)), lengths
    return Batch(inputs, int(lengths.sum()), torch.randint(0, 5, (case.B,)))


PIECES = 8000
"""Of words, in the vocabularies of translation and of captions."""


def _translator(backend: str) -> nn.Module:
    options: dict[str, Any] = {"tied": True, "input_dropout": 0.3, "output_dropout": 0.3, "backend": backend}
    return EncoderDecoder(PIECES, PIECES, cells.lstm, embedding_size=128, hidden_size=256, **options)


def _pairs(case: StepCase) -> Batch:
    source, target = (torch.randint(0, PIECES, (case.T, case.B)) for _ in range(2))
    lengths = _lengths(case)
    where = torch.arange(case.T)[:, None] < lengths
    tokens = int(lengths.sum())
    return Batch((source, target, lengths, lengths), tokens, torch.randint(0, PIECES, (tokens,)), where)


def _captioner(backend: str) -> nn.Module:
    options: dict[str, Any] = {"condition": "attend", "output_dropout": 0.5, "backend": backend}
    return OneToMany(512, PIECES, cells.lstm, embedding_size=256, hidden_size=512, **options)


def _images(case: StepCase) -> Batch:
    grid, target = torch.randn(49, case.B, 512), torch.randint(0, PIECES, (case.T, case.B))
    return Batch((grid, target), case.T * case.B, torch.randint(0, PIECES, (case.T, case.B)))


STEPS = (
    StepCase("characters, 1 × 512", "lm", 64, 32, _language_model(65, 128, 512, 0.1), _text(65)),
    StepCase("characters, 1 × 256", "lm", 64, 32, _language_model(65, 128, 256, 0.1), _text(65)),
    StepCase("characters, 1 × 128", "lm", 64, 32, _language_model(65, 128, 128, 0.1), _text(65)),
    StepCase("10,000 words, 1 × 650", "lm", 35, 20, _language_model(10_000, 650, 650, 0.5), _text(10_000)),
    StepCase("tags of words, 2 × 128", "label", 30, 32, _labeller, _sentences),
    StepCase("sentences, 1 × 128", "classify", 40, 32, _classifier, _texts),
    StepCase("8,000 pieces, 256", "translate", 24, 64, _translator, _pairs),
    StepCase("49 places, 1 × 512", "caption", 14, 64, _captioner, _images),
)
"""Every case, in the order in which they run."""
