"""The training loop, for every task."""

import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import gather
from torch import Tensor, nn

from selfloop.errors import RunError
from selfloop.layers import State
from selfloop.options.training import TrainingOptions
from selfloop.training import resume
from selfloop.training.averages import Average, with_average
from selfloop.training.log import LINES, Log
from selfloop.training.optimizers import averaged, is_averaging, make_optimizer, start_averaging, update
from selfloop.training.resume import Progress
from selfloop.training.run import Run
from selfloop.training.schedule import Budget, learning_rate, passed
from selfloop.training.sparse_gradients import sparse_gradients
from selfloop.world import World

PLATEAU_FACTOR = 0.25
"""What a plateau leaves of the learning rate."""

AVERAGE_AFTER = 5
"""Validations without improvement after which ASGD averages: the n of NT-ASGD (Merity et al. 2018)."""

REST = 4
"""With a budget of minutes, updates run this many times as long as a validation and its checkpoint took before the next
one, and before the last, at the budget's end: on a large validation set, ten would be most of a short budget."""


class Task(Protocol):
    """What the loop needs of a task."""

    steps_per_epoch: int | None
    """Updates in a pass through the data; None of a stream, whose length nobody knows."""

    @property
    def best_by(self) -> str:
        """The metric of `validate` that chooses the best weights: the lowest ``loss``, or the highest of another."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def loss(self, model: nn.Module, step: int, share: slice, carry: State | None) -> tuple[Tensor, int, State | None]:
        """Of update `step`, what the rows `share` of its batch add to its loss, how many targets they have, and the
        state for the next update, cut off from its past.

        The mean over the processes' shares is the loss of the batch: each is its sum over the share, times the number
        of processes, divided by the number of targets in the whole batch, or by what these weigh.
        """

    def validate(self, model: nn.Module) -> Mapping[str, float]:
        """Metrics on the validation data: ``loss``, and others from 0 up.

        Every process is asked, and may take a share of the data.
        """

    def position(self) -> Mapping[str, Tensor]:
        """Where this process is in its data, if the number of the update does not say."""

    def go_to(self, position: Mapping[str, Tensor]) -> None:
        """Go on from a position of this process."""

    def facts(self) -> Mapping[str, Any]:
        """What must be the same when a run is resumed, such as the data's fingerprint."""


class Listener(Protocol):
    """Who watches a run: the command line, a notebook, a test."""

    def reported(self, report: Mapping[str, float]) -> None:
        """Step, spent, loss, learning rate and speed, a few times a second."""

    def validated(self, metrics: Mapping[str, float], best: bool) -> None:
        """The step and the metrics of a validation, and whether they are the best so far."""

    def stop(self) -> bool:
        """Whether the run should save and stop now."""


def train(
    task: Task,
    run: Run,
    options: TrainingOptions,
    accelerator: Accelerator,
    listener: Listener,
    resumed: bool = False,
    more: Budget | None = None,
) -> Progress:
    """Train until the budget is spent, validation has stopped improving, or the listener says stop.

    The best weights are in the run's folder, the last ones in the model. Killed at any moment and resumed, a run with a
    budget of steps or epochs ends with the same bits as one that was never stopped. With `more`, a run that is finished
    is resumed, and trained so much longer.

    Raises:
        RunError: the loss is no longer finite, the folder cannot be written, another process trains the run, or there
            is nothing to resume from.
    """
    by_rows = sparse_gradients(task.model) if options.optimizer == "adamw" else nullcontext()
    with run.locked(accelerator.is_main_process), by_rows:
        return _train(task, run, options, accelerator, listener, resumed, more)


def _train(
    task: Task,
    run: Run,
    options: TrainingOptions,
    accelerator: Accelerator,
    listener: Listener,
    resumed: bool,
    more: Budget | None,
) -> Progress:
    main = accelerator.is_main_process
    world = World.here()
    model = accelerator.prepare_model(task.model, evaluation_mode=True)  # without DDP: see `World.average`
    optimizer = make_optimizer(task.model, options)  # accelerate's looks for a package on the disk at each step
    world.copy_from_first([*task.model.parameters(), *task.model.buffers()])
    average = Average(task.model) if options.average and options.optimizer != "asgd" else None
    torch.manual_seed(options.seed + accelerator.process_index)
    rows = -(-options.batch_size // accelerator.num_processes)
    share = slice(accelerator.process_index * rows, min(options.batch_size, (accelerator.process_index + 1) * rows))

    progress, carry, pending = Progress(), None, None
    if resumed:
        progress, pending, carry = resume.restore(run, task, options, optimizer, average, accelerator, share)
    budget = progress.budget(options, task.steps_per_epoch)
    if more is not None:
        budget = progress.lengthen(more, options.validations)
        pending = {"line": passed(budget.spent(progress.step, progress.elapsed), LINES), "loss": 0.0, "steps": 0.0}
    started = time.perf_counter() - progress.elapsed
    spent, saved, stop = budget.spent(progress.step, progress.elapsed), progress.elapsed, progress.finished

    log = Log(run, listener, progress.step, pending) if main else None
    validated, earliest, rest = None, 0.0, 0.0
    while spent < 1 and not stop:
        rate = learning_rate(options, spent, progress.scale)
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        loss, targets, carry = task.loss(model, progress.step, share, carry)
        accelerator.backward(loss)
        update(optimizer, options.clip, average, world)

        progress.step += 1
        elapsed = time.perf_counter() - started
        progress.elapsed, mean, targets, stop = _agree(accelerator, elapsed, loss.item(), targets, listener.stop())
        progress.targets += targets
        _check_finite(mean, progress)
        spent = budget.spent(progress.step, progress.elapsed)
        if log:
            log.add(progress.step, progress.elapsed, spent, mean, targets, rate)

        if validated is not None:  # the update before
            rest = REST * (progress.elapsed - validated)
            earliest = progress.elapsed + rest
        due = passed(spent, options.validations)
        rests = budget.minutes is not None and not earliest <= progress.elapsed <= 60 * budget.minutes - rest
        validate = due > progress.validations and (spent >= 1 or not rests)
        validated = progress.elapsed if validate else None
        if validate:
            progress.validations = due
            with with_average(task.model, average), accelerator.autocast():
                metrics = _validate(task, optimizer, progress)
            best = _judge(progress, metrics, task.best_by, options, optimizer)
            if log:
                if best:
                    with averaged(optimizer), with_average(task.model, average):
                        run.save_model(task.model, {**metrics, "step": progress.step})
                log.validated(progress.step, progress.elapsed, spent, metrics, best)
            progress.finished = spent >= 1 or progress.stale >= options.stops_after
            stop = stop or progress.finished
        if stop or validate or progress.elapsed - saved > options.save_every:
            saved = progress.elapsed
            facts = {"progress": asdict(progress), "pending": log and log.pending(), "options": options.model_dump()}
            resume.save(run, task, optimizer, average, accelerator, facts, carry)
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # what uses the model now computes in its own precision
    return progress


def _agree(
    accelerator: Accelerator, elapsed: float, loss: float, targets: int, stop: bool
) -> tuple[float, float, int, bool]:
    """For all processes, which must take the same steps: the first one's clock, the loss and the number of targets of
    the whole batch, and whether any of them is to stop.
    """
    if accelerator.num_processes == 1:
        return elapsed, loss, targets, stop
    said = torch.tensor([[elapsed, loss, targets, float(stop)]], dtype=torch.float64, device=accelerator.device)
    everyone = gather(said)
    return float(everyone[0, 0]), float(everyone[:, 1].mean()), int(everyone[:, 2].sum()), bool(everyone[:, 3].any())


def _validate(task: Task, optimizer: Any, progress: Progress) -> Mapping[str, float]:
    """All processes validate, with the averaged weights if there are any; the first one's figures count."""
    task.model.eval()
    with averaged(optimizer), torch.inference_mode():
        metrics = World.here().from_first(task.validate(task.model))
    _check_finite(metrics["loss"], progress)
    return metrics


def _check_finite(loss: float, progress: Progress) -> None:
    if not math.isfinite(loss):
        kept = "; the best weights so far are in the run's folder" if progress.best_step else ""
        raise RunError(
            "The loss is no longer finite, so training has diverged. Lower the learning rate, such as "
            f"--set training.learning_rate=0.001{kept}."
        )


def _judge(
    progress: Progress, metrics: Mapping[str, float], best_by: str, options: TrainingOptions, optimizer: Any
) -> bool:
    """Whether the metrics are the best so far, which is remembered.

    Where validation stopped improving, lower the learning rate or begin to average.
    """
    score, minus_loss = rank(metrics, best_by)
    if (score, minus_loss) > (progress.best_score, -progress.best_loss):
        progress.best_score, progress.best_loss = score, -minus_loss
        progress.best_step, progress.stale = progress.step, 0
        return True
    progress.stale += 1
    if options.schedule == "plateau":
        progress.scale *= PLATEAU_FACTOR
    if options.optimizer == "asgd" and progress.stale >= AVERAGE_AFTER and not is_averaging(optimizer):
        start_averaging(optimizer)
    return False


def rank(metrics: Mapping[str, float], best_by: str) -> tuple[float, float]:
    """What is higher for better metrics: by the lowest loss, or by the highest of another, and then by the lower loss.

    >>> rank({"loss": 0.5, "accuracy": 0.9}, "accuracy"), rank({"loss": 0.5, "accuracy": 0.9}, "loss")
    ((0.9, -0.5), (0.0, -0.5))
    """
    return 0.0 if best_by == "loss" else metrics[best_by], -metrics["loss"]
