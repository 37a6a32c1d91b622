import gc
import os
from pathlib import Path

import pytest
import shape_checks  # noqa: F401  before selfloop: it makes the checks of shapes
import torch
from hypothesis import HealthCheck, settings

from selfloop import processors
from selfloop.caches import user_caches
from selfloop.kernels import memory
from selfloop.onnx_runtime import VARIABLE

settings.register_profile(
    "selfloop", deadline=None, max_examples=15, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("selfloop"), max_examples=300, derandomize=False)
settings.load_profile("selfloop")  # --hypothesis-profile=explore draws other examples at each run


def pytest_configure(config):
    torch.set_num_threads(1)  # workers share the processors
    os.environ["SELFLOOP_VERIFY"] = "1"  # every level, before and after every pass of the compiler
    os.environ.setdefault(VARIABLE, "1")  # some tests import ONNX Runtime themselves
    # Each kernel is compiled once by each version of the compiler, whose text is a part of the key.
    os.environ.setdefault("SELFLOOP_CACHE", str(user_caches() / "selfloop-tests"))


def pytest_collection_finish():
    gc.collect()
    gc.freeze()  # torch and six thousand tests stay: no collection of garbage need look at them again


@pytest.fixture(autouse=True, scope="session")
def poison():
    """Whatever memory a kernel gets, new or recycled, is full of NaN: what it does not write, it must not read."""
    original = memory._empty
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_empty", lambda *arguments: original(*arguments).fill_(torch.nan))
        yield


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def many_processors(monkeypatch):
    """Kernels run on as many threads as a test asks torch for, be the machine smaller."""
    monkeypatch.setattr(processors, "count", lambda: 64)


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data that the environment names."""
    folder = os.environ.get("SELFLOOP_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SELFLOOP_DATA names no folder of real data")
    return Path(folder)
