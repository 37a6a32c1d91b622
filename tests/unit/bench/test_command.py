import json
import sys
from dataclasses import replace

import pytest

from selfloop.bench import Case, cases, steps
from selfloop.bench.peers import PEERS, Peer
from selfloop.cli import main

TINY = (
    Case("lstm", "lstm", "torch.nn", T=6, B=2, I=4, H=6),
    Case("zoo", "janet", "a Python loop", T=3, B=2, I=4, H=6),
    Case("jax", "lstm", "JAX", T=3, B=2, I=4, H=6),
    Case("small", "lstm", "torch.nn", T=3, B=2, I=4, H=6),
)


@pytest.fixture
def selfloop(monkeypatch, capsys):
    """Runs a command line over four tiny cases; gives its status and what it has printed."""
    monkeypatch.setattr(cases, "CASES", TINY)
    monkeypatch.setattr(steps, "STEPS", tuple(replace(case, T=4, B=2) for case in steps.STEPS[-3:-2]))
    monkeypatch.setattr("selfloop.bench.timing.SETTLE", 0)
    monkeypatch.setattr("selfloop.bench.timing.LEAST", 1e-4)
    monkeypatch.setattr("selfloop.bench.peers.find_spec", lambda module: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["selfloop", "bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, *capsys.readouterr()

    return run


def test_json_holds_the_machine_and_the_rows(selfloop):
    status, out, err = selfloop("lstm", "--json", "--rounds", 2, "--quick")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert set(found) == {"machine", "rounds", "left_out", "rows"}
    assert set(found["machine"]) == {"processor", "target", "threads", "processors", "peak_gflops", "versions"}
    (row,) = found["rows"]
    assert (row["group"], row["T"], row["error"]) == ("lstm", 2, None)
    assert min(row["ours_ms"]["median"], row["peer_ms"]["median"], row["ratio"]["low"], row["share_of_peak"]) > 0


def test_the_text_is_a_table_and_names_what_is_left_out(selfloop, tmp_path):
    picture = tmp_path / "ratios.png"
    status, out, err = selfloop("--rounds", 2, "--plot", picture)
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert "GFLOP/s of float32" in lines[0]
    assert lines[1] == "left out: the cases against JAX; first pip install jax"
    assert "lstm: training, against torch.nn" in lines
    assert "zoo: training, against a Python loop" in lines
    assert "step: forward, loss, backward, clipping and AdamW, against the same model on torch.nn" in lines
    assert [line.split()[1] for line in lines if line.startswith("  lstm")] == ["6×2", "3×2"]
    assert lines[-1] == f"{picture} shows the ratios."
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_whole_steps_are_rows_as_well(selfloop):
    status, out, err = selfloop("step", "--json", "--rounds", 2)
    (row,) = json.loads(out)["rows"]
    assert (status, err, row["group"], row["task"], row["error"]) == (0, "", "step", "classify", None)
    assert min(row["ours_ms"]["median"], row["ratio"]["low"], row["share_of_peak"], row["tokens_per_second"]) > 0
    status, out, err = selfloop("step", "--rounds", 2)
    assert (status, err) == (0, "")
    assert all(part in out.splitlines()[-1] for part in ("kernels", "readout", "dropout", "optimiser", "rest"))


def test_small_calls_end_with_the_worst_ratio_and_the_mean(selfloop):
    status, out, err = selfloop("small", "--rounds", 2)
    worst, mean = out.splitlines()[-2:]
    assert (status, err) == (0, "")
    assert worst.startswith("  worst ratio ")
    assert worst.endswith(": lstm, training, T 3, B 2, H 6")
    assert mean.startswith("  geometric mean of 1 ratios ")


def test_a_failed_check_is_a_row_and_the_status(selfloop, monkeypatch):
    enter = PEERS["torch.nn"].enter
    strict = Peer(lambda case: replace(enter(case), tolerance=0))
    monkeypatch.setitem(PEERS, "torch.nn", strict)
    status, out, _ = selfloop("lstm", "--json")
    (row,) = json.loads(out)["rows"]
    assert status == 1
    assert "differs from the peer's" in row["error"]
    assert row["ratio"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lstn"], "There is no benchmark 'lstn'; there are lstm, zoo, jax, small, step; did you mean 'lstm'?"),
        (["--threads", 65], "--threads must be at most 64, the processors that this process may use. Got 65 instead."),
        (["--plot", "ratios.txt"], "The picture must end in .png, .svg, .pdf. Got 'ratios.txt' instead."),
        (
            ["--plot", f"{__file__}/ratios.png"],
            f"{__file__}/ratios.png cannot be written (Not a directory): choose another place.",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence_before_the_clock(selfloop, monkeypatch, arguments, message):
    monkeypatch.setattr("selfloop.bench.measure", lambda *_: pytest.fail("the clock ran"))
    assert selfloop(*arguments) == (2, "", f"selfloop: {message}\n")
