"""The pictures are written, and say what they were given."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from selfloop.errors import ArgumentError
from selfloop.inspect import draw_attention, draw_attentions, draw_confusion, draw_contact_sheet, draw_timeline
from selfloop.inspect.canvas import BLUES, canvas, ink_on, shorten, text_width
from selfloop.inspect.timeline import _color, _colors
from selfloop.metrics import Confusion

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".PNG": b"\x89PNG"}


def of_classes(K):
    true = np.arange(3 * K) % K
    return Confusion.of([f"class {k}" for k in range(K)], true, np.where(np.arange(3 * K) < K, (true + 1) % K, true))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def labels(ticks):
    return [label.get_text() for label in ticks]


# The canvas


@pytest.mark.parametrize("suffix", STARTS)
def test_the_suffix_is_the_format(tmp_path, suffix):
    path = tmp_path / "new folder" / f"picture{suffix}"
    draw_confusion(of_classes(2), path)
    assert path.read_bytes().startswith(STARTS[suffix])


def test_a_notebook_shows_what_the_file_holds(tmp_path):
    figure = draw_confusion(of_classes(2), tmp_path / "c.png")
    assert figure._repr_png_() == (tmp_path / "c.png").read_bytes()


def test_a_picture_grows_with_what_reaches_beyond_its_axes(tmp_path):
    def height(token):
        draw_attention([[1.0]], [token], ["x"], tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            return picture.height

    assert height("a" * 20) > height("a") + 150


@pytest.mark.parametrize("name", ["picture", "picture.jpeg", "picture.txt"])
def test_other_suffixes_are_refused_before_anything_is_drawn(tmp_path, name):
    with (
        pytest.raises(ArgumentError, match=rf"must end in \.png, \.svg, \.pdf. Got '{name}' instead"),
        canvas(tmp_path / name, 1, 1),
    ):
        pytest.fail("was drawn")  # pragma: no cover
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match="cannot be written"):
        draw_confusion(of_classes(2), tmp_path / "file" / "picture.png")


def test_long_texts_lose_their_middle():
    assert shorten("short\n text", 20) == "short text"
    assert shorten("0123456789", 10) == "0123456789"
    assert shorten("0123456789a", 10) == "01234…789a"


def test_ink_can_be_read_on_its_ground():
    assert ink_on(1, 1, 1) != ink_on(0, 0, 0) == "white"


def test_the_width_of_a_text_is_known_before_it_is_drawn(tmp_path):
    assert text_width("a", 11) < text_width("w", 11) < text_width("ww", 11)
    assert text_width("w" * 40, 22) == pytest.approx(2 * text_width("w" * 40, 11), rel=0.05)  # hinting
    with canvas(tmp_path / "c.png", 9, 1) as figure:
        drawn = figure.text(0, 0, "four words of text", fontsize=11).get_window_extent()
        assert text_width("four words of text", 11) == pytest.approx(drawn.width / figure.dpi, rel=0.03)
    assert text_width("\U0001b170", 11) > 0  # Nüshu, which no font has


# Confusion


@pytest.mark.parametrize("K", [1, 2, 10, 20])
def test_few_classes_have_percentages_and_counts_in_the_cells(tmp_path, K):
    confusion = of_classes(K)
    figure = draw_confusion(confusion, tmp_path / "c.png")
    axes, scale = figure.axes
    assert labels(axes.get_yticklabels()) == labels(axes.get_xticklabels()) == list(confusion.classes)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    shares = ["100%"] if K == 1 else ["67%", "33%"] * K
    assert sorted(texts(axes)) == sorted([*shares, *(str(n) for n in confusion.counts.flat if n)])
    assert labels(scale.get_xticklabels()) == ["right", "wrong"]


@pytest.mark.parametrize(("K", "named"), [(21, 21), (50, 50), (120, 60)])
def test_many_classes_have_at_the_end_of_a_row_what_is_right(tmp_path, K, named):
    axes = draw_confusion(of_classes(K), tmp_path / "c.png").axes[0]
    assert texts(axes) == ["67%"] * named + ["right"]
    assert len(axes.get_yticklabels()) == named


def test_a_map_shows_shares_of_the_true_class(tmp_path):
    confusion = Confusion(("a", "b", "c"), np.array([[1, 1, 0], [200, 200, 0], [0, 0, 0]]))
    axes = draw_confusion(confusion, tmp_path / "c.png").axes[0]
    colors = axes.images[0].get_array()
    assert np.array_equal(colors[0, 0], colors[1, 1])  # a half is a half, and right
    assert np.array_equal(colors[0, 1], colors[1, 0])
    assert tuple(colors[0, 0]) == pytest.approx(BLUES(0.5**0.5)[:3])
    assert colors[0, 0, 2] > colors[0, 0, 0]  # blue
    assert colors[0, 1, 0] > colors[0, 1, 2]  # red
    assert np.array_equal(colors[0, 2], [1, 1, 1])
    assert len(np.unique(colors[2])) == 1  # grey: c never is the truth
    assert colors[2].max() < 1
    assert axes.get_title("left") == "accuracy 50.0%\nmacro F1 0.338\n402 examples"


def test_large_counts_and_dollars_are_written_as_they_are(tmp_path):
    confusion = Confusion(("$a$", "b" * 30), np.array([[12_345, 0], [0, 6_700_000]]))
    axes = draw_confusion(confusion, tmp_path / "c.svg").axes[0]
    assert texts(axes) == ["100%", "12,345", "100%", "6.7e6"]
    assert labels(axes.get_yticklabels()) == ["$a$", "b" * 12 + "…" + "b" * 11]
    assert not axes.get_yticklabels()[0].get_parse_math()


@pytest.mark.parametrize("K", [3, 20])
def test_percentages_and_counts_stay_in_their_cells(tmp_path, K):
    counts = np.where(np.eye(K, dtype=bool), 99_999, 4)
    axes = draw_confusion(Confusion([f"{k}" for k in range(K)], counts), tmp_path / "c.png").axes[0]
    side = axes.get_window_extent().width / K
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.width < side
        assert box.height < side / 2
    ends = [(text.get_window_extent().y0, text.get_window_extent().y1) for text in axes.texts[:2]]
    assert ends[0][0] > ends[1][1]  # the percentage stands above the count


def test_a_percentage_is_whole_only_where_all_is_right(tmp_path):
    confusion = Confusion(("a", "b"), np.array([[9_999, 1], [0, 10]]))
    assert texts(draw_confusion(confusion, tmp_path / "c.png").axes[0]) == [
        ">99.9%", "9,999", "<0.1%", "1", "100%", "10",
    ]  # fmt: skip


def test_a_confusion_says_what_it_counts(tmp_path):
    axes = draw_confusion(of_classes(2), tmp_path / "c.png", unit="step").axes[0]
    assert axes.get_title("left").endswith("\n6 steps")


def test_a_confusion_of_nothing_is_drawn_and_one_of_no_classes_is_refused(tmp_path):
    empty = Confusion.of(["a", "b"], [], [])
    assert draw_confusion(empty, tmp_path / "c.png").axes[0].get_title("left") == "no examples"
    with pytest.raises(ArgumentError, match="at least one class"):
        draw_confusion(Confusion.of([], [], []), tmp_path / "c.png")


# Timeline


def test_a_timeline_shows_every_sequence(tmp_path):
    true, predicted = [[0] * 30 + [1] * 30, [1] * 20], [[0] * 45 + [1] * 15, [1] * 20]
    figure = draw_timeline(["first", "second"], true, predicted, ["rest", "wave"], tmp_path / "t.png")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "time, steps"
    assert axes.get_xlim() == (0, 60)
    written = texts(axes)
    assert written.count("true") == written.count("predicted") == 2
    assert {"first", "second", "  75.0% right", "  100.0% right"} <= set(written)
    assert written.count("rest") == 2  # inside their segments
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["rest", "wave", "mistake"]


def test_bands_lie_where_the_labels_are(tmp_path):
    figure = draw_timeline(["a"], [[0, 0, 1, -1]], [[0, 1, 1, 0]], "xy", tmp_path / "t.png", frames_per_second=2)
    (axes,) = figure.axes
    spans = {}
    for band in axes.collections:
        color = to_hex(band.get_facecolor()[0])
        spans.setdefault(color, []).extend(
            (float(path.vertices[:, 0].min()), float(path.vertices[:, 0].max())) for path in band.get_paths()
        )
    assert axes.get_xlabel() == "time, seconds"
    assert axes.get_xlim() == (0, 2)
    assert spans["#0072b2"] == [(0, 1), (0, 0.5), (1.5, 2)]  # true, then predicted
    assert spans["#e69f00"] == [(1, 1.5), (0.5, 1.5)]
    assert spans["#222222"] == [(0.5, 1)]  # mistakes: what has no truth is none
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["x", "y", "mistake", "no true label"]
    assert "  66.7% right" in texts(axes)


def test_classes_that_do_not_occur_are_not_in_the_legend(tmp_path):
    classes = [f"class {k}" for k in range(50)]
    figure = draw_timeline(["a"], [[3, 40, 3]], [[3, 40, 7]], classes, tmp_path / "t.pdf")
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["class 3", "class 7", "class 40", "mistake"]


WORDS = ["Ada", "Lovelace", "wrote", "to", "Charles"]
TAGS = ["O", "B-person", "I-person"]


def test_words_stand_under_their_labels(tmp_path):
    figure = draw_timeline(["line 3"], [[1, 2, 0, 0, 1]], [[1, 0, 0, 0, 1]], TAGS, tmp_path / "t.png", words=[WORDS])
    (axes,) = figure.axes
    at = {text.get_text(): text.get_position() for text in axes.texts}
    assert sorted(WORDS, key=lambda word: at[word][0]) == WORDS
    assert len({at[word][1] for word in WORDS}) == 1
    below = max(at[name][1] for name in ("true", "predicted"))
    assert at["Ada"][1] > below  # the axis of y points down
    assert at["I-person"][0] == pytest.approx(at["Lovelace"][0])
    assert texts(axes).count("B-person") == 4
    assert "O" not in texts(axes)
    assert axes.get_xlabel() == ""
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["O", "mistake"]
    assert {"line 3", "  80.0% right"} <= set(texts(axes))


@pytest.mark.parametrize("n", [5, 60])
def test_no_word_covers_another(tmp_path, n):
    words, labels = (WORDS * n)[:n], (np.arange(n) % 3).tolist()
    figure = draw_timeline(["line 3"], [labels], [labels], TAGS, tmp_path / "t.png", words=[words])
    (axes,) = figure.axes
    written = [text for text in axes.texts if text.get_text() in WORDS]
    assert [text.get_text() for text in written] == words
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert texts(axes).count("line 3") == texts(axes).count("  100.0% right") == 1  # where it begins, where it ends
    assert (texts(axes).count("true") > 1) == (n == 60)  # a long one goes on below
    with Image.open(tmp_path / "t.png") as picture:
        assert picture.width < (900 if n == 5 else 1600)


def test_without_truth_only_what_was_predicted_is_drawn(tmp_path):
    figure = draw_timeline(["input 1"], [[-1] * 5], [[1, 2, 0, 0, 1]], TAGS, tmp_path / "t.png", words=[WORDS])
    (axes,) = figure.axes
    assert "true" not in texts(axes)
    assert not any("right" in text for text in texts(axes))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["O"]


def test_nothing_is_grey_and_an_entity_has_one_hue():
    colors = dict(zip(names := ["o", "B-loc", "I-loc", "sil", "B-org", "wave"], _colors(names), strict=True))
    grey = colors["o"][0]
    assert colors["sil"] == colors["o"]
    assert grey[0] == grey[1] == grey[2]
    assert len(set(colors.values())) == 5
    first, more = np.array(colors["B-loc"][0]), np.array(colors["I-loc"][0])
    assert (1 - more) / (1 - first) == pytest.approx(0.6)
    assert colors["B-loc"] == _color(0)
    assert colors["B-org"] == _color(1)


def test_eighty_four_classes_look_different():
    assert len({_color(k) for k in range(84)}) == 84


@pytest.mark.parametrize(
    ("names", "true", "predicted", "message"),
    [
        (["a"], [[0], [1]], [[0], [1]], "Got 1 names, 2 true and 2 predicted sequences"),
        ([], [], [], "Got 0 names"),
        (["a"], [[0, 1]], [[0]], r"Got shapes \(2,\) and \(1,\) for 'a'"),
        (["a"], [[]], [[]], r"Got shapes \(0,\) and \(0,\) for 'a'"),
        (["a"], [[0, 2]], [[0, 0]], "must be indices of 2 classes; those of 'a' are not"),
        (["a"], [[0, 1]], [[0, 2]], "must be indices of 2 classes; those of 'a' are not"),
        (["a"], [[0, 1]], [[0, -1]], "must be indices of 2 classes; those of 'a' are not"),
        (["a"], [[0.5]], [[0.5]], "must be indices of 2 classes; those of 'a' are not"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, names, true, predicted, message):
    with pytest.raises(ArgumentError, match=message):
        draw_timeline(names, true, predicted, ["x", "y"], tmp_path / "t.png")


def test_words_that_do_not_fit_the_labels_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"must be one for each label. Got \[2\] words for \[1\] labels"):
        draw_timeline(["a"], [[0]], [[0]], ["x"], tmp_path / "t.png", words=[["two", "words"]])


@pytest.mark.parametrize("rate", [0, -25, float("nan")])
def test_a_rate_is_above_nought(tmp_path, rate):
    with pytest.raises(ArgumentError, match="'frames_per_second' of draw_timeline must be above 0"):
        draw_timeline(["a"], [[0]], [[0]], ["x"], tmp_path / "t.png", frames_per_second=rate)


# Attention


def test_an_attention_names_its_tokens(tmp_path):
    weights = np.array([[0.9, 0.1, 0], [0.2, 0.3, 0.5]])
    figure = draw_attention(weights, ["das", " Haus", "\n"], ["the", "$house$"], tmp_path / "a.svg")
    axes, scale = figure.axes
    assert labels(axes.get_xticklabels()) == ["das", "␣Haus", "↵"]
    assert labels(axes.get_yticklabels()) == ["the", "$house$"]
    assert (axes.get_xlabel(), axes.get_ylabel(), scale.get_ylabel()) == ("source", "target", "attention weight")
    assert np.array_equal(axes.images[0].get_array(), weights)
    assert axes.images[0].get_clim() == (0, 1)


def test_characters_that_no_font_has_do_not_stop_a_picture(tmp_path):
    draw_attention([[1.0]], ["\U0001b170"], ["中国"], tmp_path / "a.png")  # Nüshu
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize("n", [1, 10, 50])
def test_attentions_of_any_size_are_drawn(tmp_path, n):
    axes = draw_attention(np.full((n, n + 1), 1 / (n + 1)), ["s"] * (n + 1), [""] * n, tmp_path / "a.png").axes[0]
    assert len(axes.get_xticklabels()) == n + 1
    assert labels(axes.get_yticklabels()) == ["∅"] * n


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((3, 2)) / 3, r"must have shape \(2, 3\), target by source tokens.* Got \(3, 2\) instead"),
        (np.ones(6) / 6, r"Got \(6,\) instead"),
        (np.full((2, 3), -1.0), "numbers from 0 to 1"),
        (np.full((2, 3), 3.0), "numbers from 0 to 1"),
        (np.full((2, 3), np.nan), "numbers from 0 to 1"),
        (np.full((2, 3), "x"), "numbers from 0 to 1"),
    ],
)
def test_weights_that_do_not_fit_the_tokens_are_refused(tmp_path, weights, message):
    with pytest.raises(ArgumentError, match=message):
        draw_attention(weights, ["a", "b", "c"], ["x", "y"], tmp_path / "a.png")


def alignment(T, S):
    return np.full((T, S), 1 / S), [f"source{k}" for k in range(S)], [f"target {k}" for k in range(T)]


def test_several_attentions_cover_one_another_nowhere(tmp_path):
    sizes = [(1, 1), (4, 3), (9, 8), (12, 20), (2, 2), (60, 55)]
    figure = draw_attentions([alignment(*size) for size in sizes], tmp_path / "a.png")
    assert [axes.images[0].get_array().shape for axes in figure.axes[:-1]] == sizes
    assert figure.axes[-1].get_ylabel() == "attention weight"
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    sides = {
        round(axes.get_window_extent().width / S, 3) for axes, (_, S) in zip(figure.axes, sizes[:-1], strict=False)
    }
    assert len(sides) == 1  # so the maps can be compared


def test_no_attention_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="must be one or more"):
        draw_attentions([], tmp_path / "a.png")


# Contact sheet


def test_a_sheet_holds_images_captions_and_references(tmp_path):
    images = [np.zeros((4, 8, 3), np.uint8), np.ones((8, 4)), Image.new("P", (3, 3)), np.ones((2, 2), bool)]
    captions = ["a dog", "costs $5 or $6", "", "long " * 12]
    figure = draw_contact_sheet(images, captions, tmp_path / "s.png", [["one", "two"], [], ["three"], ["four"]])
    assert [axes.images[0].get_array().shape for axes in figure.axes] == [(4, 8, 3), (8, 4), (3, 3, 3), (2, 2)]
    written = [text.get_text() for text in figure.texts]
    assert written[:4] == ["a dog", "· one\n· two", "costs $5 or $6", "∅"]
    assert written[-2:] == ["the model's caption", "· reference captions"]
    assert max(map(len, written[5].split("\n"))) <= 30
    assert written[5].replace("\n", " ") == captions[3].strip()


def test_no_line_begins_with_a_lone_full_stop(tmp_path):
    text = "a child is playing on a rope ."  # 30 characters, one more than a line has
    figure = draw_contact_sheet([np.zeros((2, 2))], [text], tmp_path / "s.png")
    assert figure.texts[0].get_text() == "a child is playing on a\nrope\N{NO-BREAK SPACE}."


def test_images_keep_their_proportions(tmp_path):
    images = [np.zeros((50, 100)), np.zeros((400, 100))]
    figure = draw_contact_sheet(images, ["wide", "tall"], tmp_path / "s.png")
    for axes, image in zip(figure.axes, images, strict=True):
        width, height = axes.get_position().size * figure.get_size_inches()
        assert height / width == pytest.approx(image.shape[0] / image.shape[1])


def test_a_white_image_has_a_frame(tmp_path):
    figure = draw_contact_sheet([np.ones((40, 60))], ["snow"], tmp_path / "s.png")
    assert [text.get_text() for text in figure.texts] == ["snow"]  # without references no key is needed
    with Image.open(tmp_path / "s.png") as picture:
        column = np.asarray(picture.convert("L"))[: picture.height // 2, picture.width // 2]
    assert column.min() < 180


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 3), (4, 2), (9, 3), (40, 5)])
def test_images_form_a_grid(tmp_path, count, columns):
    figure = draw_contact_sheet([np.zeros((2, 2))] * count, ["x"] * count, tmp_path / "s.png")
    assert len({round(axes.get_position().x0, 6) for axes in figure.axes}) == columns


@pytest.mark.parametrize(
    ("images", "captions", "references", "message"),
    [
        ([np.zeros((2, 2))], [], None, "as many captions.* Got 1 and 0"),
        ([], [], None, "one image or more"),
        ([np.zeros((2, 2))], ["x"], [], "as many captions and lists of references. Got 1 and 1 and 0"),
        ([np.zeros((3, 2, 2))], ["x"], None, r"channels last. Got \(3, 2, 2\) for image 0"),
        ([np.full((2, 2), 7.0)], ["x"], None, "Image 0 is of float64 from 7.0 to 7.0"),
        ([np.full((2, 2), 7)], ["x"], None, "Image 0 is of int64 from 7 to 7"),
    ],
)
def test_images_that_do_not_fit_are_refused(tmp_path, images, captions, references, message):
    with pytest.raises(ArgumentError, match=message):
        draw_contact_sheet(images, captions, tmp_path / "s.png", references)
