import pytest

from selfloop.kernels import readout


@pytest.fixture
def in_blocks(monkeypatch):
    """As few rows at a time as there can be."""
    monkeypatch.setattr(readout, "LOGITS_BYTES", 1)
    readout._plan.cache_clear()
    yield
    readout._plan.cache_clear()
