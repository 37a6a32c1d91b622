"""The targets of this processor: its own, and those of older ones, whose code it runs too."""

import pytest

from selfloop.compiler.cpu.targets import TARGETS, Target, host
from selfloop.errors import BackendError


def _runs_here(target: Target) -> bool:
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SELFLOOP_TARGET", target.name)
            return host() is target
    except BackendError:
        return False


RUNNABLE = [target for target in TARGETS if _runs_here(target)]
