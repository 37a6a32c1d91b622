import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "selfloop", deadline=None, max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("selfloop"), max_examples=300, derandomize=False)
settings.load_profile("selfloop")  # --hypothesis-profile=explore draws other examples at each run


def pytest_configure():
    torch.set_num_threads(1)  # workers share the processors


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data that the environment names."""
    folder = os.environ.get("SELFLOOP_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SELFLOOP_DATA names no folder of real data")
    return Path(folder)
