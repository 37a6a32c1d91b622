"""Words in columns, as the shared tasks of CoNLL write them: a word a line, its labels beside it, empty lines between.

Lines of tabs and spaces are empty, too, and these are no words:

    -DOCSTART- -X- -X- O         CoNLL-2003: a document begins
    # text = …, # newdoc         CoNLL-U: comments; CoNLL-2012 has #begin document (…), MultiCoNER # id …
    any line with # and no tab   likewise, in a sentence whose other lines have tabs; # and #hashtag are words elsewhere
    1-2, 2.1                     CoNLL-U: several words at once, and words that were left out
    word  tag                    the names of the columns, in line 1
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

Line = tuple[int, list[str]]
"""The number of a line, and its cells."""

_DOCUMENT = "-DOCSTART-"
_COMMENT = re.compile(r"# +([^\s=]+ *=|newdoc\b|newpar\b|id )|#begin document \(|#end document$")
_WORDS = {"word", "words", "token", "tokens", "form", "text"}
_LABELS = {
    "tag", "tags", "label", "labels", "class", "pos", "upos", "xpos", "pos_tag", "pos_tags", "ner", "ner_tag",
    "ner_tags", "entity", "entities", "chunk", "bio", "iob",
}  # fmt: skip


def sentences(file: Iterable[str], word: int, label: int, header: bool | None) -> Iterator[list[Line]]:
    r"""The lines of each sentence that hold its words.

    Args:
        file: the lines, with their ends.
        word: the column of the word, from 0; 1 in CoNLL-U, whose first counts the words.
        label: that of the label.
        header: whether line 1 names the columns; None sees by the names.

    >>> text = "word tag\n-DOCSTART- O\n\nto P\nbe V\n\n# text = or\n# S\n"
    >>> [[cells for _, cells in lines] for lines in sentences(text.splitlines(), 0, 1, None)]
    [[['to', 'P'], ['be', 'V']], [['#', 'S']]]
    """
    for is_empty, numbered in groupby(enumerate(file, 1), lambda numbered: not numbered[1].strip()):
        if is_empty:
            continue
        found = _words(list(numbered), word)
        if found and word != 1 and header is not False:  # in CoNLL-U names stand where words have their number
            if header or _names_columns(found[0][1], word, label):
                del found[0]
            header = False
        if found:
            yield found


def are_in_columns(lines: list[str]) -> bool:
    r"""Whether lines look like a word each with its labels, and empty ones between sentences.

    >>> are_in_columns(["to P\n", "be V\n", "\n"]), are_in_columns(["to be\n", "or not to be\n", "\n"])
    (True, False)
    """
    counts = {len(cells) for _, cells in _words(list(enumerate(filter(str.strip, lines))), 0)}
    return len(counts) == 1 and counts.pop() > 1 and not all(map(str.strip, lines))


def _words(lines: list[tuple[int, str]], word: int) -> list[Line]:
    """The lines that hold words, of those of a sentence."""
    tabs = any("\t" in line for _, line in lines if not line.startswith("#"))
    found = [(number, _cells(line)) for number, line in lines if not _is_comment(line, tabs)]
    if word == 1:
        return [(number, cells) for number, cells in found if cells[0].isdigit()]
    return [(number, cells) for number, cells in found if cells[word] != _DOCUMENT]


def _is_comment(line: str, tabs: bool) -> bool:
    """Whether a line holds no word, in a sentence whose words have tabs behind them or not."""
    return line.startswith("#") and ((tabs and "\t" not in line) or _COMMENT.match(line.rstrip()) is not None)


def _names_columns(cells: list[str], word: int, label: int) -> bool:
    return len(cells) > max(word, label) and cells[word].lower() in _WORDS and cells[label].lower() in _LABELS


def _cells(line: str) -> list[str]:
    """The cells of a line, between tabs, or else between spaces."""
    return line.rstrip("\r\n").split("\t" if "\t" in line else None)
