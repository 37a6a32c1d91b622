"""BLEU and CIDEr of captions, against figures that coco-caption's own code computed (pycocoevalcap 1.2)."""

import gzip
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfloop.errors import ArgumentError
from selfloop.metrics import caption_bleu, caption_words, cider

PREDICTED = [
    "A dog runs through the grass.",
    "Two men are playing football",
    "a woman with a red hat sits on a bench",
    "a child",
    "the boy's bike isn't on the road",
]
REFERENCES = [
    ["A brown dog runs through tall grass .", "A dog is running in the grass.", "The dog runs."],
    ["Two men play football in a park.", "Men playing with a ball"],
    [
        "A woman in a red hat is sitting on a bench .",
        "A lady wearing a hat sits on a wooden bench in the sun",
        "An old woman sits on a bench",
    ],
    ["A small child is playing in the sand on the beach .", "a child digs in the sand"],
    [
        "A boy's bike lies beside the road",
        "The bike of the boy isn't on the road.",
        "a bike on the grass beside a road",
    ],
]
TEXTS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9).map(" ".join)
CORPORA = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=5)


def test_scores_are_those_of_coco_caption():
    """PTBTokenizer, Bleu(4) and Cider() of pycocoevalcap 1.2; its BLEU carries 1e-9 in every denominator."""
    bleu = [80.1886244300591, 71.27877727095739, 56.22903100115367, 42.87485781952603]
    assert caption_bleu(PREDICTED, REFERENCES) == pytest.approx(bleu, abs=1e-6)
    assert cider(PREDICTED, REFERENCES) == pytest.approx(2.3362591283778125, rel=1e-12)


@pytest.mark.slow
def test_scores_on_flickr8k_are_those_of_coco_caption(data_folder):
    """The first caption of each of the 1,000 test images against the other four."""
    folder = data_folder / "flickr8k"
    captions = defaultdict(list)
    with gzip.open(folder / "Flickr8k.token.txt.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            name, caption = line.rstrip("\n").split("\t")
            captions[name.partition("#")[0]].append(caption)
    images = (folder / "Flickr_8k.testImages.txt").read_text(encoding="utf-8").split()
    predicted, references = [captions[i][0] for i in images], [captions[i][1:] for i in images]
    bleu = [63.64127012682705, 44.57777185666552, 30.549035362497285, 20.945675889555993]
    assert caption_bleu(predicted, references) == pytest.approx(bleu, abs=1e-6)
    assert cider(predicted, references) == pytest.approx(0.7885967975248741, rel=1e-12)


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A Man's T-shirt, isn't \"red\" .", "a man 's t-shirt is n't red"),
        ("They cannot sit at 3,000 ft; it's 5:30!", "they can not sit at 3,000 ft it 's 5:30"),
        ("red,green... and blue", "red green and blue"),
        ("# 7 & friends", "# 7 & friends"),
        ("don't; they'll, o'clock", "do n't they 'll o'clock"),
        ("", ""),
    ],
)
def test_words_are_those_of_the_penn_treebank(caption, words):
    assert caption_words(caption) == words.split()


def test_a_word_counts_as_often_as_the_reference_that_has_it_most_often():
    one, *_ = caption_bleu(["the the the the the the the"], [["the cat is on the mat", "there is a cat on the mat"]])
    assert one == pytest.approx(100 * 2 / 7)  # Papineni et al. 2002, their example 2


def test_of_two_references_as_close_the_shorter_counts():
    assert caption_bleu(["a b c d e"], [["a b c d", "a b c d e f"]]) == pytest.approx((100,) * 4)


def test_without_a_common_pair_only_bleu_1_is_left():
    assert caption_bleu(["a b c d"], [["d c b a"]]) == (100.0, 0.0, 0.0, 0.0)


def test_an_empty_caption_scores_nothing():
    assert caption_bleu([""], [["a dog"]]) == (0.0, 0.0, 0.0, 0.0)
    assert cider(["", "a b"], [["a dog"], ["c d"]]) == 0.0


def test_cider_of_the_references_themselves_is_ten():
    assert cider(["a b c d e", "f g h i j"], [["a b c d e"], ["f g h i j"]]) == pytest.approx(10)


def test_what_every_image_has_tells_nothing():
    assert cider(["a dog", "a dog"], [["a dog"], ["a dog"]]) == 0.0
    assert cider(["a dog runs off"], [["a dog runs off"]]) == 0.0  # one image


@given(CORPORA)
def test_scores_keep_their_ranges(corpus):
    predicted, references = [p for p, _ in corpus], [r for _, r in corpus]
    assert all(0 <= score <= 100 + 1e-9 for score in caption_bleu(predicted, references))
    assert 0 <= cider(predicted, references) <= 10 + 1e-9
    assert caption_bleu([r[0] for r in references], references)[0] == pytest.approx(100)


@pytest.mark.parametrize("score", [caption_bleu, cider])
@pytest.mark.parametrize(
    ("predicted", "references", "message"),
    [
        (["a dog"], [], "Got 1 captions and references for 0"),
        ([], [], "Got 0 captions"),
        (["a dog", "a cat"], [["a dog"], []], r"Got \[\] for image 1"),
        (["a dog"], ["a dog"], "a list of captions for each image. Got 'a dog' for image 0"),
    ],
)
def test_captions_without_references_are_refused(score, predicted, references, message):
    with pytest.raises(ArgumentError, match=message):
        score(predicted, references)
