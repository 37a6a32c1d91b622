import json
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import models

from selfloop.data import KINDS, Tokenizer, read_corpus
from selfloop.data.text.tokenizer import blocks
from selfloop.errors import ConfigError, DataError

TEXT = "The cat sat.\nThe  dog, the <unk> and the naïve café: 12 days!\n\n\tThat is it's end\u2028… 你好 😀\n" * 3
TOKENIZERS = {kind: Tokenizer.train(kind, [TEXT]) for kind in KINDS}
ANY_TEXT = st.text(st.characters(codec="utf-8"))
SPACED = st.text(st.sampled_from("ab. \n\r\t\x1c\x85\u2028\u3000'<eos>é😀"), max_size=40)

every_kind = pytest.mark.parametrize("kind", KINDS)


# ------------------------------------------------------------------------------------------------ there and back


@pytest.mark.parametrize("kind", ["byte", "bpe"])
@settings(deadline=None)
@given(text=ANY_TEXT)
def test_bytes_and_bpe_give_back_any_text(kind, text):
    assert TOKENIZERS[kind].decode(TOKENIZERS[kind].encode(text)) == text


@given(st.text(st.sampled_from(sorted(set(TEXT)))))
def test_characters_give_back_any_text_of_known_ones(text):
    tokenizer = TOKENIZERS["char"]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) == len(text)


def test_an_unknown_character_is_one_unknown_token_each():
    tokenizer = Tokenizer.train("char", ["ab"])
    assert tokenizer.decode(tokenizer.encode("a??b")) == "a<unk><unk>b"
    assert len(tokenizer.encode("<unk>")) == 5


def test_a_byte_is_its_own_number():
    assert TOKENIZERS["byte"].encode("né\n") == list("né\n".encode())


def test_broken_utf8_is_shown_as_such():
    assert TOKENIZERS["byte"].decode([0xFF, 65, 0xE2, 0x82]) == "\ufffdA\ufffd"


def test_words_come_back_with_spaces_and_newlines():
    tokenizer = Tokenizer.train("word", ["a b <unk> c x<eos>y\n"])
    assert tokenizer.decode(tokenizer.encode("  a  b\n\n zebra x<eos>y \n <eos> c")) == "a b\n\n<unk> x<eos>y\n\nc"


def test_an_unknown_word_in_the_text_is_the_unknown_token():
    tokenizer = Tokenizer.train("word", ["a <unk>\n"])
    assert tokenizer.vocab_size == 3
    assert tokenizer.encode("<unk>") == tokenizer.encode("zebra") == [0]


@every_kind
def test_a_batch_is_what_its_texts_are_alone(kind):
    texts = ["The cat", "", "sat.\n"]
    assert TOKENIZERS[kind].encode_batch(texts) == [TOKENIZERS[kind].encode(text) for text in texts]


# ------------------------------------------------------------------------------------------------ pieces


@every_kind
@settings(deadline=None)
@given(text=SPACED, size=st.integers(1, 9), step=st.integers(1, 7))
@example(text="a\n\n b", size=2, step=1)
def test_where_a_text_is_cut_does_not_change_its_tokens(kind, text, size, step):
    pieces = [text[start : start + step] for start in range(0, len(text), step)]
    cut = list(blocks(pieces, KINDS[kind].cut, size))
    tokenizer = TOKENIZERS[kind]
    assert "".join(cut) == text
    assert [token for block in cut for token in tokenizer.encode(block)] == tokenizer.encode(text)
    assert [token for ids in tokenizer.encode_pieces(pieces) for token in ids] == tokenizer.encode(text)


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_a_table_gives_the_tokens_and_the_vocabulary_of_the_library(kind):
    known = "\nné\x00 \u2028你好😀\uffff\U0010ffff" * 3 + "\x85"
    tokenizer = Tokenizer.train(kind, [known[:7], "", known[7:]])
    text = known + "unknown: ßé你們\U0010fffe\r\n"
    assert np.concatenate([*tokenizer.encode_pieces([text])]).tolist() == tokenizer.encode(text)
    if kind == "char":
        assert sorted(tokenizer._backend.get_vocab()) == sorted({*known, "<unk>"})
        few = Tokenizer.train(kind, ["ccbbbaaaddd\n"], 4)
        assert sorted(few._backend.get_vocab()) == ["\n", "<unk>", "a", "b"]  # of equally frequent ones the first


def test_blocks_are_bounded_where_there_is_white_space():
    sizes = [len(block) for block in blocks(["to be " * 1000], KINDS["bpe"].cut, size=100)]
    assert max(sizes) < 110


@every_kind
@settings(max_examples=20, deadline=None)
@given(text=SPACED, step=st.integers(1, 7))
def test_the_pieces_of_a_text_do_not_change_the_vocabulary(kind, text, step):
    pieces = [text[start : start + step] for start in range(0, len(text), step)]
    assert Tokenizer.train(kind, pieces).digest == Tokenizer.train(kind, [text]).digest


# ------------------------------------------------------------------------------------------------ streaming


@every_kind
@settings(deadline=None)
@given(data=st.data())
def test_streamed_text_is_the_decoded_text(kind, data):
    tokenizer = TOKENIZERS[kind]
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1)))
    assert "".join(tokenizer.stream(ids)) == tokenizer.decode(ids)


def test_streaming_holds_back_what_is_not_yet_a_character():
    seen = []
    for piece in TOKENIZERS["byte"].stream("a😀b".encode()):
        seen.append(piece)
    assert seen == ["a", "😀", "b"]


def test_streaming_words_puts_spaces_between():
    tokenizer = Tokenizer.train("word", ["a b c\n"])
    assert list(tokenizer.stream(tokenizer.encode("a b\nc"))) == ["a", " b", "\n", "c"]


def test_streaming_does_not_wait_for_the_end():
    def endless():
        while True:
            yield ord("a")

    assert next(TOKENIZERS["byte"].stream(endless())) == "a"


# ------------------------------------------------------------------------------------------------ vocabularies


def test_sizes_of_vocabularies():
    assert Tokenizer.train("char", ["abc"]).vocab_size == 5  # and <unk> and the newline
    assert Tokenizer.train("char", ["aab"], vocab_size=3).encode("ab\n") == [2, 0, 1]
    assert Tokenizer.train("word", ["b a a c"], vocab_size=4).encode("a b c \n") == [2, 3, 0, 1]
    assert Tokenizer.train("bpe", ["ab " * 99], vocab_size=257).vocab_size == 257
    assert Tokenizer.train("bpe", ["ab"]).vocab_size == 256


@every_kind
def test_the_start_token_is_the_newline(kind):
    tokenizer = Tokenizer.train(kind, ["no line ends here"])
    assert [tokenizer.start_id] == tokenizer.encode("\n")


@every_kind
def test_an_empty_text_gives_a_tokenizer_all_the_same(kind):
    tokenizer = Tokenizer.train(kind, [])
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""


def test_penn_treebank_has_its_published_counts(real_data):
    corpus = read_corpus(real_data("ptb"))
    tokenizer = Tokenizer.train("word", corpus.train)
    counts = [sum(map(len, tokenizer.encode_pieces(text))) for text in (corpus.train, corpus.valid, corpus.test)]
    assert (tokenizer.vocab_size, *counts) == (10_000, 929_589, 73_760, 82_430)


# ------------------------------------------------------------------------------------------------ files


@every_kind
def test_a_saved_tokenizer_is_the_same_and_the_library_opens_it(kind, tmp_path):
    tokenizer = TOKENIZERS[kind]
    tokenizer.save(tmp_path / "run" / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "run" / "tokenizer.json")
    assert (again.kind, again.digest, again.vocab_size) == (kind, tokenizer.digest, tokenizer.vocab_size)
    assert again.start_id == tokenizer.start_id
    library = Library.from_file(str(tmp_path / "run" / "tokenizer.json"))
    assert library.encode(TEXT).ids == tokenizer.encode(TEXT)
    assert library.decode(library.encode(TEXT).ids) == tokenizer.decode(tokenizer.encode(TEXT))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["tokenizer.json"]


def test_a_damaged_tokenizer_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(DataError, match="There is no tokenizer"):
        Tokenizer.load(path)
    path.write_text(json.dumps({"model": {}}))
    with pytest.raises(DataError, match="is damaged"):
        Tokenizer.load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is damaged"):
        Tokenizer.load(path)


def test_a_tokenizer_of_another_kind_is_refused(tmp_path):
    Library(models.WordPiece(vocab={"[UNK]": 0})).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match="must be of kind char, byte, word, bpe"):
        Tokenizer.load(tmp_path / "tokenizer.json")


# ------------------------------------------------------------------------------------------------ what is refused


def test_an_unknown_kind_offers_the_nearest():
    message = (
        "The 'kind' of a Tokenizer must be one of 'char', 'byte', 'word', 'bpe'. Got 'chars'; did you mean 'char'?"
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        Tokenizer.train("chars", [])


@pytest.mark.parametrize(
    ("kind", "size", "allowed"),
    [
        ("byte", 300, "256, or not be given"),
        ("bpe", 255, "at least 256"),
        ("char", 2, "at least 3"),
        ("word", 0, "at least 3"),
    ],
)
def test_a_vocabulary_has_its_bounds(kind, size, allowed):
    with pytest.raises(ConfigError, match=f"'{kind}' Tokenizer must be {allowed}. Got {size} instead"):
        Tokenizer.train(kind, [], vocab_size=size)


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])  # bytes have nothing to learn and read nothing
def test_what_is_wrong_with_the_text_is_said_by_the_text(kind):
    def broken():
        yield "a " * 100_000
        raise DataError("broken off")

    with pytest.raises(DataError, match="broken off"):
        Tokenizer.train(kind, broken())
