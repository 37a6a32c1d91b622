"""Translations are scored by sacreBLEU, under its signatures."""

import pytest

from selfloop.errors import ArgumentError
from selfloop.metrics import bleu, chrf

PREDICTED = ["The cat sat on the mat.", "It is raining"]
REFERENCES = ["The cat sat on a mat.", "It rains."]


def test_scores_are_those_of_sacrebleu():
    """Computed with sacreBLEU 2.6.0 itself."""
    assert bleu(PREDICTED, REFERENCES).value == pytest.approx(41.325840918969014)
    assert chrf(PREDICTED, REFERENCES).value == pytest.approx(59.61970289669001)


def test_signatures_say_how_it_was_counted():
    assert bleu(PREDICTED, REFERENCES).signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert bleu(PREDICTED, REFERENCES, lowercase=True, tokenize="char").signature.startswith(
        "nrefs:1|case:lc|eff:no|tok:char|"
    )
    assert chrf(PREDICTED, REFERENCES, lowercase=True).signature.startswith("nrefs:1|case:lc|eff:yes|nc:6|nw:0|")


def test_case_matters_unless_it_is_ignored():
    shouted = [text.upper() for text in PREDICTED]
    for score in (bleu, chrf):
        assert score(shouted, REFERENCES).value < score(PREDICTED, REFERENCES).value
        assert score(shouted, REFERENCES, lowercase=True) == score(PREDICTED, REFERENCES, lowercase=True)


def test_text_that_is_tokenised_already_is_scored_without_a_warning(caplog):
    tokenised = ["a cat sat ."] * 200
    assert bleu(tokenised, tokenised, tokenize="none").value == pytest.approx(100)
    assert not caplog.records
    bleu(tokenised, tokenised)
    assert "forgot to detokenize" in caplog.text  # sacreBLEU's own word where its tokenizer is to come


def test_an_unknown_tokenizer_is_refused_with_the_nearest():
    with pytest.raises(ArgumentError, match=r"Got '13b' instead; did you mean '13a'\?"):
        bleu(PREDICTED, REFERENCES, tokenize="13b")


@pytest.mark.parametrize("score", [bleu, chrf])
@pytest.mark.parametrize(
    ("predicted", "references", "message"),
    [
        (PREDICTED, REFERENCES[:1], "Got 2 translations and 1 references"),
        ([], [], "Got 0 translations"),
        ("The cat", REFERENCES, "The 'predicted' of .* must be a list of texts"),
        (PREDICTED, [["It rains."], ["It is wet."]], "The 'references' of .* must be a list of texts"),
    ],
)
def test_texts_that_do_not_fit_are_refused(score, predicted, references, message):
    with pytest.raises(ArgumentError, match=message):
        score(predicted, references)
