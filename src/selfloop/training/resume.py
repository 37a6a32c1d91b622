"""All that a run needs to go on as if it had never stopped."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather

from selfloop.errors import RunError
from selfloop.layers import State
from selfloop.training.checkpoint import Tensors, writing
from selfloop.training.options import TrainingOptions
from selfloop.training.run import Run, load_into, weights


def save(
    run: Run,
    task: Any,
    optimizer: Any,
    accelerator: Accelerator,
    facts: Mapping[str, Any],
    carry: State | None,
) -> None:
    """Write a checkpoint: weights, optimizer, randomness of every process, the carried state, and facts of the loop."""
    generators = gather(_generator(accelerator)[None])
    states = {} if carry is None else {n: gather(t.transpose(0, 1).contiguous()) for n, t in carry.tensors.items()}
    if not accelerator.is_main_process:
        return
    tensors: Tensors = {f"model/{name}": t for name, t in weights(task.model).items()}
    tensors |= {f"carry/{name}": t for name, t in states.items()}
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


def restore(
    run: Run, task: Any, options: TrainingOptions, optimizer: Any, accelerator: Accelerator, share: slice
) -> tuple[dict[str, Any], State | None]:
    """Put a checkpoint back; returns the facts of the loop and this process's rows of the carried state.

    Raises:
        RunError: there is no checkpoint, it is damaged, or the options or the task's data have changed since.
    """
    tensors, facts = run.load_checkpoint()
    was = TrainingOptions(**facts["options"])
    for name in TrainingOptions.model_fields:
        if getattr(was, name) != getattr(options, name):
            raise RunError(
                f"The training.{name} in {run.path / 'config.json'} has changed since the run was begun: it was "
                f"{getattr(was, name)!r} and is {getattr(options, name)!r}. Put it back to resume, or start a new run."
            )
    for name, value in task.facts().items():
        if facts["task"].get(name) != value:
            raise RunError(
                f"The {name} of {run.path} has changed since it was trained: it was {facts['task'].get(name)!r} and is "
                f"{value!r}. Put the same data back to resume, or start a new run."
            )
    load_into(task.model, _under("model/", tensors), run.path / "resume" / "last.safetensors")

    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _under("optimizer/", tensors).items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})

    generators = tensors["random"]
    if generators.shape[0] == accelerator.num_processes:  # else another number of processes, with fresh randomness
        _set_generator(accelerator, generators[accelerator.process_index])
    if accelerator.is_main_process:
        _truncate(run, facts["metrics_bytes"])
    carry = None
    if facts["states"]:
        states = {n: tensors[f"carry/{n}"][share].transpose(0, 1).contiguous() for n in facts["states"]}
        carry = State(**states).to(accelerator.device)
    return facts, carry


def _under(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


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
