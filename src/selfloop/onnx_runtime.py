"""ONNX Runtime, an extra, without its telemetry."""

import os
from importlib import import_module
from typing import Any

VARIABLE = "ORT_DISABLE_TELEMETRY"
"""ONNX Runtime reports to Microsoft unless this is 1 when it is imported: its Privacy.md."""


def import_onnxruntime() -> Any:
    """The module. It reports nothing and keeps no number of this computer, unless the user has set VARIABLE.

    Raises:
        ImportError: it is not installed.
    """
    os.environ.setdefault(VARIABLE, "1")
    return import_module("onnxruntime")
