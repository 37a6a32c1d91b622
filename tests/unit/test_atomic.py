import pytest

from selfloop.atomic import check_replacing, remove_leftovers, replacing


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "new folder" / "file"
    for content in (b"one", b"two"):
        with replacing(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_block_that_raises_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    for name in ("file", ".file.0123.tmp", ".other.0123.tmp", ".hidden", "file.tmp"):
        (tmp_path / name).write_bytes(b"")
    remove_leftovers(tmp_path, ["fi*"])
    assert sorted(p.name for p in tmp_path.iterdir()) == [".hidden", ".other.0123.tmp", "file", "file.tmp"]


def test_what_could_not_be_written_is_found_out_before_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    for path in (tmp_path / "file", tmp_path / "new", tmp_path / "new folder" / "in it" / "file"):
        check_replacing(path)
    for path in (tmp_path, tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(OSError):
            check_replacing(path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]
