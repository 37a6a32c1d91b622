import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """The place of a real data set, or a skip that says why."""

    def place(name: str) -> Path:
        folder = os.environ.get("SELFLOOP_DATA")
        if folder is None:
            pytest.skip("needs real data: set SELFLOOP_DATA to the folder that holds it")
        if not (Path(folder) / name).exists():
            pytest.skip(f"needs real data: {name} is not in SELFLOOP_DATA={folder}")
        return Path(folder) / name

    return place
