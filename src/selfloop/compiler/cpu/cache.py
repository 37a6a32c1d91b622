"""Machine code on disk, so that a kernel is compiled once and not once a process.

A key, the sha256 of everything that the code depends on, names a file, which holds a digest and the code. The folder is
the user's cache folder or the one that SELFLOOP_CACHE names; SELFLOOP_CACHE=off does without. What is loaded is run, so
nothing is read that another user could have written. No error of the disk is raised: without a cache kernels are
compiled anew, which is slower.
"""

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from selfloop.atomic import replacing
from selfloop.caches import prune, user_caches

VARIABLE = "SELFLOOP_CACHE"
"""The environment variable that names another folder, or is ``off``."""

LIMIT = 256 * 2**20
"""How many bytes the files may have together; those that were not used for longest go first."""

_PRUNED_EVERY = 64
"""The part of the limit, one in so many, that a process may store until it looks at all files again: at thousands of
them that takes as long as compiling a small kernel."""

_ENTRY = re.compile(r"[0-9a-f]{64}\.o")
_DIGEST_SIZE = hashlib.sha256().digest_size


_unseen: dict[Path, int] = {}
"""By folder, the bytes that this process has stored since it looked at all files."""


class _UnusableError(OSError):
    """There is no folder that may be used; the message says why. Handled as any failure of the disk."""


def load(key: str) -> bytes | None:
    """The code that was stored under ``key``, or None when there is none that can be trusted."""
    name = _name(key)
    try:
        folder = _folder()
        with _opened(folder) as folder_fd, _open_file(folder, folder_fd, name) as fd:
            contents = _read(fd, folder / name)
        if contents[:_DIGEST_SIZE] == _digest(key, contents[_DIGEST_SIZE:]):
            return contents[_DIGEST_SIZE:]
        (folder / name).unlink()  # damaged: it would be read in vain each time
    except OSError:
        pass
    return None


def store(key: str, code: bytes) -> None:
    """Keep ``code`` under ``key``, and forget what was not used for longest when there is too much."""
    name = _name(key)
    if _DIGEST_SIZE + len(code) > LIMIT:
        return
    with suppress(OSError):
        folder = _folder()
        _make(folder)
        with _opened(folder), replacing(folder / name) as file:
            if sys.platform != "win32":
                os.fchmod(file.fileno(), 0o600)  # whatever the umask: a file that the group may write is not loaded
            file.write(_digest(key, code))
            file.write(code)
        unseen = _unseen.get(folder, LIMIT) + len(code)
        if unseen >= LIMIT // _PRUNED_EVERY:
            prune(folder, _ENTRY, LIMIT)
            unseen = 0
        _unseen[folder] = unseen


def state() -> str:
    """One line that says where the cache is and what it holds, or why there is none."""
    try:
        folder = _folder()
        try:
            with _opened(folder):
                sizes = [entry.stat().st_size for entry in _matching(folder, _ENTRY)]
        except FileNotFoundError:
            above = next(parent for parent in folder.parents if parent.exists())
            if not os.access(above, os.W_OK):
                raise _UnusableError(f"{above} is read only") from None
            return f"{folder}: empty"
        holds = f"{len(sizes)} compiled, {sum(sizes) / 2**20:.1f} of {LIMIT // 2**20} MiB"
        return f"{folder}: {holds}" + ("" if os.access(folder, os.W_OK) else ", read only")
    except OSError as error:
        return f"not used: {error}"


def whereabouts() -> str:
    """Where machine code is kept, or why it is not."""
    try:
        return f"kept in {_folder()}"
    except OSError as error:
        return f"not kept: {error}"


def _folder() -> Path:
    """Where the files are, whether it exists or not."""
    named = os.environ.get(VARIABLE)
    if named == "off":
        raise _UnusableError(f"{VARIABLE} is off")
    try:
        return Path(named).expanduser().absolute() if named else user_caches() / "selfloop" / "kernels"
    except (OSError, RuntimeError) as error:  # pathlib raises the latter
        raise _UnusableError(f"there is no home folder; {VARIABLE} may name a folder") from error


def _make(folder: Path) -> None:
    """Create the folder and what is missing above it, for this user alone."""
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """A descriptor of the folder, found to be this user's alone; None on Windows, which has none.

    A file to be loaded is opened relative to the descriptor: what was checked is what is run, even if the path is
    replaced meanwhile. Files are written and removed by their paths.
    """
    if sys.platform == "win32":  # the profile's access list keeps other users out
        folder.stat()
        yield None
        return
    if folder.is_symlink():
        raise _UnusableError(f"{folder} is a link")
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _check_owner(os.fstat(folder_fd), folder)
        yield folder_fd
    finally:
        os.close(folder_fd)


@contextmanager
def _open_file(folder: Path, folder_fd: int | None, name: str) -> Iterator[int]:
    """A descriptor of a regular file that only this user can have written."""
    if sys.platform == "win32":
        fd = os.open(folder / name, os.O_RDONLY | os.O_BINARY)
    else:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder_fd)  # a pipe would block
    try:
        if sys.platform != "win32":
            _check_owner(os.fstat(fd), folder / name)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _UnusableError(f"{folder / name} is not a file")
        yield fd
    finally:
        os.close(fd)


def _check_owner(found: os.stat_result, path: Path) -> None:
    if sys.platform != "win32" and found.st_uid != os.geteuid():
        raise _UnusableError(f"{path} belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _UnusableError(f"{path} can be written by other users")


def _read(fd: int, path: Path) -> bytes:
    """What the file holds; it counts as used now."""
    if os.fstat(fd).st_size > LIMIT:
        raise _UnusableError(f"{path} is larger than the limit of the whole cache")
    with suppress(OSError):  # a disk that is read only keeps the old time
        os.utime(fd if os.utime in os.supports_fd else path)
    with os.fdopen(fd, "rb", closefd=False) as whole:
        return whole.read()


def _name(key: str) -> str:
    name = f"{key}.o"
    if not _ENTRY.fullmatch(name):
        raise ValueError(f"The 'key' of a compiled kernel must be a sha256 in hexadecimal. Got '{key}' instead.")
    return name


def _digest(key: str, code: bytes) -> bytes:
    """Covers the key as well: a file under a wrong name is as damaged as one that is cut short."""
    digest = hashlib.sha256(key.encode())
    digest.update(code)
    return digest.digest()


def _matching(folder: Path, names: re.Pattern[str]) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if names.fullmatch(entry.name)]
