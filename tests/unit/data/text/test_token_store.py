import errno
import os

import numpy as np
import pytest
from safetensors.numpy import load_file

from selfloop.data import Text, Tokenizer, tokenize
from selfloop.errors import DataError

BYTES = Tokenizer.train("byte", [])
TEXT = Text.of("naïve\n" * 100)


def never():
    raise AssertionError("the text is read although its tokens are stored")
    yield ""


def test_tokens_come_with_their_counts_and_are_read_only(tmp_path):
    tokens = tokenize(TEXT, BYTES, tmp_path)
    assert tokens.ids.tolist() == list("".join(TEXT).encode())
    assert (len(tokens), tokens.characters, tokens.bytes) == (700, 600, 700)
    assert isinstance(tokens.ids, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        tokens.ids[0] = 0


def test_a_store_is_a_plain_safetensors_file(tmp_path):
    tokens = tokenize(TEXT, BYTES, tmp_path)
    (path,) = tmp_path.iterdir()
    assert (load_file(path)["tokens"] == tokens.ids).all()


def test_stored_tokens_are_not_made_again(tmp_path):
    first = tokenize(TEXT, BYTES, tmp_path)
    again = tokenize(Text(never, TEXT.fingerprint), BYTES, tmp_path)
    assert (again.ids == first.ids).all()
    assert (again.characters, again.bytes) == (first.characters, first.bytes)


def test_another_text_or_tokenizer_has_a_store_of_its_own(tmp_path):
    for text in ("a b", "a c"):
        for kind in ("byte", "char", "word"):
            tokenize(Text.of(text), Tokenizer.train(kind, [text]), tmp_path)
    assert len(list(tmp_path.iterdir())) == 6


def test_numbers_are_as_wide_as_the_vocabulary_needs(tmp_path):
    few, many = (" ".join(map(str, range(10**n, 10**n + count))) for n, count in ((2, 255), (5, 65_535)))
    for text, dtype in ((few[:-4], np.uint8), (few, np.uint16), (many[:-7], np.uint16), (many, np.uint32)):
        tokenizer = Tokenizer.train("word", [text])
        tokens = tokenize(Text.of(text), tokenizer, tmp_path)
        assert tokens.ids.dtype == dtype
        assert tokens.ids.tolist() == tokenizer.encode(text)


def test_an_empty_text_has_no_tokens(tmp_path):
    tokens = tokenize(Text.of(""), BYTES, tmp_path)
    assert (len(tokens), tokens.characters, tokens.bytes) == (0, 0, 0)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:100], lambda _: b"", lambda b: b"x" * len(b)])
def test_a_damaged_store_is_made_again(tmp_path, damage):
    expected = tokenize(TEXT, BYTES, tmp_path).ids.tolist()
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert tokenize(TEXT, BYTES, tmp_path).ids.tolist() == expected


def test_the_default_place_is_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tokenize(TEXT, BYTES)
    assert len(list((tmp_path / "selfloop" / "tokens").iterdir())) == 1


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"No space left on device.*XDG_CACHE_HOME"):
        tokenize(TEXT, BYTES, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"cannot be kept in {tmp_path / 'file'}"):
        tokenize(TEXT, BYTES, tmp_path / "file")


def test_a_text_that_breaks_off_leaves_nothing(tmp_path):
    def broken():
        yield "a"
        raise DataError("broken off")

    with pytest.raises(DataError, match="broken off"):
        tokenize(Text(broken, "broken"), BYTES, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_may_store_the_same_text_at_once(tmp_path):
    """The second starts and ends while the first is in the middle of its text."""

    def interrupted():
        yield "na"
        assert tokenize(TEXT, BYTES, tmp_path).ids.tolist() == list("".join(TEXT).encode())
        yield "".join(TEXT)[2:]

    tokens = tokenize(Text(interrupted, TEXT.fingerprint), BYTES, tmp_path)
    assert tokens.ids.tolist() == list("".join(TEXT).encode())
    assert len(list(tmp_path.iterdir())) == 1


def test_tokens_that_were_not_used_for_longest_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr("selfloop.data.caches.LIMIT", 600)  # of stores of 262 bytes
    texts = {word: Text.of(word) for word in ("one", "two", "six")}
    for word in ("one", "two"):
        tokenize(texts[word], BYTES, tmp_path)
    for path in tmp_path.iterdir():
        os.utime(path, (1e9, 1e9))
    for word in ("one", "six"):
        tokenize(texts[word], BYTES, tmp_path)
    assert len([*tmp_path.iterdir()]) == 2
    read = Text(lambda: pytest.fail("it is kept"), texts["one"].fingerprint)
    assert tokenize(read, BYTES, tmp_path).ids.tolist() == [*b"one"]
