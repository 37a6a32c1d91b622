"""ONNX Runtime reports nothing where selfloop imports it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import selfloop
from selfloop.onnx_runtime import VARIABLE, import_onnxruntime

ROOT = Path(selfloop.__file__).parent
RUNNER = ROOT / "exporting/onnx/tasks/run.py"
WAYS = {
    "selfloop": "from selfloop.onnx_runtime import import_onnxruntime; import_onnxruntime().InferenceSession",
    "run.py": "import runpy; runpy.run_path('run.py')['onnxruntime'].InferenceSession",
}


@pytest.mark.parametrize("way", WAYS)
def test_it_keeps_no_number_of_this_computer(way, tmp_path):
    shutil.copy(RUNNER, tmp_path)
    (tmp_path / "export.json").write_text("{}")  # beside run.py, as in an export
    unset = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment = {**unset, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", WAYS[way]], env=environment, check=True, cwd=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv(VARIABLE, "0")
    import_onnxruntime()
    assert os.environ[VARIABLE] == "0"


def test_nothing_else_imports_it():
    importing = {
        path for path in ROOT.rglob("*.py") if re.search(r"^\s*(import|from) onnxruntime", path.read_text(), re.M)
    }
    assert importing == {RUNNER}
