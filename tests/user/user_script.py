"""What a user writes with selfloop: mypy --strict and pyright in strict mode find no fault in it, and it runs.

It trains three small models for a few updates, in the folder that it is started in.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import assert_type

import selfloop as sl
from selfloop import Matrix, Vector, param, sigmoid, split, tanh
from selfloop.decoding import Sampling
from selfloop.errors import RunError
from selfloop.inspect import draw_gradient_flow, gradient_flow_of

REVIEWS = "text,label\n" + "a good day,good\nan evil day,bad\n" * 30
SENTENCES = "the\tDET\ncat\tNOUN\nsat\tVERB\n\na\tDET\ndog\tNOUN\nran\tVERB\n\n" * 20
SMALL = {"hidden_size": 8}


@sl.cell
def peephole(
    x: Vector,
    h: Vector,
    c: Vector,
    *,
    W: Matrix = param("4h x"),
    U: Matrix = param("4h h"),
    b: Vector = param("4h", init=(0, 1, 0, 0)),
    p: Vector = param("h"),
) -> tuple[Vector, Vector]:
    """A gate that sees the state before it."""
    i, f, g, o = split(W @ x + U @ h + b, 4)
    c = sigmoid(f + p * c) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h, c


@sl.cell
def leaky(x: Vector, h: Vector, *, W: Matrix = param("h x"), rate: sl.Scalar = param("", init=0.9)) -> Vector:
    """A state that decays by one learnt number."""
    return rate * h + W @ x


class Watcher:
    """Stops a run after its first validation."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def reported(self, report: Mapping[str, float]) -> None:
        """Nothing is shown."""

    def validated(self, metrics: Mapping[str, float], best: bool) -> None:
        """Remember how it went."""
        self.losses.append(metrics["loss"])

    def stop(self) -> bool:
        """After one."""
        return len(self.losses) == 1


def classify(table: Path) -> float:
    """Train a classifier, stop it, resume it, open it, and ask it."""
    watcher = Watcher()
    sl.train("classify", table, steps=8, run="runs/reviews", model=SMALL, listener=watcher, quiet=True)
    assert_type(sl.resume("runs/reviews", task="classify", quiet=True), sl.Classifier)
    model = assert_type(sl.load("runs/reviews", task="classify"), sl.Classifier)
    for found in model.predict(["a good day", "an evil day"]):
        assert found.probabilities[found.label] == max(found.probabilities.values())
        assert found.text is not None
        assert assert_type(found.label, str) in {"good", "bad"}
    assert [found.label for found in model.predict("a good day")] == [model.predict("a good day")[0].label]
    scores = {name: model.score(part) for name, part in model.parts().items()}
    assert 0 <= assert_type(scores["valid"].accuracy, float) <= 1
    assert model.config.model.hidden_size == model.model.rnn.hidden_size
    return scores["valid"].loss


def judge(path: str) -> dict[str, float]:
    """Open a run of any task, and score it."""
    model = assert_type(sl.load(path, device="cpu"), sl.TrainedModel)
    figures = {
        f"{name} {key}": v for name, part in model.parts().items() for key, v in model.score(part).metrics().items()
    }
    if isinstance(model, sl.Classifier):
        figures["classes"] = float(len(model.inputs.classes))
    return figures


def refuse() -> str:
    """A run of another task is refused."""
    try:
        sl.load("runs/reviews", task="lm")
    except RunError as error:
        return str(error)
    raise AssertionError


def write(text: Path) -> str:
    """Train a language model with a cell of one's own, let it write, and step it by hand."""
    model = sl.train("lm", text, steps=4, cell=peephole, run="runs/play", model=SMALL, window=8, quiet=True)
    (story,) = model.write(["the "], max_tokens=5, sampling=Sampling(temperature=0.8, top_k=5), seed=1)
    assert "".join(model.stream("the ", max_tokens=5, sampling=Sampling(0.8, 5), seed=1)) == story
    best, hypothesis = model.search(["the "], max_tokens=3, beam=2)[0][0]
    assert assert_type(best, str) and hypothesis.log_probability < 0
    assert_type(model, sl.TextModel)
    token = torch.tensor([model.tokenizer.start_id])
    state: sl.State | None = None
    with torch.inference_mode():
        for _ in range(3):
            logits, state = model.model.step(token, state)
            token = logits.argmax(-1)
    assert model.score("the cat").bits_per_character is not None
    watched = model.watched(8)
    flow = gradient_flow_of(watched, 8)
    draw_gradient_flow({"trained": flow}, "flow.png")
    assert flow.reach() >= 0
    return story


def label(table: Path) -> list[str]:
    """Train a labeller, and label words as they come."""
    model = sl.train("label", table, steps=4, run="runs/tags", hidden_size=8, bidirectional=False, quiet=True)
    (found,) = assert_type(model, sl.Labeller).predict("the dog sat")
    assert len(found.labels) == len(found.probabilities) == len(found.words) == 3

    def arrive() -> Iterator[str]:
        yield from ["a", "cat", "ran"]

    return list(model.stream(arrive()))


def layers() -> None:
    """Layers over sequences, and a step at a time."""
    lstm = sl.LSTM(3, 5, backend="interpret")
    x = torch.randn(7, 2, 3)
    y, (h, c) = lstm(x, lengths=[7, 4])
    assert_type((y, h, c), tuple[torch.Tensor, torch.Tensor, torch.Tensor])
    assert y.shape[-1] == h.shape[-1] == c.shape[-1]
    y, state = lstm(x, lstm.zero_state(2))
    assert assert_type(state, sl.State).h.shape == h.shape
    _, hidden = sl.GRU(3, 5, backend="interpret")(x)
    assert assert_type(hidden, torch.Tensor).shape == (1, 2, 5)
    rnn = sl.Recurrent(peephole, input_size=3, hidden_size=5, backend="interpret")
    y, state = assert_type(rnn(x), tuple[torch.Tensor, sl.State])
    y, state = rnn.step(x[0], state.detach())
    for lengths in ([7, 4], (7, 4), np.array([7, 4]), torch.tensor([7, 4]), None):
        assert assert_type(rnn(x, lengths=lengths)[1], sl.State).batch_size == 2
    h, c = assert_type(sl.LSTMCell(3, 5)(x[0]), tuple[torch.Tensor, torch.Tensor])
    assert h.shape == c.shape == assert_type(sl.GRUCell(3, 5)(x[0]), torch.Tensor).shape
    deep = sl.Recurrent(leaky, 3, [5, 4], layer_norm=True, learn_state=True, backend="interpret")
    for output, part in sl.Windows(deep, x, x, steps=3):
        assert len(assert_type(output, torch.Tensor)) == len(part)
    assert [len(rows) for rows in sl.Batches([3, 1, 2], batch_size=2).epoch(0)] == [2, 2]
    assert assert_type(lstm.all_weights, list[list[torch.nn.Parameter]]) and lstm.mode == "LSTM"
    assert y.requires_grad and len(state) == 2
    stepper = sl.Stepper(rnn)
    row: npt.NDArray[np.float32] = np.zeros(3, np.float32)
    answer = assert_type(stepper(row), npt.NDArray[np.float32])
    tensor = assert_type(stepper(torch.zeros(3)), torch.Tensor)
    assert answer.shape == tuple(tensor.shape)
    assert "h[t]" in str(peephole) and "lstm" in str(sl.cells.lstm)
    model = sl.LanguageModel(9, sl.cells.gru, embedding_size=4, hidden_size=5, backend="interpret")
    logits, state = assert_type(model(torch.zeros(7, 2, dtype=torch.long)), tuple[torch.Tensor, sl.State])
    assert logits.shape == (7, 2, 9) and state.batch_size == 2


def main() -> None:
    """All of it."""
    files = {"reviews.csv": REVIEWS, "tags.tsv": SENTENCES, "play.txt": "the cat sat on the mat\n" * 50}
    for name, text in files.items():
        Path(name).write_text(text)
    assert classify(Path("reviews.csv")) > 0
    assert judge("runs/reviews")["classes"] == 2
    assert "is a run of the task 'classify', not 'lm'" in refuse()
    assert write(Path("play.txt"))
    assert len(label(Path("tags.tsv"))) == 3
    layers()


if __name__ == "__main__":
    main()
