"""A run's folder: what it holds, and how it is opened."""

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from selfloop import __version__
from selfloop.atomic import remove_leftovers
from selfloop.errors import RunError
from selfloop.training.checkpoint import Tensors, read_tensors, write_bytes, write_tensors, writing
from selfloop.training.lock import locked

FORMAT = 1
"""The version of the folder's layout; a folder of another is refused."""

MANIFEST = "manifest"
"""The fact in files of tensors that tells what lay beside them: the configuration, and hashes of the other files."""

OWN = ("*.json", "*.jsonl", "*.safetensors", "curves.png")
"""The files that only training writes; other pictures may be drawn meanwhile."""


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
    .lock                  held by the process that trains the run
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

    @contextmanager
    def locked(self, writes: bool = True) -> Iterator[None]:
        """Within it, no other process trains this run, and what killed ones left half written is gone.

        Reading takes no lock: `selfloop.load` opens a run while it is trained.

        Args:
            writes: whether this process writes to the folder; of the processes of one job, the first does.

        Raises:
            RunError: another process trains this run; the message says which.
        """
        if not writes:
            yield
            return
        with locked(self.path):
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
        self._check_manifest(facts.pop(MANIFEST, {}))
        return facts

    def save_checkpoint(self, tensors: Tensors, facts: Mapping[str, Any]) -> None:
        """Keep a checkpoint, and the one before it as `previous`."""
        last = self.path / "resume" / "last.safetensors"
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
        last = self.path / "resume" / "last.safetensors"
        previous, best = last.with_name("previous.safetensors"), self.path / "model.safetensors"
        if not last.exists() and not previous.exists():
            raise RunError(f"{self.path} has no checkpoint to resume from: it stopped before its first. Train it anew.")
        try:
            tensors, facts = read_tensors(last)
        except RunError as error:
            going_on = f" Rename {previous} to {last.name} to go on from the checkpoint before." * previous.exists()
            saved = f" The best weights so far are in {best}." * best.exists()
            raise RunError(f"{error}{going_on}{saved}") from error
        self._check_manifest(facts.pop(MANIFEST, {}))
        return tensors, facts

    @functools.cached_property
    def _manifest(self) -> dict[str, Any]:
        """What must lie beside the weights for them to mean the same: all .json there is when the first are saved."""
        others = sorted(file.name for file in self.path.glob("*.json") if file.name != "config.json")
        return {"config.json": self.config(), **{name: self._hash(name) for name in others}}

    def _check_manifest(self, was: Any) -> None:
        """Compare with what lies beside the weights now; those of older versions have no manifest, and {} passes.

        Raises:
            RunError: a file is missing or changed.
        """
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
            for field, (old, new) in _differences(before, self.config()).items():
                raise RunError(
                    f"{self.path / name} was changed since the run was begun: {field} was {old!r} and is {new!r}. "
                    "Put it back, or restore the file from a copy."
                )

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


def _differences(old: Any, new: Any, place: str = "") -> dict[str, tuple[Any, Any]]:
    """What differs between two configurations, by its place; paths may, since data and runs move.

    >>> _differences({"model": {"size": 7}, "data": "/a/b"}, {"model": {"size": 8}, "data": "/c"})
    {'model.size': (7, 8)}
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return {
            where: pair
            for name in [*old, *(name for name in new if name not in old)]
            for where, pair in _differences(old.get(name), new.get(name), f"{place}.{name}".lstrip(".")).items()
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
