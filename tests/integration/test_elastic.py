"""Two machines, stood for by two torchruns of one process each: what is killed is replaced, and the run goes on."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from integration.launch import Launched
from integration.world import fill_the_first_disk, free_port, take_place

from selfloop.training.checkpoint import read_tensors

STEPS = 150
SETTINGS = ("training.save_every=0.05", "training.validations=2", "model.hidden_dropout=0.1", "model.num_layers=2")


class Machine:
    """A torchrun of one process, of two that find each other on a port of the first."""

    def __init__(self, folder, port, is_host, *arguments):
        rendezvous = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "job")
        rendezvous += ("--rdzv-conf", f"is_host={is_host}")
        torchrun = ("-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "9")
        words = [*torchrun, *rendezvous, "--monitor-interval", "0.05", "-m", "--", "selfloop", *arguments]
        with (folder / f"{len([*folder.glob('*.err')])}.err").open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, words)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
                stderr=err,
            )

    @property
    def worker(self):
        (found,) = psutil.Process(self.process.pid).children()
        return found

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        return self.process.wait(100)


@pytest.fixture
def machines(tmp_path):
    """Starts machines, and leaves none behind."""
    started, port = [], free_port()

    def start(*arguments):
        started.append(Machine(tmp_path, port, not started, *arguments))
        return started[-1]

    yield start
    for machine in started:
        if machine.process.poll() is None:
            machine.process.terminate()
            machine.process.wait(60)


def wait_for(condition, *machines):
    until = time.monotonic() + 100
    while not condition() and time.monotonic() < until and all(m.process.poll() is None for m in machines):
        time.sleep(0.01)
    assert condition()


def saved_at(run):
    """When the last checkpoint was saved."""
    path = run / "resume" / "last.safetensors"
    return path.stat().st_mtime_ns if path.exists() else 0


def assert_same(run, other):
    """The same bits: weights, optimizer, randomness and carried states, and the same figures."""
    (tensors, facts), (others, other_facts) = (
        read_tensors(path / "resume" / "last.safetensors") for path in (run, other)
    )
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name]), name
    for name in ("step", "targets", "best_loss", "best_step", "finished"):
        assert facts["progress"][name] == other_facts["progress"][name]
    results, other_results = (json.loads((path / "results.json").read_text()) for path in (run, other))
    assert results["valid"] == other_results["valid"]


def started(folder, size, *arguments, prepare=take_place):
    """Processes without torchrun, each in a folder of its own."""
    port, processes = free_port(), []
    for rank in range(size):
        place = folder / f"process-{rank}"
        place.mkdir(exist_ok=True)
        processes.append(Launched(place, *arguments, prepare=(prepare, rank, size, port)))
    return processes


def pair(folder, *arguments, prepare=take_place):
    """What two of them end with."""
    return [process.end() for process in started(folder, 2, *arguments, prepare=prepare)]


@pytest.mark.slow
def test_a_worker_and_a_torchrun_that_are_killed_are_replaced_and_the_run_ends_with_the_same_bits(
    play, small, tmp_path, machines
):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    command = ["train", "lm", play, *small, *settings, "--steps", STEPS, "--resume", "auto", "--run"]
    run, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    first, second = machines(*command, run), machines(*command, run)
    wait_for(lambda: saved_at(run), first, second)
    second_worker = second.worker
    first.worker.kill()
    second.kill()
    third = machines(*command, run)
    assert first.end() == 0
    assert third.end() == 0
    assert not second_worker.is_running()
    for ended in pair(tmp_path, *command, undisturbed):
        assert ended.status == 0, ended.err
    assert_same(run, undisturbed)


def test_the_first_process_loses_its_disk(play, small, tmp_path):
    command = ["train", "lm", play, *small, "--steps", 40, "--resume", "auto", "--run", tmp_path / "run"]
    first, second = pair(tmp_path, *command, "--set", "training.save_every=0.001", prepare=fill_the_first_disk)
    assert (first.status, second.status) == (2, 2)
    assert "cannot be written (No space left on device); what was saved before is untouched." in first.err
    assert "selfloop, process 1: Another process of this job has ended or cannot be reached" in second.err
    assert "Traceback" not in first.err + second.err
    for ended in pair(tmp_path, *command, "--set", "training.save_every=0.001"):
        assert ended.status == 0, ended.err


def test_a_folder_that_one_process_does_not_see_is_trained_in_and_not_resumed(play, small, tmp_path):
    command = ["train", "lm", play, *small, "--steps", 4, "--resume", "auto", "--run", "run"]
    for ended in pair(tmp_path, *command):
        assert ended.status == 0, ended.err
    first, second = pair(tmp_path, *command)
    assert (first.status, second.status) == (2, 2)
    assert "run has a checkpoint where the first process is, and none on " in second.err
    assert "Another process of this job has ended" in first.err
    assert not (tmp_path / "process-1" / "run").exists()


def test_three_processes_that_go_on_sum_in_the_order_of_those_that_never_stopped(play, small, tmp_path):
    """With more than two, the order in which gradients are summed decides the last bits."""
    settings = ("model.hidden_size=128", "training.batch_size=6", "training.save_every=0.001", "training.validations=2")
    words = [word for setting in settings for word in ("--set", setting)]
    command = ["train", "lm", play, *small, *words, "--steps", 16, "--resume", "auto", "--run"]
    run, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    processes = started(tmp_path, 3, *command, run)
    processes[0].wait_for(lambda: saved_at(run))
    for process in processes:
        process.signal(signal.SIGKILL)
    for process in processes:
        process.end()
    for path in (run, undisturbed):
        for ended in [process.end() for process in started(tmp_path, 3, *command, path)]:
            assert ended.status == 0, ended.err
    assert_same(run, undisturbed)
