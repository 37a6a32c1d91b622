"""All that a run needs to go on as if it had never stopped."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather

from selfloop.errors import RunError
from selfloop.layers import State
from selfloop.options.training import TrainingOptions
from selfloop.training.averages import Average
from selfloop.training.checkpoint import Tensors, writing
from selfloop.training.optimizers import MOVED
from selfloop.training.run import Run, load_into, under, weights
from selfloop.training.schedule import Budget, passed
from selfloop.untrusted import short
from selfloop.world import World


@dataclass
class Progress:
    """How far a run is; a checkpoint holds it."""

    step: int = 0
    targets: int = 0
    elapsed: float = 0.0
    validations: int = 0
    best_loss: float = math.inf
    best_score: float = 0.0  # of the metric that chooses the best weights; 0 where that is the loss
    best_step: int = 0
    stale: int = 0  # validations since the best
    scale: float = 1.0  # what plateaus have left of the learning rate
    finished: bool = False
    minutes: float = 0.0  # the budget of a run that was trained longer; where both are 0, that of its options
    steps: int = 0

    def budget(self, options: TrainingOptions, steps_per_epoch: int | None) -> Budget:
        """How long the run is trained in all."""
        if self.minutes or self.steps:
            return Budget(self.minutes or None, self.steps or None)
        return Budget.of(options, steps_per_epoch)

    def lengthen(self, more: Budget, validations: int) -> Budget:
        """Give a run that is finished a budget besides what it has spent; returns what that is in all.

        The learning rate and the validations go on as if the run had had it all from the beginning.
        """
        self.minutes = 0.0 if more.minutes is None else self.elapsed / 60 + more.minutes
        self.steps = 0 if more.steps is None else self.step + more.steps
        whole = Budget(self.minutes or None, self.steps or None)
        self.validations = passed(whole.spent(self.step, self.elapsed), validations)
        self.stale, self.finished = 0, False
        return whole


def save(
    run: Run,
    task: Any,
    optimizer: Any,
    average: Average | None,
    accelerator: Accelerator,
    facts: Mapping[str, Any],
    carry: State | None,
) -> None:
    """Write a checkpoint: weights, their average, optimizer, randomness of every process, the carried state, and facts
    of the loop.
    """
    generators = gather(_generator(accelerator)[None])
    positions = World.here().each(task.position())
    states = {} if carry is None else {n: gather(t.transpose(0, 1).contiguous()) for n, t in carry.tensors.items()}
    if not accelerator.is_main_process:
        return
    tensors: Tensors = {f"model/{name}": t for name, t in weights(task.model).items()}
    tensors |= {f"carry/{name}": t for name, t in states.items()}
    tensors |= {f"position/{rank}/{n}": t for rank, position in enumerate(positions) for n, t in position.items()}
    if average is not None:
        tensors |= {f"average/{name}": t for name, t in weights(average.module).items()}
        tensors |= {f"average_volume/{name}": t for name, t in average.volumes.items()}
    tensors["random"] = generators.clone()
    kept = optimizer.state_dict()
    for index, values in kept["state"].items():
        tensors |= {f"optimizer/{index}/{key}": v for key, v in values.items() if isinstance(v, torch.Tensor)}
    more = {
        "groups": kept["param_groups"],
        "states": list(states),
        "metrics_bytes": run.metrics.stat().st_size if run.metrics.exists() else 0,
        "task": dict(task.facts()),
    }
    run.save_checkpoint(tensors, {**facts, **more})


def read_progress(run: Run) -> Progress:
    """How far a run is.

    Raises:
        RunError: there is no checkpoint, or it is damaged.
    """
    with _understanding(run):
        return _progress(run.load_checkpoint()[1])


def restore(
    run: Run,
    task: Any,
    options: TrainingOptions,
    optimizer: Any,
    average: Average | None,
    accelerator: Accelerator,
    share: slice,
) -> tuple[Progress, dict[str, float] | None, State | None]:
    """Put a checkpoint back; returns how far the run is, what its log has not told yet, and this process's rows of the
    carried state.

    Raises:
        RunError: there is no checkpoint, it is damaged, or the options or the task's data have changed since.
    """
    with _understanding(run):
        tensors, facts = run.load_checkpoint()
        _check_unchanged(run, task, options, facts)
        _go_to_position(run, task, under("position/", tensors))
        load_into(task.model, under("model/", tensors), run.path / "resume" / "last.safetensors")
        if average is not None:
            load_into(average.module, under("average/", tensors), run.path / "resume" / "last.safetensors")
            average.go_to(facts["progress"]["step"], under("average_volume/", tensors))
        _restore_optimizer(optimizer, under("optimizer/", tensors), facts["groups"])
        generators = tensors["random"]
        if generators.shape[0] == accelerator.num_processes:  # else another number of processes, with fresh randomness
            _set_generator(accelerator, generators[accelerator.process_index])
        if accelerator.is_main_process:
            _truncate(run, facts["metrics_bytes"])
        carry = None
        if facts["states"]:
            states = {n: tensors[f"carry/{n}"][share].transpose(0, 1).contiguous() for n in facts["states"]}
            carry = State(**states).to(accelerator.device)
        kept = facts["pending"]
        pending = None if kept is None else {name: 0 + kept[name] for name in ("line", "loss", "steps")}
        return _progress(facts), pending, carry


@contextmanager
def _understanding(run: Run) -> Iterator[None]:
    """Within it, a checkpoint that is whole but holds other things than `save` writes is a RunError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise RunError(
            f"{run.path / 'resume' / 'last.safetensors'} is no checkpoint of this run ({type(error).__name__}: "
            f"{short(str(error))}). Restore it from a copy, or train anew."
        ) from error


def _progress(facts: Mapping[str, Any]) -> Progress:
    progress = Progress(**facts["progress"])
    for name, default in asdict(Progress()).items():
        value = getattr(progress, name)
        if type(value) is not type(default) and (type(value), type(default)) != (int, float):
            raise ValueError(f"its {name} is {short(value)}")
    return progress


def _check_unchanged(run: Run, task: Any, options: TrainingOptions, facts: Mapping[str, Any]) -> None:
    """Raises a RunError where the options or the task's data are not those that the run was begun with."""
    was = type(options)(**facts["options"])
    for name in was.model_fields_set:  # a run of an older version does not know all fields
        if getattr(was, name) != getattr(options, name):
            raise RunError(
                f"The training.{name} in {run.path / 'config.json'} has changed since the run was begun: it was "
                f"{short(getattr(was, name))} and is {short(getattr(options, name))}. Put it back to resume, or start "
                "a new run."
            )
    check_data(run, facts["task"], task.facts())


def check_data(run: Run, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises a RunError where the facts of a task's data are not those that a run was begun with."""
    for name, value in now.items():
        if was.get(name) != value:
            raise RunError(
                f"The {name} of {run.path} changed since it was trained: the hash was {short(was.get(name))} and is "
                f"{short(value)}. Put the same data back to resume, or start a new run."
            )


def _go_to_position(run: Run, task: Any, positions: Tensors) -> None:
    """Go on in the data of each process where it was.

    Raises:
        RunError: there were more processes, or fewer.
    """
    if positions:
        world, were = World.here(), len({name.partition("/")[0] for name in positions})
        if were != world.size:
            raise RunError(
                f"{run.path} reads a stream in {were} process{'es' * (were > 1)}, each of which has its own part of "
                f"it, and goes on with as many. Got {world.size}: start {were}, or begin another run."
            )
        task.go_to(under(f"{world.rank}/", positions))


def _restore_optimizer(optimizer: Any, tensors: Tensors, groups: Any) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, kept in optimizer.state.items():
        for key, value in kept.items():
            expected = parameter.shape[:1] if key == MOVED else parameter.shape
            if isinstance(value, torch.Tensor) and value.dim() and value.shape != expected:
                raise ValueError(f"'{key}' of the optimizer has shape {tuple(value.shape)}, not {tuple(expected)}")


def _generator(accelerator: Accelerator) -> torch.Tensor:
    """The state of torch's randomness on this process: the CPU's, and the device's after it."""
    state = torch.get_rng_state()
    if accelerator.device.type == "cuda":
        state = torch.cat([state, torch.cuda.get_rng_state(accelerator.device)])
    return state.to(accelerator.device)


def _set_generator(accelerator: Accelerator, state: torch.Tensor) -> None:
    on_cpu = torch.get_rng_state().numel()
    torch.set_rng_state(state[:on_cpu].cpu().clone())  # it reads a view from the start of its storage
    if accelerator.device.type == "cuda" and state.numel() > on_cpu:
        torch.cuda.set_rng_state(state[on_cpu:].cpu().clone(), accelerator.device)


def _truncate(run: Run, size: int) -> None:
    """Drop what was reported after the checkpoint, since those steps are taken again, and a line that was cut short."""
    with writing(run.metrics):
        if run.metrics.exists():
            with run.metrics.open("r+b") as file:
                file.truncate(file.read(size).rfind(b"\n") + 1)
