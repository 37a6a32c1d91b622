"""The processors that this process may use, and how long torch's threads hold them between two operations.

Nothing here imports torch: libgomp, its OpenMP library on Linux, reads the environment once, when torch loads it.
"""

import math
import os
import sys
from collections.abc import Iterator, MutableMapping
from functools import lru_cache
from pathlib import Path, PurePosixPath

SPINS = "3000"
"""How often an idle thread of libgomp looks for work before it sleeps. By default it looks 300,000 times, for
milliseconds: two processes of two threads on two processors then wait for each other's idle threads. With 300 looks
they sleep between two operations, too, and small models wait for them to wake: `selfloop train label` does 18,000 words
a second instead of 21,000 (benchmarks/results/label_spins.txt). Two of `selfloop train lm` at once do 3 and 4 % more
than one alone with 3,000 looks, and 9 and 19 % more with 300 (shared_cores_spins.txt)."""

SPINS_OF_LIBRARIES = "300"
"""What programs that share processors should set: two loops of torch.nn at once do with 3,000 looks 16 % of what one
does alone, and with 300 94 %; of selfloop 75 and 95 %."""

WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""The variables that say how an idle thread of libgomp waits."""

_CGROUP_FILES = {"cgroup2": ("cpu.max",), "cgroup": ("cpu.cfs_quota_us", "cpu.cfs_period_us")}
"""Where each version of control groups keeps its quota and the period of it, in µs."""


def affinity() -> int:
    """The processors that this thread may run on: read at every call, since that may change (0.4 µs)."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def count() -> int:
    """How many threads can run at once: a processor each, or fewer by the quota of the cgroup, which is read once."""
    return min(affinity(), _quota())


def share(environment: MutableMapping[str, str], *, idle_threads_sleep: bool = True) -> None:
    """Set the variables by which torch, loaded later, shares the processors with other processes.

    How idle threads wait is the user's choice where one is made. More threads than processors are not.

    Args:
        environment: of this process.
        idle_threads_sleep: whether they sleep soon, and not as late as torch's do by themselves.
    """
    if idle_threads_sleep and not _is_chosen(environment):
        environment["GOMP_SPINCOUNT"] = SPINS
    if count() < affinity():  # torch knows of affinity, and not of quotas
        environment.setdefault("OMP_NUM_THREADS", str(count()))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        asked = environment.get(name, "")
        if asked.isdecimal() and int(asked) > count():
            environment[name] = str(count())


def may_spin() -> bool:
    """Whether torch's libgomp was told nothing about waiting, as far as the environment can tell."""
    return _TOO_LATE or not _is_chosen(os.environ)


def quota(root: Path = Path("/")) -> float:
    """How many processors' time the control groups of this process grant it; infinite without a limit.

    Args:
        root: where `proc` and `sys` are.
    """
    try:
        cgroups = list(_cgroups(root))
    except (OSError, ValueError):  # no `proc`, or one of another kind
        return math.inf
    return min((_limit(folder, _CGROUP_FILES[kind]) for kind, folder in cgroups), default=math.inf)


def _is_chosen(environment: MutableMapping[str, str]) -> bool:
    return any(name in environment for name in WAITING)


_TOO_LATE = "torch" in sys.modules and not _is_chosen(os.environ)
"""What is set from here on is not seen by libgomp."""


@lru_cache(maxsize=1)
def _quota() -> int:
    granted = quota()
    return max(1, math.ceil(granted)) if granted < math.inf else sys.maxsize


def _limit(folder: Path, files: tuple[str, ...]) -> float:
    try:
        granted, period = " ".join((folder / name).read_text() for name in files).split()
        return math.inf if granted in ("max", "-1") else int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # the root group has no such files
        return math.inf


def _cgroups(root: Path) -> Iterator[tuple[str, Path]]:
    """The control groups of this process that may limit its time, the innermost first: version and folder."""
    own: dict[str, PurePosixPath] = {}
    for line in (root / "proc/self/cgroup").read_text().splitlines():  # 0::/user.slice, or 4:cpu,cpuacct:/docker/1f2e
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            own["cgroup" if controllers else "cgroup2"] = PurePosixPath(path)
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        # 36 31 0:29 /docker/1f2e /sys/fs/cgroup/cpu ro,nosuid - cgroup cgroup rw,cpu,cpuacct
        place, _, kind_of = line.partition(" - ")
        top, mount = place.split()[3:5]
        kind, *_, options = kind_of.split()
        if kind not in own or (kind == "cgroup" and "cpu" not in options.split(",")):
            continue
        is_below = own[kind].is_relative_to(top) and ".." not in own[kind].parts
        inside = own[kind].relative_to(top) if is_below else PurePosixPath()  # a container may see no more than its own
        for group in (inside, *inside.parents):
            yield kind, root / mount.lstrip("/") / group
