"""Translations, scored by sacreBLEU, with the signatures that make a figure comparable (Post 2018)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from selfloop.errors import ArgumentError, check_one_of


class Score(NamedTuple):
    """A figure, 0 to 100, and the signature to report beside it."""

    value: float
    signature: str


def bleu(
    predicted: Sequence[str], references: Sequence[str], *, lowercase: bool = False, tokenize: str = "13a"
) -> Score:
    """Corpus BLEU of detokenised translations (Papineni et al. 2002), as sacreBLEU computes it.

    Args:
        predicted: N translations, as plain text: sacreBLEU tokenises them itself.
        references: N reference translations, one each.
        lowercase: whether case is ignored.
        tokenize: sacreBLEU's tokenizer: "13a" for most languages, "zh", "char", "intl", or "none" for text that is
            tokenised already; others need packages of their own.

    Raises:
        ArgumentError: there is not one reference for each translation, or no such tokenizer.

    Example:
        >>> score = bleu(["the cat sat on the mat"], ["The cat sat on the mat."], lowercase=True)
        >>> round(score.value, 2)
        84.65
        >>> score.signature.split("|version")[0]
        'nrefs:1|case:lc|eff:no|tok:13a|smooth:exp'
    """
    from sacrebleu.metrics import BLEU  # noqa: PLC0415  a twentieth of a second, which only a translation needs

    check_one_of(tokenize, BLEU.TOKENIZERS, "The 'tokenize' of bleu")
    try:
        metric = BLEU(lowercase=lowercase, tokenize=tokenize, force=tokenize == "none")  # it warns of such text else
    except (ImportError, RuntimeError) as error:
        raise ArgumentError(
            f"sacreBLEU cannot load its tokenizer '{tokenize}': {' '.join(str(error).split())}"
        ) from None
    return _score("bleu", metric, predicted, references)


def chrf(predicted: Sequence[str], references: Sequence[str], *, lowercase: bool = False) -> Score:
    """Corpus chrF2: the F-score of character n-grams up to 6 (Popović 2015), as sacreBLEU computes it.

    Args:
        predicted: N translations, as plain text.
        references: N reference translations, one each.
        lowercase: whether case is ignored.

    Raises:
        ArgumentError: there is not one reference for each translation.

    Example:
        >>> round(chrf(["the cat sat"], ["the cat sits"]).value, 2)
        61.03
    """
    from sacrebleu.metrics import CHRF  # noqa: PLC0415  as above

    return _score("chrf", CHRF(lowercase=lowercase), predicted, references)


def _score(caller: str, metric: Any, predicted: Sequence[str], references: Sequence[str]) -> Score:
    for name, texts in (("predicted", predicted), ("references", references)):
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ArgumentError(f"The '{name}' of {caller} must be a list of texts, one a translation.")
    if len(predicted) != len(references) or not predicted:
        raise ArgumentError(
            f"{caller} needs translations and one reference for each. "
            f"Got {len(predicted)} translations and {len(references)} references."
        )
    value = metric.corpus_score(list(predicted), [list(references)]).score
    return Score(float(value), str(metric.get_signature()))
