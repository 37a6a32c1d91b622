"""Small files that would fill the memory: one sentence, which says how to read them all the same."""

import gzip
import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from read_data import read_classified

from selfloop import untrusted
from selfloop.data import read_corpus
from selfloop.data.examples import BadItems
from selfloop.data.files.compressed import check_gzip, open_plain
from selfloop.data.media.image_files import Album
from selfloop.data.readers.pairs import read_lines
from selfloop.data.tables.separated import TableFormat
from selfloop.errors import DataError
from selfloop.untrusted import TooLargeError, bound


@pytest.fixture(autouse=True)
def _small_bound(monkeypatch):
    """A megabyte in the place of 256, so that bombs are small."""
    monkeypatch.setattr(untrusted, "ALWAYS", 1 << 20)


def bomb(line: bytes = b"0" * 63 + b"\n") -> bytes:
    return gzip.compress(line * (1 << 16))


def npy(array=None, header=None) -> bytes:
    file = io.BytesIO()
    if header is None:
        np.save(file, array)
    else:
        text = repr({"descr": "<f8", "fortran_order": False, "shape": header}).encode().ljust(117) + b"\n"
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0" * 64)
    return file.getvalue()


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def nameless(path):
    return read_classified(path, format=TableFormat(header=False), bad=BadItems())


def classified(path):
    return read_classified(path, bad=BadItems())


READS = {
    "text.txt.gz": (bomb(), lambda path: list(read_corpus(path).train)),
    "lines.txt.gz": (bomb(), lambda path: read_lines(path, "utf-8")),
    "one_line.txt.gz": (bomb(b"0" * 64), lambda path: read_lines(path, "utf-8")),
    "rows.jsonl.gz": (bomb(b'{"text": "%s"}\n' % (b"0" * 50)), lambda path: list(read_corpus(path).train)),
    "rows.csv.gz": (bomb(b"a text,and a class\n"), nameless),
    "train-images-idx3-ubyte.gz": (bomb(b"\0\0\x08\x01" * 16), classified),
    "x.npz": (npz(x=npy(np.zeros((1 << 10, 1 << 10))), y=npy(np.zeros(4))), classified),
}


@pytest.mark.parametrize("name", READS)
def test_a_bomb_is_told_and_how_to_read_it_all_the_same(tmp_path, name):
    content, read = READS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"expands to more than [\d,]+, which .* decompress it") as e:
        read(tmp_path / name)
    assert "\n" not in str(e.value) and name in str(e.value)


@pytest.mark.parametrize("shape", [(10**12,), (10**6, 10**6, 10**6, 10**6), (1 << 40, 0), (1 << 20, 9)])
@pytest.mark.parametrize("name", ["a/x.npy", "a/x.npy.gz", "x.npz"])
def test_an_array_whose_header_lies(tmp_path, shape, name):
    (tmp_path / "a").mkdir()
    content = npy(header=shape)
    content = {"x.npy": content, "x.npy.gz": gzip.compress(content), "x.npz": npz(x=content, y=npy(np.zeros(2)))}
    (tmp_path / name).write_bytes(content[name.removeprefix("a/")])
    with pytest.raises(DataError):
        classified(tmp_path if "/" in name else tmp_path / name)


def test_an_image_of_too_many_pixels(tmp_path):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(png + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    with pytest.raises(DataError, match=r"1\.png cannot be read as an image \(.*decompression bomb"):
        classified(tmp_path)


def test_an_image_that_a_zip_blows_up(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * (4 << 20))
    with pytest.raises(Exception, match="expands to more than"):
        Album(tmp_path / "photos.zip").find("a.png").content()


def test_what_real_data_expand_to_is_read(tmp_path):
    """A hundred times its size, or a small file whatever it is."""
    honest = np.random.default_rng(1).integers(97, 120, 1 << 21, np.uint8).tobytes()
    (tmp_path / "a.gz").write_bytes(gzip.compress(honest))
    with open_plain(tmp_path / "a.gz") as file:
        assert file.read() == honest
        file.seek(5)
        assert file.read(3) == honest[5:8]
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"\0" * (1 << 20)))
    check_gzip(tmp_path / "b.gz")
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"\0" * ((1 << 20) + 1)))
    with pytest.raises(TooLargeError):
        check_gzip(tmp_path / "b.gz")
    assert bound(10**9) == 10**11
