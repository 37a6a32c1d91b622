import json

import pytest
from PIL import Image

from selfloop.errors import RunError
from selfloop.training import Run
from selfloop.training.curves import draw_curves, figure_of

TRAIN = [{"step": step, "loss": 3 + 1 / step} for step in range(1, 101)]
VALID = [{"step": step, "valid_loss": 3 + 2 / step} for step in range(20, 101, 20)]


@pytest.fixture
def reported(tmp_path):
    def report(lines, **config):
        run = Run.create(tmp_path / "run", "toy", config)
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return run

    return report


@pytest.fixture
def drawn(reported):
    return lambda lines: Image.open(draw_curves(reported(lines), "token")).convert("RGB")


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


def test_the_legend_covers_no_curve(reported):
    """As it did where validation rises at the end."""
    rising = [{"step": step, "valid_loss": 3 + step / 100} for step in range(10, 101, 10)]
    figure = figure_of(reported(TRAIN + rising), "token")
    figure.canvas.draw()
    (legend,), (axes,) = figure.legends, figure.axes
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
    assert legend.get_title().get_text() == "run"


@pytest.mark.parametrize(
    ("config", "label"),
    [
        ({}, "training"),
        ({"model": {"output_dropout": 0.0, "weight_drop": 0.0}, "loss": {"class_weights": "none"}}, "training"),
        ({"model": {"output_dropout": 0.1}}, "training, with dropout"),
        (
            {"model": {"input_dropout": 0.1}, "loss": {"label_smoothing": 0.1, "class_weights": "balanced"}},
            "training, with dropout, label smoothing and class weights",
        ),
    ],
)
def test_the_legend_says_what_the_training_loss_holds_beyond_that_of_validation(reported, config, label):
    (legend,) = figure_of(reported(TRAIN + VALID, **config), "token").legends
    assert [text.get_text() for text in legend.get_texts()] == [label, "validation, 3.020 at update 100, the lowest"]


@pytest.mark.parametrize(("kept", "circled"), [(40, 40), (100, 100), (0, 100), (7, 100)])
def test_the_weights_that_are_kept_are_circled(reported, kept, circled):
    """Those of the best accuracy, say; of the lowest loss where nothing is known of them."""
    figure = figure_of(reported(TRAIN + VALID), "token", kept)
    *_, circle = figure.axes[0].lines
    assert circle.get_xdata() == [circled]
    *_, words = figure.legends[0].get_texts()
    assert words.get_text().endswith("which is kept" if kept == circled else "the lowest")


def test_a_single_line_is_drawn(reported):
    """As of a damaged file."""
    figure_of(reported(VALID[:1]), "token")


def test_a_line_of_a_few_updates_weighs_as_much_as_they_do(reported):
    """A budget of time gives such lines where the machine is slow for a while; each was drawn as a jump."""
    long = [{"step": step, "loss": 2.0} for step in range(10, 1001, 10)]
    short = [{"step": 1000 + step, "loss": 2.0 + 9 * (step % 2)} for step in range(1, 5)]
    rest = [{"step": step, "loss": 2.0} for step in range(1010, 2001, 10)]
    faint, smooth, *_ = figure_of(reported(long + short + rest), "token").axes[0].lines
    assert max(faint.get_ydata()) < 5
    assert max(smooth.get_ydata()) < 2.5


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
