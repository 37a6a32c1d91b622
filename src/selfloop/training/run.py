"""A run's folder: what it holds, and how it is opened."""

import functools
import hashlib
import json
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from selfloop.atomic import leftover, remove_leftovers
from selfloop.config import LARGEST
from selfloop.errors import ArgumentError, RunError, SelfloopError
from selfloop.training.checkpoint import (
    Shapes,
    Tensors,
    read_shapes,
    read_tensors,
    write_bytes,
    write_tensors,
    writing,
)
from selfloop.training.lock import NAME as LOCK
from selfloop.training.lock import locked
from selfloop.untrusted import exists, is_folder, parse_json, read_text, short
from selfloop.version import __version__

Model = TypeVar("Model", bound=nn.Module)
Value = TypeVar("Value")

FORMAT = 3
"""The version of the folder's layout; a folder of another is refused."""

MANIFEST = "manifest"
"""The fact in files of tensors that tells what lay beside them: the configuration, and hashes of the other files."""

CHECKPOINTS = ("last.safetensors", "previous.safetensors")
"""The files of the last checkpoint and the one before it, in ``resume``."""

OWN = ("*.json", "*.jsonl", "*.safetensors", "*_predictions.csv", "curves.png")
"""The files that only training writes; other pictures may be drawn meanwhile."""


class _TooManyError(Exception):
    """A model has more tensors than it can have."""


@dataclass(frozen=True)
class Run:
    """The folder ``runs/NAME``.

    config.json            all that rebuilds the model and repeats the run
    model.safetensors      the weights with the best validation
    tokenizer.json         and whatever else the task needs to read its data
    skipped.jsonl          what was left out of the data, if anything was
    metrics.jsonl          a line for each report of the training loop
    results.json           the scores at the end, and hashes of the data
    *_predictions.csv      what was predicted at the end, of the validation and of the test data
    events.out.tfevents.*  the same for TensorBoard
    curves.png             the same as a picture
    resume/                the last checkpoint, and the one before it
    .lock                  held by the process that trains the run

    Attributes:
        path: the folder.
        resuming: whether its model is the last one, of the checkpoint, and not the best.
    """

    path: Path
    resuming: bool = False

    @property
    def metrics(self) -> Path:
        """The file of reports."""
        return self.path / "metrics.jsonl"

    @property
    def results(self) -> Path:
        """The file of the scores at the end."""
        return self.path / "results.json"

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
                f"{path} exists already and is not overwritten. Continue it with --resume {shlex.quote(str(path))}, "
                "or choose another name with --run."
            ) from error
        except OSError as error:
            raise RunError(
                f"{path} cannot be made: {error.strerror or error}. Choose another folder with --run."
            ) from error
        run = cls(path)
        run._write_config(task, config)
        return run

    def _write_config(self, task: str, config: Mapping[str, Any]) -> None:
        facts = {"selfloop": __version__, "format": FORMAT, "task": task, **config}
        write_bytes(self.path / "config.json", (json.dumps(facts, indent=2) + "\n").encode())

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is one to resume from."""
        return any(exists(self.path / "resume" / name) for name in CHECKPOINTS)

    def can_begin(self, task: str) -> bool:
        """Whether a run may begin here: nothing is there, or one was stopped before its first checkpoint.

        Raises:
            RunError: what is there is a run of another task, or a damaged one.
        """
        if not exists(self.path):
            return True
        if not is_folder(self.path) or self.has_checkpoint or exists(self.results):
            return False
        if not exists(self.path / "config.json"):  # the writer of one may have been killed
            return all(file.name == LOCK or file.match(leftover("config.json")) for file in self.path.iterdir())
        found = Run.open(self.path).config().get("task")
        if found != task:
            raise RunError(
                f"{self.path} is a run of {short(found)}, and not of {task}. Choose another name with --run."
            )
        return True

    def create_anew(self, task: str, config: Mapping[str, Any]) -> None:
        """Begin where `can_begin` allows it: what was reported goes, and weights are kept under another name.

        Raises:
            RunError: the folder cannot be written.
        """
        with writing(self.path):
            for pattern in ("*.json", "*.jsonl", "events.out.tfevents.*"):
                for file in self.path.glob(pattern):
                    if file.name != "config.json":  # by which the folder is known, should this process be killed
                        file.unlink(missing_ok=True)
            if exists(self._best):
                self._best.replace(self._best.with_name("model-before.safetensors"))
        self._write_config(task, config)

    @staticmethod
    def folder(path: object) -> Path:
        """A run's folder as it was given from Python.

        Raises:
            ArgumentError: it is no path.
        """
        if not isinstance(path, str | Path):
            raise ArgumentError(f"A run must be given by its folder, such as 'runs/play'. Got {short(path)} instead.")
        return Path(path)

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
                f"{path} is a run of format {short(found)}, and this selfloop {__version__} reads format {FORMAT}. "
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
            config = parse_json(read_text(file, LARGEST))
        except (FileNotFoundError, NotADirectoryError) as error:
            what = "has no config.json, so it is not a run" if exists(self.path) else "does not exist"
            raise RunError(
                f"{self.path} {what}. Give the folder that `selfloop train` made, such as runs/NAME."
            ) from error
        except (OSError, ValueError) as error:
            raise RunError(f"{file} is damaged ({error}). Restore it from a copy, or train anew.") from error
        if not isinstance(config, dict):
            raise RunError(f"{file} is damaged (it holds a {type(config).__name__}). Restore it from a copy.")
        return config

    @contextmanager
    def locked(self, writes: bool = True, patience: float = 0.0) -> Iterator[None]:
        """Within it, no other process trains this run, and what killed ones left half written is gone.

        Reading takes no lock: `selfloop.load` opens a run while it is trained.

        Args:
            writes: whether this process writes to the folder; of the processes of one job, the first does.
            patience: seconds to wait for another process that trains it.

        Raises:
            RunError: another process trains this run; the message says which.
        """
        if not writes:
            yield
            return
        with locked(self.path, patience):
            with writing(self.path):
                for folder in (self.path, self.path / "resume"):
                    remove_leftovers(folder, OWN)
            yield

    def save_skipped(self, items: Sequence[tuple[str, str]]) -> None:
        """List what was left out of the data, a line an item, where there is any."""
        lines = [json.dumps({"item": place, "reason": reason}, ensure_ascii=False) for place, reason in items]
        if lines:
            write_bytes(self.path / "skipped.jsonl", ("\n".join(lines) + "\n").encode())

    def save_model(self, model: nn.Module, facts: Mapping[str, Any]) -> None:
        """Keep the weights as the best so far."""
        write_tensors(self.path / "model.safetensors", weights(model), {**facts, MANIFEST: self._manifest})

    def open_model(self, build: Callable[[], Model]) -> Model:
        """The model that `build` makes from the configuration, with the best weights; the last ones where it resumes.

        Nothing is allocated before its tensors have the names and shapes of those in the file of weights.

        Raises:
            RunError: the weights are missing, damaged or of another model, or there can be no such model.
        """
        file, prefix = (self._last, "model/") if self.resuming else (self._best, "")
        self._check_fit(build, under(prefix, read_shapes(_present(file))), file)
        model = build()
        tensors, facts = read_tensors(file)
        load_into(model, under(prefix, tensors), file)
        self._check_manifest(facts)
        return model

    def load_model(self, model: nn.Module) -> dict[str, Any]:
        """Put the best weights into a model; returns their facts.

        Raises:
            RunError: they are missing, damaged or of another model.
        """
        tensors, facts = read_tensors(_present(self._best))
        load_into(model, tensors, self._best)
        self._check_manifest(facts)
        return facts

    def _check_fit(self, build: Callable[[], nn.Module], found: Shapes, source: Path) -> None:
        """Make the model without memory for its numbers, and compare it with the tensors that were found in a file.

        Raises:
            RunError: it cannot be made, or does not fit.
        """
        here, made, most = threading.get_ident(), 0, 2 * len(found) + 1  # a tied table replaces a parameter

        def count(*_: object) -> None:
            nonlocal made
            made += threading.get_ident() == here
            if made > most:  # before ten million layers have taken their time
                raise _TooManyError

        hook = register_module_parameter_registration_hook(count)
        try:
            with torch.device("meta"):
                model = build()
        except _TooManyError:
            raise RunError(
                f"{source} does not fit the model in config.json: it holds {len(found)} tensors, and the model has "
                "more. One of the two was changed; restore it from a copy."
            ) from None
        except (SelfloopError, RuntimeError, TypeError, ValueError, OverflowError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
            raise RunError(
                f"{self.path / 'config.json'} asks for a model that cannot be made ({reason}). Restore it from a copy."
            ) from error
        finally:
            hook.remove()
        _compare(_shapes(weights(model)), found, source)

    @property
    def _best(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def _last(self) -> Path:
        return self.path / "resume" / "last.safetensors"

    def save_checkpoint(self, tensors: Tensors, facts: Mapping[str, Any]) -> None:
        """Keep a checkpoint, and the one before it as `previous`."""
        last = self._last
        if last.exists():
            with writing(last):
                content = last.read_bytes()
            write_bytes(last.with_name("previous.safetensors"), content)
        write_tensors(last, tensors, {**facts, MANIFEST: self._manifest})

    def load_checkpoint(self) -> tuple[Tensors, dict[str, Any]]:
        """The last checkpoint.

        Raises:
            RunError: there is none, or it is damaged; the message says what is left.
        """
        last, best = self._last, self._best
        previous = last.with_name("previous.safetensors")
        if not self.has_checkpoint:
            raise RunError(f"{self.path} has no checkpoint to resume from: it stopped before its first. Train it anew.")
        try:
            tensors, facts = read_tensors(last)
        except RunError as error:
            going_on = f" Rename {previous} to {last.name} to go on from the checkpoint before." * previous.exists()
            saved = f" The best weights so far are in {best}." * best.exists()
            raise RunError(f"{error}{going_on}{saved}") from error
        vars(self)["_manifest"] = {**self._check_manifest(facts), "config.json": self.config()}
        return tensors, facts

    @functools.cached_property
    def _manifest(self) -> dict[str, Any]:
        """What must lie beside the weights for them to mean the same: all .json there is when the first are saved; of
        a run that goes on, what those lay beside.
        """
        others = sorted({file.name for file in self.path.glob("*.json")} - {"config.json", self.results.name})
        return {"config.json": self.config(), **{name: self._hash(name) for name in others}}

    def _check_manifest(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Compare what lay beside weights, which is taken out of their facts, with what lies there now.

        Raises:
            RunError: a file is missing or changed.
        """
        was = facts.pop(MANIFEST, None)
        if not isinstance(was, dict):
            raise RunError(f"{self.path} holds weights with a damaged manifest. Restore it from a copy.")
        here = {file.name for file in self.path.glob("*.json") if file.is_file()}
        for name, before in was.items():
            if name not in here:
                raise RunError(f"{self.path / name} is missing. Restore it from a copy.")
            if name != "config.json":
                if self._hash(name) != before:
                    raise RunError(f"{self.path / name} is damaged (its hash does not match). Restore it from a copy.")
                continue
            for field, (old, new) in differences(before, self.config()).items():
                raise RunError(
                    f"{self.path / name} was changed since the run was begun: {field} was {short(old)} and is "
                    f"{short(new)}. Put it back, or restore the file from a copy."
                )
        return was

    def _hash(self, name: str) -> str:
        digest = hashlib.blake2b(digest_size=16)
        try:
            with (self.path / name).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise RunError(f"{self.path / name} cannot be read ({error.strerror or error}).") from error
        return digest.hexdigest()


def load_into(model: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Put weights into a model.

    Raises:
        RunError: a name or a shape does not fit.
    """
    _compare(_shapes(weights(model)), _shapes(tensors), source)
    model.load_state_dict(dict(tensors), strict=False)


def under(prefix: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """Those whose names begin with a prefix, by what follows it."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _present(file: Path) -> Path:
    if not file.exists():
        raise RunError(f"{file} is missing: a run has weights from its first validation on. Train it for longer.")
    return file


def _compare(expected: Shapes, found: Shapes, source: Path) -> None:
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            wanted, got = (str(shapes.get(name, "none")) for shapes in (expected, found))
            raise RunError(
                f"{source} does not fit the model in config.json: '{name}' should have shape {wanted} and has {got}. "
                "One of the two was changed; restore it from a copy."
            )


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def differences(old: Any, new: Any, place: str = "") -> dict[str, tuple[Any, Any]]:
    """What differs between two configurations, by its place; paths may, since data and runs move.

    >>> differences({"model": {"size": 7}, "data": "/a/b"}, {"model": {"size": 8}, "data": "/c"})
    {'model.size': (7, 8)}
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return {
            where: pair
            for name in [*old, *(name for name in new if name not in old)]
            for where, pair in differences(old.get(name), new.get(name), f"{place}.{name}".lstrip(".")).items()
        }
    moved = isinstance(old, str) and isinstance(new, str) and Path(old).is_absolute()
    return {} if old == new or moved else {place: (old, new)}


def weights(model: nn.Module) -> Tensors:
    """The model's tensors by name; a tied one once."""
    seen: set[int] = set()
    result: Tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            result[name] = tensor
    return result
