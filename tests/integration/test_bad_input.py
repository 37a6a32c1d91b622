"""What goes wrong on the user's side: one message on one line, exit status 2, and nothing made or changed."""

import os
import re
import sys
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from selfloop.cli import main

PLAY = "to be or not to be\n" * 200
FILES = {
    "play.txt": PLAY,
    "empty.txt": "",
    "bin.txt": bytes(range(256)) * 8,
    "one.txt": "a",
    "short.txt": "to be or not to be, or not to be",
    "mixed.txt": (PLAY + "é\n").encode() + "é\n".encode("latin-1") + PLAY.encode(),
    "rows.jsonl": '{"id": 1, "body": "hello", "title": "x"}\n' * 50,
    "broken.toml": "[training\nsteps = 1",
    "two.toml": "[training]\nsteps = 1\nepochs = 1\n",
    "flat.toml": "training = 3\n",
    "slip.toml": "[training]\nstep = 3\n",
    "syntax.py": "def f(:\n",
    "none.py": "x = 1\n",
    "raises.py": "raise RuntimeError('no')\n",
    "taken/note": "mine",
    "other.py": "",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "hollow").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    found = (path for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts)
    return {str(path): path.read_bytes() if path.is_file() else None for path in found}


@pytest.fixture
def refused(folder, monkeypatch, capsys):
    """The message with which a command is refused."""

    def run(words: str) -> str:
        AcceleratorState._reset_state(reset_partial_state=True)
        before = contents(folder)
        monkeypatch.setattr(sys, "argv", ["selfloop", "train", "lm", *words.split()])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        assert (stopped.value.code, said.out) == (2, "")
        assert contents(folder) == before
        assert re.fullmatch(r"selfloop: [^\n]{10,330}[.?]\n", said.err), said.err
        return said.err.removeprefix("selfloop: ").rstrip("\n").replace(f"{folder}{os.sep}", "")

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("empty.txt", "The train text of empty.txt must hold something. It is empty: give another file."),
        ("bin.txt", "bin.txt must be a text file. It is binary .*"),
        ("one.txt", "The training part of 'one' has 0 tokens, which is too little to learn from. .*"),
        ("short.txt", "The text must have at least 2,048 tokens for 32 streams and windows of 64. It has 28: .*"),
        ("mixed.txt", r"mixed.txt is not utf-8: byte 3803 \(line 202\) is 0xe9. .* --set data.encoding=latin-1.*"),
        ("rows.jsonl --column bod", "rows.jsonl has no column 'bod', only 'id', 'body', 'title'; did you mean 'body'."),
        ("rows.jsonl --column id", "The column 'id' of rows.jsonl must be text. Got numbers instead."),
        ("rows.jsonl", "rows.jsonl has several columns of text, 'body', 'title': name one with .*"),
        ("hollow", "The folder hollow holds no text: put text, JSONL, CSV or Parquet files there."),
        ("plya.txt", "There is no file or folder plya.txt; did you mean 'play.txt'."),
        ("play.txt --set data.valid=gone.txt", "There is no file or folder gone.txt.*"),
        ("play.txt --set data.encoding=utf9", "The 'encoding' must be one Python knows. Got 'utf9' .*"),
        ("play.txt --set training.batch_size=9999", "The text must have at least 639,936 tokens for .*"),
    ],
)
def test_of_the_text(refused, words, message):
    assert re.fullmatch(message, refused(words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--set training.learning_rat=1",
            "sets 'training.learning_rat', which does not exist; did you mean 'learning_rate'?",
        ),
        ("--set modle.cell=gru", "sets 'modle', which does not exist; did you mean 'model'?"),
        (
            "--set training.learning_rate=fast",
            "sets 'training.learning_rate' wrongly: it must be a number. Got 'fast' instead.",
        ),
        (
            "--set training.learning_rate=nan",
            "sets 'training.learning_rate' wrongly: it must be a finite number. Got nan instead.",
        ),
        ("--set training.betas=[2,3]", "sets 'training.betas.0' wrongly: it must be less than 1. Got 2 instead."),
        ("--set model=3", "sets 'model' wrongly: it must be a section. Got 3 instead."),
        ("--steps -3", "sets 'training.steps' wrongly: it must be greater than 0. Got -3 instead."),
        ("--minutes nan", "sets 'training.minutes' wrongly: it must be a finite number. Got nan instead."),
        ("--seed -1", "sets 'training.seed' wrongly: it must be greater than or equal to 0. Got -1 instead."),
        (
            "--tokenizer chr",
            "sets 'data.tokenizer' wrongly: it must be 'char', 'byte', 'word' or 'bpe'. Got 'chr' instead.",
        ),
        (
            "--precision fp16",
            "sets 'training.precision' wrongly: it must be 'auto', 'fp32' or 'bf16'. Got 'fp16' instead.",
        ),
        (
            "--steps 3 --minutes 2",
            "cannot be followed: a run has one budget, but it gives minutes and steps; keep one of them.",
        ),
        ("--config two.toml --set training.steps=1 --epochs 2", None),
        ("--config flat.toml --steps 3", None),
        ("--config slip.toml --steps 3", None),
    ],
)
def test_of_a_choice(refused, words, message):
    said = refused(f"play.txt {words}")
    if message is None:  # what is wrong with a file is said of the file
        assert said.startswith(words.split()[1])
    else:
        assert said == f"The command {message}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--set training.steps",
            "--set takes section.key=value, such as model.hidden_size=256. Got 'training.steps' .*",
        ),
        (
            "--config broken.toml",
            r"The configuration broken.toml is not TOML: Expected ']' .* \(at line 1, column 10\)\.",
        ),
        ("--config gone.toml", "The configuration gone.toml cannot be read: No such file or directory."),
        ("--config hollow", "The configuration hollow cannot be read: Is a directory."),
        ("--config two.toml", "two.toml cannot be followed: a run has one budget, but it gives epochs and steps; .*"),
        ("--cell lstn", "The cell 'lstn' is not in the zoo; did you mean 'lstm'."),
        ("--cell gone.py:x", "The cell 'gone.py:x' is to come from gone.py, which is not a file here."),
        ("--cell syntax.py:x", "The file syntax.py of the cell 'x' does not run: SyntaxError: .*"),
        ("--cell raises.py:x", "The file raises.py of the cell 'x' does not run: RuntimeError: no."),
        ("--cell none.py:x", "none.py has no cell 'x'; its cells are: none."),
        ("--set model.sizes.p=3", "The cell 'lstm' has no size 'p'; its own sizes are: none."),
        (
            "--run taken",
            "taken exists already and is not overwritten. Continue it with --resume taken, or choose another .*",
        ),
        ("--run taken/note/run", "taken/note/run cannot be made: Not a directory. Choose another folder with --run."),
        ("--run /proc/run", "/proc/run cannot be made: .*. Choose another folder with --run."),
    ],
)
def test_of_a_file_a_cell_or_a_folder(refused, words, message):
    assert re.fullmatch(message, refused(f"play.txt {words}"))


@pytest.mark.parametrize(
    ("words", "got"),
    [
        ("play.txt --resume taken", "data"),
        ("--resume taken --seed 0", "--seed"),
        ("--resume taken --cell lstm --steps 4 --precision bf16", "--precision"),
        ("--resume taken --set training.steps=9", "--set"),
        ("--resume taken --run other", "--run"),
        ("--resume taken --config two.toml", "--config"),
    ],
)
def test_of_a_choice_besides_resume(refused, words, got):
    assert refused(words) == (
        f"--resume continues a run as it was begun, and takes no other choices. Got {got} too: leave it out."
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--resume taken", "taken has no config.json, so it is not a run. Give the folder that .*"),
        ("--resume play.txt", "play.txt has no config.json, so it is not a run. Give the folder that .*"),
        ("--resume gone", "gone does not exist. Give the folder that `selfloop train` made, such as runs/NAME."),
    ],
)
def test_of_a_folder_that_is_no_run(refused, words, message):
    assert re.fullmatch(message, refused(words))


def test_of_a_learning_rate_at_which_logits_overflow(train, play, small, tmp_path):
    """In one sentence."""
    run = tmp_path / "run"
    often = ("--set", "training.validations=20", "--set", "training.schedule=constant", "--set", "training.clip=0")
    rates = ("--set", "training.optimizer=sgd", "--lr", "3e30", "--set", "training.warmup=0")
    status, out, err = train(play, *small, *often, *rates, "--steps", 60, "--run", run)
    assert (status, out) == (2, "")
    assert err.endswith(
        "selfloop: The loss is no longer finite, so training has diverged. Lower the learning rate, such as --set "
        "training.learning_rate=0.001.\n"
    )
    assert "Traceback" not in err
