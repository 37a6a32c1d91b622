import json
import re

import pytest

from selfloop.cells import ZOO
from selfloop.cli.doctor import EXTRAS
from selfloop.kernels.dispatch import BACKENDS


def test_json_holds_all_that_the_doctor_examines(selfloop):
    said = selfloop("doctor", "--json")
    facts = json.loads(said.out)
    assert (said.status, said.err) == (0, "")
    assert set(facts) == {
        *("selfloop", "python", "packages", "processor", "kernels", "threads", "devices", "extras", "cells", "backends")
    }
    assert set(facts["extras"]) == set(EXTRAS)
    assert facts["cells"] == list(ZOO)
    assert set(facts["backends"]) == set(BACKENDS)
    assert re.fullmatch(r"\d+\.\d+.*", facts["packages"]["torch"])


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_text_is_two_columns_that_fit_the_screen(selfloop, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = selfloop("doctor").out.splitlines()
    assert max(map(len, lines)) <= columns
    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert names == [
        *("selfloop", "python", "packages", "processor", "kernels", "threads", "devices", "extras", "cells", "backends")
    ]
    assert len({re.search(r"(?<=  )\S|$", line).start() for line in lines if not line.startswith(" ")}) == 1
