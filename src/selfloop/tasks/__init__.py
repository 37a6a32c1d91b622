"""The tasks: each its data, its model, its metric, and its embedded default."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfloop.tasks.loading import load as load
else:

    def __getattr__(name: str) -> Any:
        """The table of tasks is read for `--help`, which need not wait for torch."""
        if name != "load":
            raise AttributeError(f"module 'selfloop.tasks' has no attribute '{name}'")
        return importlib.import_module("selfloop.tasks.loading").load


__all__ = ["load"]
