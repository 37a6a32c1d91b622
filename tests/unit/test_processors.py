"""What affinity and control groups grant, and what torch finds in the environment of a command line."""

import json
import math
import os
import re
import subprocess
import sys

import pytest

from selfloop import processors

COUNT = processors.count  # before a fixture replaces it
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="affinity and control groups are Linux's")

V2 = "30 23 0:26 {} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "36 31 0:29 {} /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct"
OTHERS = [
    "21 1 8:1 / / rw,relatime - ext4 /dev/root rw",
    "37 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset",
]


@pytest.fixture
def machine(tmp_path):
    """A root with these control groups: the lines of `cgroup`, the mounts, and the files by path."""

    def build(groups, mounts, files):
        own = {"proc/self/cgroup": "\n".join(groups), "proc/self/mountinfo": "\n".join([*OTHERS, *mounts])}
        for path, text in (own | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(f"{text}\n")
        return tmp_path

    return build


def v1(folder, quota, period=100000):
    return {f"cpu,cpuacct/{folder}cpu.cfs_{name}_us": value for name, value in (("quota", quota), ("period", period))}


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "expected"),
    [
        (["0::/"], [V2.format("/")], {"cpu.max": "150000 100000"}, 1.5),
        (["0::/"], [V2.format("/")], {"cpu.max": "max 100000"}, math.inf),
        (["0::/"], [V2.format("/")], {}, math.inf),
        (["0::/a/b"], [V2.format("/")], {"a/b/cpu.max": "300000 100000", "a/cpu.max": "50000 25000"}, 2),
        (["0::/a/b"], [V2.format("/")], {"a/b/cpu.max": "10000 100000", "a/cpu.max": "max 100000"}, 0.1),
        (["0::/docker/1f"], [V2.format("/docker/1f")], {"cpu.max": "400000 100000"}, 4),
        (["0::/../../x"], [V2.format("/")], {"cpu.max": "400000 100000"}, 4),
        (["4:cpu,cpuacct:/a", "3:cpuset:/b"], [V1.format("/")], v1("a/", 250000), 2.5),
        (["4:cpuacct,cpu:/a", "0::/c"], [V1.format("/"), V2.format("/")], v1("", -1) | v1("a/", -1), math.inf),
        (["4:cpu,cpuacct:/docker/1f"], [V1.format("/docker/1f")], v1("", 100000, 50000), 2),
        (["4:cpu:/a", "0::/c"], [V1.format("/"), V2.format("/")], v1("a/", 30000) | {"c/cpu.max": "20000 100000"}, 0.2),
        (["0::/"], [V2.format("/")], {"cpu.max": "a lot"}, math.inf),
        (["0::/"], [V2.format("/")], {"cpu.max": "100000 0"}, math.inf),
        ([], [], {}, math.inf),
    ],
)
def test_a_quota_is_the_least_of_the_control_groups_around_the_process(machine, groups, mounts, files, expected):
    assert processors.quota(machine(groups, mounts, files)) == expected


def test_without_proc_there_is_no_quota(tmp_path):
    assert processors.quota(tmp_path) == math.inf


@pytest.fixture
def granted(monkeypatch):
    """Four processors by affinity, and this quota."""

    def grant(quota):
        monkeypatch.setattr(processors, "count", COUNT)
        monkeypatch.setattr(processors, "affinity", lambda: 4)
        monkeypatch.setattr(processors, "quota", lambda: quota)
        processors._quota.cache_clear()

    yield grant
    processors._quota.cache_clear()


@pytest.mark.parametrize(("quota", "expected"), [(math.inf, 4), (8, 4), (4, 4), (2, 2), (1.2, 2), (0.1, 1)])
def test_threads_are_no_more_than_affinity_and_quota_rounded_up(granted, quota, expected):
    granted(quota)
    assert processors.count() == expected


SPINS = {"GOMP_SPINCOUNT": processors.SPINS}


@pytest.mark.parametrize(
    ("quota", "given", "expected"),
    [
        (math.inf, {}, SPINS),
        (math.inf, {"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        (math.inf, {"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        (1.5, {}, SPINS | {"OMP_NUM_THREADS": "2"}),
        (1.5, {"OMP_NUM_THREADS": "1"}, SPINS | {"OMP_NUM_THREADS": "1"}),
        (math.inf, {"OMP_NUM_THREADS": "4"}, SPINS | {"OMP_NUM_THREADS": "4"}),
        (math.inf, {"OMP_NUM_THREADS": "9"}, SPINS | {"OMP_NUM_THREADS": "4"}),
        (math.inf, {"MKL_NUM_THREADS": "9"}, SPINS | {"MKL_NUM_THREADS": "4"}),
        (math.inf, {"OMP_NUM_THREADS": "9,2"}, SPINS | {"OMP_NUM_THREADS": "9,2"}),
    ],
)
def test_the_environment_is_completed_and_threads_are_limited(granted, quota, given, expected):
    granted(quota)
    environment = dict(given)
    processors.share(environment)
    assert environment == expected


def test_idle_threads_may_be_left_as_they_are(granted):
    granted(math.inf)
    environment = {}
    processors.share(environment, idle_threads_sleep=False)
    assert not environment


@linux
def test_what_is_compared_with_torch_waits_as_torch_does():
    done = python("-m", "selfloop", "bench", "nothing", OMP_DISPLAY_ENV="VERBOSE")
    assert "There is no benchmark 'nothing'" in done.stderr
    assert re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr) == ["300000"]


@linux
def test_libgomp_finds_what_the_command_line_sets():
    """OpenMP itself prints what it has read."""
    done = python("-m", "selfloop", "doctor", "--json", OMP_DISPLAY_ENV="VERBOSE", OMP_NUM_THREADS="1000")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr) == [processors.SPINS]
    count = COUNT()
    assert re.findall(r"OMP_NUM_THREADS = '(\d+)'", done.stderr) == [str(count)]
    assert json.loads(done.stdout)["threads"] == f"{count} of {count} processors"


TORCH_FIRST = """
import json, os
import torch
torch.set_num_threads(2)
import selfloop as sl
from selfloop.cli.doctor import examine
from selfloop.kernels import team

os.sched_getaffinity = lambda _: {0, 1}
rnn, x = sl.LSTM(64, 64), torch.randn(60, 8, 64)
said = {"two": rnn.explain(), "doctor": examine()["threads"]}
os.environ["GOMP_SPINCOUNT"] = "300"  # too late: libgomp has been loaded
said["stepper"] = sl.Stepper(rnn).explain()
expected = rnn(x)[0]
os.sched_getaffinity = lambda _: {0}
said |= {"threads": team.threads(), "same": torch.equal(rnn(x)[0], expected), "one": rnn.explain()}
torch.set_num_threads(1)
print(json.dumps(said | {"none": rnn.explain()}))
"""


@linux
def test_where_torch_came_first_it_is_said_and_kernels_use_the_processors_there_are():
    done = python("-c", TORCH_FIRST)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    spins = f"set GOMP_SPINCOUNT={processors.SPINS_OF_LIBRARIES} before torch is imported"
    limit = "this process may use 1 processor, as kernels do; torch uses 2 threads: call torch.set_num_threads(1)"
    assert all(spins in said[name] for name in ("two", "doctor", "stepper"))
    assert said["doctor"].startswith("2 of ")
    assert (said["threads"], said["same"]) == (1, True)
    assert f"\n  note       {limit}" in said["one"]
    assert limit not in said["two"]
    assert "note" not in said["none"]


def python(*arguments, **environment):
    """A fresh interpreter, whose user has chosen nothing but this."""
    own = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=own | environment, capture_output=True, text=True, check=False)
