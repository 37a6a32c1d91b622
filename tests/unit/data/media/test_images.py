import gzip
import io
import struct
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from read_data import read_classified, read_unlabelled, refused

from selfloop.data.examples import BadItems, Unusable
from selfloop.data.media.images import read_image, sequences


def read(source, *, skip=False, **options):
    return read_classified(source, bad=BadItems(skip), **options)


refusal = partial(refused, read)


def stored(array_or_image, form="png", **options):
    """The bytes of a file that holds an image."""
    file = io.BytesIO()
    image = Image.fromarray(array_or_image) if isinstance(array_or_image, np.ndarray) else array_or_image
    image.save(file, form, **options)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Two classes of two grey images of 2 x 3 pixels each."""
    for n, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(stored(np.full((2, 3), n, np.uint8)))
    return tmp_path


# ------------------------------------------------------------------------------------------------ as sequences


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_images_are_read_left_to_right_and_downwards(count, height, width, colour):
    shape = (count, height, width, 3) if colour else (count, height, width)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    channels = 3 if colour else 1
    for n, (pixels, rows) in enumerate(
        zip(sequences(list(images), "pixels"), sequences(list(images), "rows"), strict=True)
    ):
        assert pixels.shape == (height * width, channels)
        assert rows.shape == (height, width * channels)
        assert pixels.tobytes() == rows.tobytes() == images[n].tobytes()


def test_equal_images_are_rows_of_one_array_of_bytes():
    found = sequences([np.zeros((4, 4), np.uint8)] * 3, "pixels")
    assert {row.dtype for row in found} == {np.dtype(np.uint8)}
    assert found[0].base is not None
    assert len({id(row.base) for row in found}) == 1


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("form", ["png", "bmp", "gif", "tiff", "ppm", "webp"])
def test_grey_images_of_many_formats_are_read(form):
    pixels = np.array([[0, 50, 100], [150, 200, 255]], np.uint8)
    found = read_image(stored(pixels, form, **({"lossless": True} if form == "webp" else {})))
    np.testing.assert_array_equal(found if found.ndim == 2 else found[..., 0], pixels)


def test_modes_become_grey_or_colour():
    rgb = Image.new("RGB", (2, 1), (10, 20, 30))
    assert read_image(stored(rgb)).tolist() == [[[10, 20, 30]] * 2]
    assert read_image(stored(rgb.quantize())).tolist() == [[[10, 20, 30]] * 2]
    assert read_image(stored(Image.new("1", (2, 1), 1))).tolist() == [[255, 255]]
    assert read_image(stored(np.array([[0, 65535]], np.uint16))).tolist() == [[0, 255]]
    assert read_image(stored(Image.new("RGBA", (1, 1), (1, 2, 3, 0)))).tolist() == [[[255, 255, 255]]]
    with pytest.raises(Unusable, match="is an image of real numbers"):
        read_image(stored(np.array([[0.5]], np.float32), "tiff"))


def test_an_image_is_turned_as_its_camera_says():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(stored(np.zeros((2, 5), np.uint8), exif=exif)).shape == (5, 2)


def test_a_folder_of_images_is_read_as_bytes(folder):
    dataset = read(folder, valid=folder)
    assert dataset.kind == "series"
    assert dataset.train.labels == ["cat", "cat", "dog", "dog"]
    assert dataset.train.inputs[2].tolist() == [[2]] * 6
    assert dataset.train.inputs[0].dtype == np.uint8
    assert read(folder, scan="rows").train.inputs[0].shape == (2, 3)
    assert read(folder, size=(8, 4)).train.inputs[0].shape == (32, 1)


def test_images_of_another_size_are_refused_unless_a_size_is_given(folder):
    (folder / "dog" / "3.png").write_bytes(stored(np.zeros((5, 4), np.uint8)))
    message = refusal(folder)
    assert message.startswith(f"{folder / 'dog' / '3.png'} is 5 x 4 pixels high and wide, where others are 2 x 3")
    assert "--set data.size=[2,3]" in message
    assert {row.shape for row in read(folder, size=(2, 3)).train.inputs} == {(6, 1)}


def test_a_grey_image_among_colours_becomes_one(folder):
    (folder / "dog" / "3.png").write_bytes(stored(np.zeros((2, 3, 3), np.uint8)))
    dataset = read(folder)
    assert {row.shape for row in dataset.train.inputs + dataset.valid.inputs} == {(6, 3)}


@pytest.mark.parametrize("content", [b"", b"no image", stored(np.ones((64, 64), np.uint8))[:-60]])
def test_an_image_that_is_none_or_cut_short_is_refused_or_skipped(folder, content):
    path = folder / "dog" / "2.png"
    path.write_bytes(content)
    assert refusal(folder).startswith(f"{path} cannot be read as an image (")
    dataset = read(folder, skip=True)
    assert len(dataset.train) + len(dataset.valid) == 3


def test_a_truncated_jpeg_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    whole = stored(noise, "jpeg")
    assert read_image(whole).shape == (64, 64)
    with pytest.raises(Unusable, match="cannot be read as an image"):
        read_image(whole[: len(whole) // 2])


def test_what_pillow_warns_of_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(Unusable, match="exceeds limit of 10 pixels"):
        read_image(stored(np.zeros((4, 4), np.uint8)))


def test_one_image_or_a_folder_can_be_predicted(folder):
    assert read_unlabelled(folder / "cat" / "2.png", bad=BadItems()).inputs[0].tolist() == [[1]] * 6
    found = read_unlabelled(folder, kind="series", bad=BadItems())
    assert (len(found), found.labels, found.places[0]) == (4, [], str(folder / "cat" / "1.png"))


# ------------------------------------------------------------------------------------------------ MNIST's files


def idx(array):
    array = np.asarray(array, np.uint8)
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)


@pytest.mark.parametrize(
    ("name", "squeeze"),
    [("{}-idx{}-ubyte", bytes), ("{}-idx{}-ubyte.gz", gzip.compress), ("{}.idx{}-ubyte", bytes), ("{}.idx", bytes)],
)
def test_pairs_of_idx_files_are_read_by_their_names(tmp_path, name, squeeze):
    for part in ("train", "t10k"):
        (tmp_path / name.format(f"{part}-images", 3)).write_bytes(squeeze(idx(IMAGES)))
        (tmp_path / name.format(f"{part}-labels", 1)).write_bytes(squeeze(idx([3, 4, 3, 4])))
    dataset = read(tmp_path)
    assert (len(dataset.train), len(dataset.valid), dataset.test.labels) == (3, 1, ["3", "4", "3", "4"])
    assert dataset.test.inputs[1].tolist() == [[n] for n in range(6, 12)]
    images = tmp_path / name.format("t10k-images", 3)
    assert dataset.test.places[1] == f"{images}, image 2"
    assert read(images, scan="rows", valid=images).train.inputs[0].shape == (2, 3)


def test_images_of_an_idx_file_can_be_predicted_without_labels(tmp_path):
    (tmp_path / "images-idx3-ubyte").write_bytes(idx(IMAGES))
    assert len(read_unlabelled(tmp_path / "images-idx3-ubyte", bad=BadItems())) == 4
    assert len(read_unlabelled(tmp_path, bad=BadItems())) == 4
    assert "There are no labels for" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (idx(IMAGES), idx([1, 2]), "holds 4 images, and"),
        (idx(IMAGES)[:-1], idx([1, 2, 1, 2]), "must hold 24 bytes, and holds 23"),
        (idx(IMAGES), idx([1, 2, 1, 2]) + b"x", "must hold 4 bytes, and holds 5"),
        (idx(IMAGES), b"\0\0", "must be an IDX file of bytes, as MNIST's are. It begins with 0000"),
        (b"\0\0\x0d\x03" + b"\0" * 12, idx([]), "must be an IDX file of bytes"),
        (idx([1, 2, 1, 2]), idx([1, 2, 1, 2]), "must hold images, (count, height, width)"),
        (idx(IMAGES)[:6], idx([1, 2, 1, 2]), "is cut short"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-9], idx([1]), "cannot be read"),
        (idx(IMAGES), idx([1, 1, 1, 1]), "must hold two labels or more"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, images, labels, said):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    message = refusal(tmp_path)
    assert said in message
    assert str(tmp_path) in message
    assert "must be the file of images" in refusal(tmp_path / "train-labels-idx1-ubyte")


def test_mnist_is_read(real_data):
    dataset = read(real_data("mnist"))
    assert [len(part) for part in (dataset.train, dataset.valid, dataset.test)] == [54_000, 6_000, 10_000]
    assert dataset.test.labels[:5] == ["7", "2", "1", "0", "4"]
    assert dataset.test.inputs[0].shape == (784, 1)
    pixels = np.stack(dataset.train.inputs + dataset.valid.inputs)
    assert pixels.mean() / 255 == pytest.approx(0.1307, abs=5e-5)  # as everyone normalises it
