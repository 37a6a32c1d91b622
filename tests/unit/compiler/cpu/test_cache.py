"""The cache of machine code: what is stored comes back, or nothing does; never another user's code, never an error."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from selfloop.compiler.cpu import cache

posix = pytest.mark.skipif(os.name != "posix", reason="the rights of POSIX")
KEY, OTHER = (hashlib.sha256(text).hexdigest() for text in (b"one", b"other"))
CODE = bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFLOOP_CACHE", str(tmp_path / "cache" / "kernels"))
    return tmp_path / "cache" / "kernels"


def entry(folder, key=KEY):
    return folder / f"{key}.o"


def test_what_is_stored_is_loaded(folder):
    assert cache.load(KEY) is None
    cache.store(KEY, CODE)
    assert cache.load(KEY) == CODE
    assert cache.load(OTHER) is None


def test_the_last_to_store_wins(folder):
    cache.store(KEY, CODE)
    cache.store(KEY, b"")
    assert cache.load(KEY) == b""


@pytest.mark.parametrize("key", ["", "../" + KEY, KEY.upper(), KEY[1:], KEY + "\n"])
def test_a_key_is_a_sha256(folder, key):
    for call in (cache.load, lambda key: cache.store(key, CODE)):
        with pytest.raises(ValueError, match="must be a sha256"):
            call(key)


@pytest.mark.parametrize("keep", [0, 5, 31, 32, 33, 5000])
def test_a_file_that_was_cut_short_is_none_and_goes(folder, keep):
    cache.store(KEY, CODE)
    with entry(folder).open("r+b") as file:
        file.truncate(keep)
    assert cache.load(KEY) is None
    assert not entry(folder).exists()
    cache.store(KEY, CODE)
    assert cache.load(KEY) == CODE


@pytest.mark.parametrize("place", [0, 32, 999])
def test_a_flipped_bit_is_noticed(folder, place):
    cache.store(KEY, CODE)
    held = bytearray(entry(folder).read_bytes())
    held[place] ^= 4
    entry(folder).write_bytes(held)
    assert cache.load(KEY) is None
    assert not entry(folder).exists()


def test_a_file_under_the_name_of_another_is_none(folder):
    cache.store(KEY, CODE)
    entry(folder).rename(entry(folder, OTHER))
    assert cache.load(OTHER) is None


@posix
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_folders_and_files_are_the_users_alone_whatever_the_umask(folder, umask):
    before = os.umask(umask)
    try:
        cache.store(KEY, CODE)
    finally:
        os.umask(before)
    assert cache.load(KEY) == CODE
    for path, mode in ((folder.parent, 0o700), (folder, 0o700), (entry(folder), 0o600)):
        assert path.stat().st_mode & 0o777 == mode


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_may_write_is_not_used(folder, mode):
    cache.store(KEY, CODE)
    folder.chmod(mode)
    assert cache.load(KEY) is None
    cache.store(OTHER, CODE)
    assert not entry(folder, OTHER).exists()
    assert cache.state() == f"not used: {folder} can be written by other users"


@posix
@pytest.mark.parametrize("mode", [0o660, 0o602])
def test_a_file_that_others_may_write_is_not_loaded(folder, mode):
    cache.store(KEY, CODE)
    entry(folder).chmod(mode)
    assert cache.load(KEY) is None


@posix
def test_what_belongs_to_another_user_is_not_used(folder, monkeypatch):
    cache.store(KEY, CODE)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert cache.load(KEY) is None
    cache.store(OTHER, CODE)
    assert not entry(folder, OTHER).exists()
    assert cache.state() == f"not used: {folder} belongs to another user"


@posix
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_another_user_put_into_the_folder_is_not_loaded(folder):
    cache.store(KEY, CODE)
    os.chown(entry(folder), 12345, -1)
    assert cache.load(KEY) is None


@posix
def test_links_are_not_followed(folder, tmp_path):
    cache.store(KEY, CODE)
    entry(folder).rename(tmp_path / "elsewhere")
    entry(folder).symlink_to(tmp_path / "elsewhere")
    assert cache.load(KEY) is None
    entry(folder).unlink()
    (tmp_path / "elsewhere").rename(entry(folder))
    assert cache.load(KEY) == CODE
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    assert cache.load(KEY) is None
    cache.store(OTHER, CODE)
    assert not entry(tmp_path / "moved", OTHER).exists()
    assert cache.state() == f"not used: {folder} is a link"


@posix
def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_none(folder):
    cache.store(KEY, CODE)
    entry(folder, OTHER).mkdir(mode=0o700)
    assert cache.load(OTHER) is None
    entry(folder).unlink()
    os.mkfifo(entry(folder), 0o600)
    assert cache.load(KEY) is None


def test_what_was_not_used_for_longest_goes_first(folder, monkeypatch):
    keys = [hashlib.sha256(bytes([n])).hexdigest() for n in range(5)]
    for age, key in enumerate(keys[:4]):
        cache.store(key, CODE)
        os.utime(entry(folder, key), (1e9 + age, 1e9 + age))
    assert cache.load(keys[0]) == CODE  # the oldest, and now the newest
    monkeypatch.setattr(cache, "LIMIT", 3 * (len(CODE) + 32))
    cache.store(keys[4], CODE)
    assert [cache.load(key) is not None for key in keys] == [True, False, False, True, True]


def test_code_that_is_larger_than_the_limit_is_not_stored_and_pushes_nothing_out(folder, monkeypatch):
    cache.store(KEY, CODE)
    monkeypatch.setattr(cache, "LIMIT", len(CODE) + 32)
    cache.store(OTHER, CODE + b"x")
    assert cache.load(OTHER) is None
    assert cache.load(KEY) == CODE


def test_pruning_leaves_files_of_others_alone_and_takes_what_killed_writers_left(folder, monkeypatch):
    cache.store(KEY, CODE)
    mine, left, fresh = (folder / n for n in ("notes.txt", f".{KEY}.o.{'a' * 32}.tmp", f".{KEY}.o.{'b' * 32}.tmp"))
    for path in (mine, left, fresh):
        path.write_bytes(CODE)
    os.utime(left, (1e9, 1e9))
    monkeypatch.setattr(cache, "LIMIT", len(CODE) + 32)
    cache.store(OTHER, CODE)
    assert {path.name for path in folder.iterdir()} == {f"{OTHER}.o", mine.name, fresh.name}


def test_a_clock_that_goes_backwards_is_no_error_and_costs_nothing_that_fits(folder, monkeypatch):
    """Files from the future are newer than all others, and what a living writer has written is not a leftover."""
    cache.store(KEY, CODE)
    writing = folder / f".{KEY}.o.{'a' * 32}.tmp"
    writing.write_bytes(CODE)
    for path in (entry(folder), writing):
        os.utime(path, (4e9, 4e9))
    monkeypatch.setattr("time.time", lambda: 1e9)
    cache.store(OTHER, CODE)
    assert cache.load(KEY) == cache.load(OTHER) == CODE
    assert writing.exists()


@pytest.mark.parametrize("named", ["off", "file", "below a file", "no home"])
def test_where_there_can_be_no_folder_there_is_no_cache_and_no_error(named, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    paths = {"file": str(tmp_path / "file"), "below a file": str(tmp_path / "file" / "cache"), "no home": "~nobody-x/c"}
    monkeypatch.setenv("SELFLOOP_CACHE", paths.get(named, named))
    cache.store(KEY, CODE)
    assert cache.load(KEY) is None
    assert cache.state().startswith("not used: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_off_is_off(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SELFLOOP_CACHE", "off")
    cache.store(KEY, CODE)
    assert list(tmp_path.iterdir()) == []
    assert cache.state() == "not used: SELFLOOP_CACHE is off"


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_is_no_error_and_leaves_nothing_behind(folder, monkeypatch, call):
    def full(*_):
        raise OSError(28, "No space left on device")

    cache.store(KEY, CODE)
    if call == "replace":
        monkeypatch.setattr(Path, "replace", full)
    else:
        monkeypatch.setattr(os, {"write": "fchmod", "fsync": "fsync"}[call], full)
    cache.store(OTHER, CODE)
    assert {path.name for path in folder.iterdir()} == {f"{KEY}.o"}
    assert cache.load(KEY) == CODE


@posix
def test_a_disk_that_is_read_only_still_serves(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    cache.store(KEY, CODE)
    monkeypatch.setattr(os, "utime", refuse)
    assert cache.load(KEY) == CODE
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cache.state() == f"{folder}: 1 compiled, 0.0 of 256 MiB, read only"


def test_the_state_says_what_there_is(folder):
    assert cache.state() == f"{folder}: empty"
    cache.store(KEY, bytes(2**20))
    cache.store(OTHER, bytes(2**19))
    assert cache.state() == f"{folder}: 2 compiled, 1.5 of 256 MiB"


def test_the_state_says_that_no_folder_can_be_made(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cache.state() == f"not used: {tmp_path} is read only"


def test_the_folder_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.delenv("SELFLOOP_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    tail = Path("selfloop") / "kernels"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache._folder() == tmp_path / "xdg" / tail
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache._folder() == tmp_path / ".cache" / tail
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache._folder() == tmp_path / ".cache" / tail
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache._folder() == tmp_path / "Library" / "Caches" / tail
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache._folder() == tmp_path / "local" / tail


LOAD_AND_STORE = """
import hashlib, time
from selfloop.compiler.cpu import cache

CODE = bytes(range(256)) * 40
cache.LIMIT = 6 * (len(CODE) + 33)
until = time.monotonic() + 0.5
while time.monotonic() < until:
    for number in range(10):
        key = hashlib.sha256(bytes([number])).hexdigest()
        found = cache.load(key)
        assert found in (None, CODE + bytes([number]))
        if found is None:
            cache.store(key, CODE + bytes([number]))
"""


def test_many_processes_at_once_see_whole_files_or_none(folder):
    running = [subprocess.Popen([sys.executable, "-W", "error", "-c", LOAD_AND_STORE]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    held = list(folder.iterdir())
    assert all(path.suffix == ".o" for path in held)
    assert 2 <= len(held) <= 6
