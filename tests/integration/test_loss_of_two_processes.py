"""Two processes optimise the loss that one does: after some updates their weights are the same, in every task, and so
are the figures that they find together.
"""

import json
import random

import pytest
import torch
from combinations import some
from integration.launch import Launched
from integration.world import be_exact, be_one_of, free_port
from PIL import Image

from selfloop.tasks.results import figures_of
from selfloop.training.checkpoint import read_tensors

STEPS = 12
WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "red", "dogs"]


def sentence(draw, least, most):
    return draw.choices(WORDS, k=draw.randint(least, most))


def reviews(folder):
    """Texts of two classes, one of which is rare."""
    draw = random.Random(1)
    rows = [f"{' '.join(sentence(draw, 1, 9))},{'rare' if k % 7 == 0 else 'usual'}" for k in range(70)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    return [folder / "reviews.csv"]


def treebank(folder):
    """Sentences of very unequal lengths, with rare labels and with words that have none."""
    draw = random.Random(2)
    with (folder / "words.jsonl").open("w") as file:
        for k in range(70):
            words = sentence(draw, 1, 30 if k % 5 == 0 else 3)
            labels = [None if word == "the" else "rare" if word == "dogs" else "usual" for word in words]
            file.write(json.dumps({"words": words, "labels": labels}) + "\n")
    return [folder / "words.jsonl"]


def unjudged(folder):
    """Sentences of which two in three have no label: of many batches one process has none, or both."""
    draw = random.Random(6)
    with (folder / "words.jsonl").open("w") as file:
        for k in range(72):
            words = sentence(draw, 1, 6)
            labels = [None if k % 3 else "rare" if word == "dogs" else "usual" for word in words]
            file.write(json.dumps({"words": words, "labels": labels}) + "\n")
    return [folder / "words.jsonl"]


def pairs(folder):
    draw = random.Random(3)
    lines = [sentence(draw, 1, 20 if k % 5 == 0 else 3) for k in range(70)]
    (folder / "train.en").write_text("".join(" ".join(line) + "\n" for line in lines))
    (folder / "train.de").write_text("".join(" ".join(line[::-1]) + "\n" for line in lines))
    return [folder / "train.en", folder / "train.de"]


def text(folder):
    draw = random.Random(4)
    (folder / "play.txt").write_text("\n".join(" ".join(sentence(draw, 9, 9)) for _ in range(110)))
    return [folder / "play.txt"]


def pictures(folder):
    """Of one colour each, with captions of unequal lengths."""
    draw = random.Random(5)
    rows = []
    for number in range(40):
        Image.new("RGB", (32, 32), tuple(draw.choices(range(256), k=3))).save(folder / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "captions": [" ".join(sentence(draw, 1, 12))]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return [folder]


SIZES = ("model.hidden_size=16", "model.embedding_size=8", "model.input_dropout=0", "model.output_dropout=0")
PLAIN = ("training.patience=0", "training.optimizer=sgd", "training.learning_rate=0.1", "training.average=false")
"""Where Adam makes a step of a gradient of rounding."""

CASES = {
    "lm": (text, ["training.batch_size=4", "data.window=8"]),
    "lm with penalties": (text, ["training.batch_size=4", "data.window=8", "loss.activity=2", "loss.slowness=1"]),
    "classify": (reviews, ["training.batch_size=8", "loss.class_weights=none"]),
    "classify balanced": (reviews, ["training.batch_size=8", "loss.class_weights=balanced"]),
    "label": (treebank, ["training.batch_size=4", "loss.class_weights=none", "loss.label_smoothing=0.1"]),
    "label balanced": (treebank, ["training.batch_size=4", "loss.class_weights=balanced"]),
    "label where whole batches are not judged": (unjudged, ["training.batch_size=2", "loss.class_weights=none"]),
    "label balanced where whole batches are not judged": (
        unjudged,
        ["training.batch_size=2", "loss.class_weights=balanced"],
    ),
    "label by AdamW with sparse gradients": (
        treebank,
        ["training.batch_size=4", "loss.class_weights=none", "training.optimizer=adamw", "training.average=true"],
    ),
    "translate": (pairs, ["training.batch_size=4"]),
    # A batch of one long pair has none for the second process.
    "translate a pair at a time": (pairs, ["training.batch_size=2"]),
    "caption": (pictures, ["training.batch_size=4", "model.image_dropout=0", "model.feature_size=8"]),
}


def weights(run):
    tensors, facts = read_tensors(run / "resume" / "last.safetensors")
    assert facts["progress"]["step"] == STEPS
    return {name: own for name, own in tensors.items() if name.startswith("model/")}, facts["progress"]["targets"]


def figures(run):
    """Those of each validation, and the scores at the end."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    validations = [line for line in lines if "valid_loss" in line]
    for validation in validations:
        del validation["elapsed"]
    results = json.loads((run / "results.json").read_text())
    return validations, {part: figures_of(results, part) for part in ("valid", "test")}


@pytest.mark.parametrize("case", some(CASES, 1, of=2))
def test_two_processes_learn_what_one_learns(case, tmp_path):
    data, more = CASES[case]
    task = case.partition(" ")[0]
    settings = [word for each in (*SIZES, *PLAIN, *more) for word in ("--set", each)]
    folder = tmp_path / "data"
    folder.mkdir()
    arguments = ["train", task, *data(folder), *settings, "--steps", STEPS, "--run"]
    folders = [tmp_path / name for name in ("first", "second", "alone")]
    for folder in folders:
        folder.mkdir()
    ended = Launched(folders[2], *arguments, tmp_path / "one", prepare=(be_exact,)).end()
    assert ended.status == 0, ended.err
    port = free_port()
    pair = [
        Launched(folders[rank], *arguments, tmp_path / "two", prepare=(be_one_of, rank, 2, port)) for rank in range(2)
    ]
    for process in pair:
        ended = process.end()
        assert ended.status == 0, ended.err
    (one, targets), (two, of_both) = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-9, msg=lambda text, name=name: name + text)
    assert targets == of_both
    (one, of_one), (two, of_two) = figures(tmp_path / "one"), figures(tmp_path / "two")
    assert len(one) > 1 and two == [pytest.approx(validation, rel=1e-9) for validation in one]
    for part in of_one:
        assert of_two[part] == pytest.approx(of_one[part], rel=1e-9)


SHARED = """
import torch
from torch import distributed, nn
from selfloop.models.batch_norm import BatchNorm2d

distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(0)
x, along = torch.randn(2, 7, 3, 4, 5, dtype=torch.float64)
whole, shared = nn.BatchNorm2d(3).double(), BatchNorm2d(3).double()
share = slice(0, 2) if rank == 0 else slice(2, 7)
for norm, rows in ((whole, slice(None)), (shared, share)):
    nn.init.constant_(norm.weight, 1.5)
    read = x[rows].clone().requires_grad_()
    y = norm(read)
    (y.square() * along[rows]).sum().backward()
    norm.found = {"y": y, "dx": read.grad, "dw": norm.weight.grad, "db": norm.bias.grad}
for name in ("dw", "db"):
    distributed.all_reduce(shared.found[name])
for name, own in shared.found.items():
    expected = whole.found[name]
    torch.testing.assert_close(own, expected[share] if name in ("y", "dx") else expected)
for name, own in whole.state_dict().items():
    torch.testing.assert_close(shared.state_dict()[name], own)
torch.testing.assert_close(shared.eval()(x), whole.eval()(x))
"""


PARTED = """
import torch
from torch import nn
from selfloop.options import TrainingOptions
from selfloop.training import sparse_gradients
from selfloop.training.optimizers import make_optimizer, update
from selfloop.world import joined_world

sparse_gradients.LARGE = 1
torch.manual_seed(0)
x = torch.randn(2, 3, dtype=torch.float64)


class Blocks(nn.Module):  # of equal sizes, of which a call uses one
    def __init__(self):
        super().__init__()
        self.blocks, self.tables = (nn.ModuleList(kind(3, 3) for _ in range(2)) for kind in (nn.Linear, nn.Embedding))

    def forward(self, which):
        return (self.blocks[which](x[which]) * self.tables[which](torch.tensor(which + 1))).square().sum()


with joined_world() as world:
    models = [Blocks().double(), Blocks().double()]
    models[1].load_state_dict(models[0].state_dict())
    for model, mine in zip(models, ([0, 1], [world.rank]), strict=True):
        with sparse_gradients.sparse_gradients(model):
            optimizer = make_optimizer(model, TrainingOptions())
            for _ in range(3):
                (sum(map(model, mine)) / len(mine)).backward()
                update(optimizer, 1.0, **({"world": world} if len(mine) == 1 else {}))
    torch.testing.assert_close(models[1].state_dict(), models[0].state_dict())
"""


@pytest.mark.parametrize("program", [SHARED, PARTED], ids=["batch normalisation", "parts of a model"])
def test_what_each_process_has_seen_is_put_together(tmp_path, program):
    """Statistics of the shares of a batch, of unequal sizes; gradients of weights that one process alone has used."""
    file, port = tmp_path / "shared.py", free_port()
    file.write_text(program)
    pair = []
    for rank in range(2):
        folder = tmp_path / str(rank)
        folder.mkdir()
        pair.append(Launched(folder, program=file, prepare=(be_one_of, rank, 2, port)))
    for process in pair:
        ended = process.end()
        assert ended.status == 0, ended.err
