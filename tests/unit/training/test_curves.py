import json

import pytest
from PIL import Image

from selfloop.errors import RunError
from selfloop.training import Run
from selfloop.training.curves import draw_curves

TRAIN = [{"step": step, "loss": 3 + 1 / step} for step in range(1, 101)]
VALID = [{"step": step, "valid_loss": 3 + 2 / step} for step in range(20, 101, 20)]


@pytest.fixture
def drawn(tmp_path):
    def draw(lines):
        run = Run.create(tmp_path / "run", "toy", {})
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return Image.open(draw_curves(run, "token")).convert("RGB")

    return draw


@pytest.mark.parametrize(
    ("lines", "colours"),
    [(TRAIN + VALID, {"train", "valid"}), (TRAIN, {"train"}), (VALID, {"valid"}), (TRAIN[:1] + VALID[:1], {"valid"})],
)
def test_each_curve_is_drawn_in_its_colour(drawn, lines, colours):
    seen = {colour for _, colour in drawn(lines).getcolors(10**6)}
    known = {"train": (0, 0x72, 0xB2), "valid": (0xD5, 0x5E, 0)}
    assert {name for name, colour in known.items() if colour in seen} >= colours


def test_the_picture_of_a_run_without_a_line_is_empty(drawn):
    assert drawn([]).size == (936, 546)


@pytest.mark.parametrize(
    "line",
    ['{"step": 3, "los', "\0\0", "[1]", "7", '{"loss": 1}', '{"step": 3, "loss": NaN}', '{"step": 1e99, "loss": 1}',
     '{"step": 3, "loss": "x"}', '{"step": 3, "valid_loss": null}', '{"step": 3, "loss": 1e400}', "[" * 9999],
)  # fmt: skip
def test_a_damaged_line_is_left_out_and_the_picture_says_so(drawn, tmp_path, line):
    whole = drawn(TRAIN + VALID)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    picture = Image.open(draw_curves(Run(tmp_path / "run"), "token")).convert("RGB")
    below = (0, 40, picture.width, picture.height)  # the title
    assert picture.crop(below).tobytes() == whole.crop(below).tobytes()
    assert picture.tobytes() != whole.tobytes()


def test_metrics_that_cannot_be_read_are_an_error(tmp_path):
    with pytest.raises(RunError, match=r"metrics.jsonl cannot be read \(No such file or directory\)\. Rest"):
        draw_curves(Run.create(tmp_path / "run", "toy", {}), "token")


def test_a_picture_that_cannot_be_written_is_an_error(drawn, tmp_path):
    drawn(TRAIN)
    (tmp_path / "run" / "curves.png").unlink()
    (tmp_path / "run" / "curves.png").mkdir()
    with pytest.raises(RunError, match=r"curves.png cannot be written \(Is a directory\)"):
        draw_curves(Run(tmp_path / "run"), "token")
