"""A run's folder: what it holds, and how it is opened."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from selfloop import __version__
from selfloop.atomic import remove_leftovers
from selfloop.errors import RunError
from selfloop.training.checkpoint import Tensors, read_tensors, write_bytes, write_tensors

FORMAT = 1
"""The version of the folder's layout; a folder of another is refused."""


@dataclass(frozen=True)
class Run:
    """The folder ``runs/NAME``.

    config.json            all that rebuilds the model and repeats the run
    model.safetensors      the weights with the best validation
    tokenizer.json         and whatever else the task needs to read its data
    skipped.jsonl          what was left out of the data, if anything was
    metrics.jsonl          a line for each report of the training loop
    events.out.tfevents.*  the same for TensorBoard
    curves.png             the same as a picture
    resume/                the last checkpoint, and the one before it
    """

    path: Path

    @property
    def metrics(self) -> Path:
        """The file of reports."""
        return self.path / "metrics.jsonl"

    @classmethod
    def create(cls, path: Path, task: str, config: Mapping[str, Any]) -> "Run":
        """A new folder with its configuration.

        Raises:
            RunError: there is something at `path` already, or it cannot be written.
        """
        try:
            path.mkdir(parents=True)
        except FileExistsError as error:
            raise RunError(
                f"{path} exists already and is not overwritten. Continue it with --resume {path}, or choose another "
                "name with --run."
            ) from error
        except OSError as error:
            raise RunError(
                f"{path} cannot be made: {error.strerror or error}. Choose another folder with --run."
            ) from error
        run = cls(path)
        facts = {"selfloop": __version__, "format": FORMAT, "task": task, **config}
        write_bytes(run.path / "config.json", (json.dumps(facts, indent=2) + "\n").encode())
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """A folder that exists.

        Raises:
            RunError: there is no run at `path`, or it is of another version.
        """
        run = cls(path)
        found = run.config().get("format")
        if found != FORMAT:
            raise RunError(
                f"{path} is a run of format {found!r}, and this selfloop {__version__} reads format {FORMAT}. "
                "Use the version that wrote it, named in its config.json."
            )
        return run

    def config(self) -> dict[str, Any]:
        """What config.json holds.

        Raises:
            RunError: it is missing or not JSON.
        """
        file = self.path / "config.json"
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            what = "has no config.json, so it is not a run" if self.path.exists() else "does not exist"
            raise RunError(
                f"{self.path} {what}. Give the folder that `selfloop train` made, such as runs/NAME."
            ) from error
        except (OSError, ValueError) as error:
            raise RunError(f"{file} is damaged ({error}). Restore it from a copy, or train anew.") from error
        if not isinstance(config, dict):
            raise RunError(f"{file} is damaged (it holds a {type(config).__name__}). Restore it from a copy.")
        return config

    def save_skipped(self, items: Sequence[tuple[str, str]]) -> None:
        """List what was left out of the data, a line an item, where there is any."""
        lines = [json.dumps({"item": place, "reason": reason}, ensure_ascii=False) for place, reason in items]
        if lines:
            write_bytes(self.path / "skipped.jsonl", ("\n".join(lines) + "\n").encode())

    def save_model(self, model: nn.Module, facts: Mapping[str, Any]) -> None:
        """Keep the weights as the best so far."""
        write_tensors(self.path / "model.safetensors", weights(model), facts)

    def load_model(self, model: nn.Module) -> dict[str, Any]:
        """Put the best weights into a model that was built from the configuration; returns their facts.

        Raises:
            RunError: they are missing, damaged or do not fit.
        """
        file = self.path / "model.safetensors"
        if not file.exists():
            raise RunError(f"{file} is missing: a run has weights from its first validation on. Train it for longer.")
        tensors, facts = read_tensors(file)
        load_into(model, tensors, file)
        return facts

    def save_checkpoint(self, tensors: Tensors, facts: Mapping[str, Any]) -> None:
        """Keep a checkpoint, and the one before it as `previous`."""
        last = self.path / "resume" / "last.safetensors"
        if last.exists():
            write_bytes(last.with_name("previous.safetensors"), last.read_bytes())
        write_tensors(last, tensors, facts)

    def load_checkpoint(self) -> tuple[Tensors, dict[str, Any]]:
        """The last checkpoint.

        Raises:
            RunError: there is none, or it is damaged; the message says what is left.
        """
        for folder in (self.path, self.path / "resume"):
            remove_leftovers(folder)
        last = self.path / "resume" / "last.safetensors"
        previous, best = last.with_name("previous.safetensors"), self.path / "model.safetensors"
        if not last.exists() and not previous.exists():
            raise RunError(f"{self.path} has no checkpoint to resume from: it stopped before its first. Train it anew.")
        try:
            return read_tensors(last)
        except RunError as error:
            going_on = f" Rename {previous} to {last.name} to go on from the checkpoint before." * previous.exists()
            saved = f" The best weights so far are in {best}." * best.exists()
            raise RunError(f"{error}{going_on}{saved}") from error


def load_into(model: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Put weights into a model.

    Raises:
        RunError: a name or a shape does not fit.
    """
    expected = {name: tuple(t.shape) for name, t in weights(model).items()}
    got = {name: tuple(t.shape) for name, t in tensors.items()}
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            wanted, found = (str(shapes.get(name, "none")) for shapes in (expected, got))
            raise RunError(
                f"{source} does not fit the model in config.json: '{name}' should have shape {wanted} and has {found}. "
                "One of the two was changed; restore it from a copy."
            )
    model.load_state_dict(dict(tensors), strict=False)


def weights(model: nn.Module) -> Tensors:
    """The model's tensors by name; a tied one once."""
    seen: set[int] = set()
    result: Tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            result[name] = tensor
    return result
