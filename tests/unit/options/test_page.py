"""The page of all fields is what the configurations say."""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "docs" / "write_fields.py"


def test_the_page_of_fields_is_up_to_date():
    written = runpy.run_path(str(SCRIPT))
    assert written["PAGE"].read_text(encoding="utf-8") == written["page"](), "run python docs/write_fields.py"
