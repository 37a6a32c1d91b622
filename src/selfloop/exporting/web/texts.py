"""Tokenizers and vocabularies as JavaScript reads them."""

from typing import Any

from selfloop.data import Tokenizer
from selfloop.data.text.token_kinds import END_OF_LINE, byte_alphabet
from selfloop.data.text.vocabulary import LONGEST, Vocabulary
from selfloop.exporting.native.characters import kinds, longer_lower_cases, lower_cases
from selfloop.untrusted import parse_json


def tokenizer_facts(tokenizer: Tokenizer) -> dict[str, Any]:
    r"""The kind, what each token stands for, and of byte-pair encoding the pairs that become one, in their order.

    Bytes are written as the characters from 0 to 255. A new line of a tokenizer of words is ``\n``.

    >>> tokenizer_facts(Tokenizer.train("char", ["to be\n"]))["tokens"]
    ['<unk>', '\n', ' ', 'b', 'e', 'o', 't']
    """
    vocabulary = tokenizer.vocabulary
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    octets = {character: chr(octet) for octet, character in enumerate(byte_alphabet())}
    known = {"word": {END_OF_LINE: "\n"}}.get(tokenizer.kind, {})
    texts = [known.get(name, name) for name in names]
    if tokenizer.kind in ("byte", "bpe"):
        texts = ["".join(octets[character] for character in name) for name in names]
    merges = parse_json(tokenizer.json)["model"].get("merges", ()) if tokenizer.kind == "bpe" else ()
    return {
        "kind": tokenizer.kind,
        "tokens": texts,
        "start": tokenizer.start_id,
        "unknown": tokenizer.unknown_id,
        "merges": [[vocabulary[a], vocabulary[b], vocabulary[a + b]] for a, b in merges],
    }


def words_facts(vocabulary: Vocabulary, *, splits_marks: bool) -> dict[str, Any]:
    """The words that are known, how texts are split, and what Python knows of characters: see `characters`.

    >>> words_facts(Vocabulary.of([["To", "be", "to"]]), splits_marks=False)["known"]
    ('<unk>', 'to')
    """
    starts = [0, *(first for first, _ in kinds())]
    return {
        "known": vocabulary.words,
        "splitsMarks": splits_marks,
        "letters": LONGEST,
        "longer": [[point, [*map(ord, lower)]] for point, lower in longer_lower_cases()],
        "lower": lower_cases(),
        "kinds": [[first - before, flags] for before, (first, flags) in zip(starts, kinds(), strict=False)],
    }
