import gzip
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_data import read_classified, read_unlabelled, refused

from selfloop.data.examples import BadItems, Unusable
from selfloop.data.media.series import as_series, read_series
from selfloop.data.media.ts import read_ts
from selfloop.data.reading import Reading
from selfloop.errors import DataError


def read(source, *, skip=False, **options):
    return read_classified(source, bad=BadItems(skip), **options)


refusal = partial(refused, read)


class Trap:
    """Would say so if it were unpickled."""

    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


# ------------------------------------------------------------------------------------------------ arrays


@given(
    st.lists(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
        min_size=1,
        max_size=9,
    )
)
def test_numbers_are_kept_as_float32_whatever_they_come_in(tmp_path_factory, rows):
    expected = np.array(rows, np.float32)
    folder = tmp_path_factory.getbasetemp()
    np.save(folder / "any.npy", np.array(rows, np.float64))
    (folder / "any.csv").write_text("\n".join(f"{a!r},{b!r}" for a, b in rows))
    for found in (as_series(rows), read_series(folder / "any.npy"), read_series(folder / "any.csv")):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i4", "f2", ">f8", "?"])
def test_numbers_of_any_type_are_read(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.array([0, 1, 1], dtype))
    assert read_series(tmp_path / "a.npy").tolist() == [[0], [1], [1]]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([1, np.nan]), "holds NaN at step 2, channel 1"),
        (np.array([[1, 2], [3, np.inf]]), "holds infinity at step 2, channel 2"),
        (np.array([1e39]), "holds 1e+39, too large for float32, at step 1"),
        (np.zeros(0), "is an empty series"),
        (np.zeros((3, 0)), "is an empty series"),
        (np.array(1.0), "must have one dimension"),
        (np.zeros((2, 2, 2)), "must have one dimension (time) or two (time, channels), not the 3 of (2, 2, 2)"),
        (np.array(["a"]), "must hold numbers, not <U1"),
        (np.array([1j]), "must hold numbers, not complex128"),
        (np.array([Trap()], object), "it holds Python objects, which are never loaded"),
    ],
)
def test_an_array_that_is_no_series_is_refused(tmp_path, array, said):
    for label, n in (("a", 1), ("a", 2), ("b", 1)):
        (tmp_path / label).mkdir(exist_ok=True)
        np.save(tmp_path / label / f"{n}.npy", np.ones(3))
    bad = tmp_path / "b" / "2.npy"
    with bad.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=True)
    message = refusal(tmp_path)
    assert message.startswith(f"{bad} ")
    assert said in message
    dataset = read(tmp_path, skip=True)
    assert len(dataset.train) + len(dataset.valid) == 3


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"text", pickle.dumps([1, 2])])
def test_a_damaged_npy_is_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(Unusable, match=r"cannot be read as \.npy"):
        read_series(tmp_path / "a.npy")


def test_a_compressed_npy_is_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1.0, 2.0]))
    packed = gzip.compress((tmp_path / "a.npy").read_bytes())
    (tmp_path / "a.npy.gz").write_bytes(packed)
    assert read_series(tmp_path / "a.npy.gz").tolist() == [[1], [2]]
    for damaged in (packed[:-9], packed[:20] + b"\xff" * 9 + packed[29:], b"no gzip"):
        (tmp_path / "a.npy.gz").write_bytes(damaged)
        with pytest.raises(Unusable, match=r"cannot be read as \.npy"):
            read_series(tmp_path / "a.npy.gz")


def test_a_truncated_npy_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(100))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-8])
    with pytest.raises(Unusable, match=r"cannot be read as \.npy"):
        read_series(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("content", "expected"),
    [("a,b\n1,2\n3,4\n", [[1, 2], [3, 4]]), ("1\r\n\r\n2\r\n", [[1], [2]]), ("\ufeff1e3,-2", [[1000, -2]])],
)
def test_a_csv_has_a_step_a_line_named_or_not(tmp_path, content, expected):
    (tmp_path / "a.csv").write_bytes(content.encode())
    assert read_series(tmp_path / "a.csv").tolist() == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"1,2\n3\n", "is no table of numbers (the number of columns changed from 2 to 1"),
        (b"1,2\n3,x\n", "is no table of numbers (could not convert string 'x'"),
        (b"1,2\n3,\n", "is no table of numbers"),
        (b"a,b\n", "is an empty series"),
        (b"", "is an empty series"),
        (b"1\nnan\n", "holds NaN at step 2"),
        (b"1\n\xff\n", "is no text"),
    ],
)
def test_a_csv_that_is_no_series_is_refused(tmp_path, content, said):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(Unusable) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        read_series(tmp_path / "a.csv")
    assert said in str(caught.value)


# ------------------------------------------------------------------------------------------------ archives


def test_an_npz_holds_x_and_y_or_a_pair_for_each_part(tmp_path):
    x, y = np.arange(24.0).reshape(4, 3, 2), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.savez(tmp_path / "b.npz", x_train=x, y_train=y[:, None], x_val=x[:1], y_val=y[:1], x_test=x[1:2], y_test=y[1:2])
    one, other = read(tmp_path / "a.npz"), read(tmp_path / "b.npz")
    assert sorted(one.train.labels + one.valid.labels) == ["0", "0", "1", "1"]
    assert (len(other.train), other.valid.labels, other.test.labels) == (4, ["0"], ["1"])
    assert other.train.inputs[1].tolist() == x[1].tolist()
    assert other.test.places == [f"{tmp_path / 'b.npz'}, item 1 of x_test"]


@pytest.mark.parametrize("name", ["dev", "validation", "VAL"])
def test_parts_of_an_npz_are_named_as_everywhere(tmp_path, name):
    x, y = np.arange(24.0).reshape(4, 3, 2), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "a.npz", **{"x_Train": x, "y_Train": y, f"x_{name}": x[:1], f"y_{name}": y[:1]})
    assert (len(read(tmp_path / "a.npz").train), len(read(tmp_path / "a.npz").valid)) == (4, 1)


def test_names_of_classes_in_an_npz_may_be_text_or_bytes(tmp_path):
    for y in (["up", "down"], [b"up", b"down"]):
        np.savez(tmp_path / "a.npz", X=np.ones((2, 3)), Y=np.array(y))
        assert read(tmp_path / "a.npz", valid=tmp_path / "a.npz").train.labels == ["up", "down"]


def test_bytes_of_three_dimensions_in_an_npz_are_images(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(24, dtype=np.uint8).reshape(4, 2, 3), y=[0, 0, 1, 1])
    assert read(tmp_path / "a.npz").train.inputs[0].tolist() == [[n] for n in range(6)]
    assert read(tmp_path / "a.npz", scan="rows").train.inputs[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.ones((3, 2)), "y": np.zeros(2)}, "holds 3 examples in 'x' and 2 labels in 'y'"),
        ({"x": np.ones((3, 2))}, "has no labels for 'x': add an array 'y'"),
        ({"X_train": np.ones((3, 2))}, "has no labels for 'X_train': add an array 'Y_train'"),
        ({"x": np.ones(3), "y": np.zeros(3)}, "must hold 'x' as (N, T) or (N, T, C)"),
        ({"x_extra": np.ones((3, 2)), "x": np.ones((3, 2))}, "'x_extra' names no part: train, valid or test"),
        ({"x_val": np.ones((3, 2)), "x_dev": np.ones((3, 2))}, "'x_val' and 'x_dev' are of one part"),
        ({"x": np.ones((2, 2)), "y": np.array([b"a", b"\xff"])}, "holds bytes in 'y' that are not UTF-8"),
        ({"data": np.ones(3)}, "must hold arrays 'x' and 'y', or 'x_train', 'y_train' and so on. Got 'data' instead"),
        ({"x": np.array([Trap()], object), "y": np.zeros(1)}, "Python objects, which are never loaded"),
        ({"x": np.array([[1, 2], [1, np.nan]]), "y": np.zeros(2)}, "item 2 of x holds NaN at step 2"),
        ({"x": np.ones((2, 2)), "y": np.array([1, np.nan])}, "item 2 of x has no label"),
        ({"x_test": np.ones((2, 2)), "y_test": np.array([1, 2])}, "must have a split 'train'. Got 'test' instead"),
    ],
)
def test_an_npz_that_does_not_fit_is_refused(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    assert said in refusal(tmp_path / "a.npz")
    assert str(tmp_path / "a.npz") in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"PK\3\4", pickle.dumps([1]), b"\x93NUMPY"])
def test_a_damaged_npz_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    assert "cannot be read as .npz" in refusal(tmp_path / "a.npz")


# ------------------------------------------------------------------------------------------------ .ts

UNIVARIATE = """\
# made for a test
@problemName GunPoint
@timeStamps false
@missing false
@univariate true
@equalLength true
@classLabel true 1 2
@data
"""
MULTIVARIATE = "@problemName Walk\n@univariate false\n@dimensions 2\n@classLabel true left right\n@data\n"


def ts(tmp_path, text, **options):
    path = tmp_path / "a.ts"
    path.write_text(text)
    return read_ts(path, Reading(**options))


def test_series_of_one_channel_are_read(tmp_path):
    items = ts(tmp_path, UNIVARIATE + "1,2.5,-3e-1:1\n\n# between\n4,5:2\n")
    assert [row.tolist() for row in items.inputs] == [as_series([1, 2.5, -0.3]).tolist(), [[4], [5]]]
    assert items.labels == ["1", "2"]
    assert items.places == [f"{tmp_path / 'a.ts'}, line 9", f"{tmp_path / 'a.ts'}, line 12"]


def test_series_of_several_channels_and_any_length_are_read(tmp_path):
    items = ts(tmp_path, MULTIVARIATE + "1,2,3:4,5,6:left\n7:8:right\n")
    assert [row.tolist() for row in items.inputs] == [[[1, 4], [2, 5], [3, 6]], [[7, 8]]]


def test_missing_values_at_the_end_make_a_series_shorter(tmp_path):
    items = ts(tmp_path, MULTIVARIATE + "1,2,?:4,5,?:left\n")
    assert items.inputs[0].tolist() == [[1, 4], [2, 5]]


def test_names_of_files_mark_the_splits(tmp_path):
    (tmp_path / "G_TRAIN.ts").write_text(UNIVARIATE + "1,2:1\n3,4:2\n5,6:1\n")
    (tmp_path / "G_TEST.ts").write_text(UNIVARIATE + "7,8:2\n")
    (tmp_path / "G_TEST.txt").write_text("the same in another form")
    dataset = read(tmp_path)
    assert (len(dataset.train), len(dataset.valid), dataset.test.labels) == (2, 1, ["2"])
    assert len(read(tmp_path / "G_TRAIN.ts", test=tmp_path / "G_TEST.ts").test) == 1


def test_a_file_without_classes_can_be_predicted_and_not_learnt(tmp_path):
    (tmp_path / "a.ts").write_text("@univariate true\n@classLabel false\n@data\n1,2\n3\n")
    found = read_unlabelled(tmp_path / "a.ts", bad=BadItems())
    assert [len(row) for row in found.inputs] == [2, 1]
    assert "must name its classes" in refusal(tmp_path / "a.ts")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,?,3:4,5,6:left", "holds NaN at step 2, channel 1"),
        ("1,2:?,?:left", "holds NaN at step 1, channel 2"),
        ("?,?:?,?:left", "is an empty series"),
        ("1,inf:1,2:left", "holds infinity at step 2, channel 1"),
        ("1,2:3:left", "has channels of 1 to 2 steps"),
        ("1,2:left", "has 1 channels, and the header promises 2"),
        ("1,2:3,4", "ends in '3,4', which is none of the classes of @classLabel"),
        ("1,2:3,4:up", "ends in 'up', which is none of the classes"),
        ("1,two:3,4:left", "must hold numbers between commas (could not convert string to float: 'two')"),
        ("1,,2:3,4,5:left", "must hold numbers between commas"),
        ("::left", "is an empty series"),
    ],
)
def test_a_bad_line_is_refused_or_skipped(tmp_path, line, said):
    text = MULTIVARIATE + f"1:1:left\n{line}\n2:2:right\n"
    with pytest.raises(DataError) as caught:
        ts(tmp_path, text)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'a.ts'}, line 7 ")
    assert ts(tmp_path, text, bad=BadItems(skip=True)).labels == ["left", "right"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must have a line '@data'"),
        ("1,2:a\n", "line 1 must begin with @ or #"),
        ("@targetlabel true\n@data\n1:2\n", "is for regression"),
        ("@timestamps true\n@classLabel true a\n@data\n(0,1):a\n", "values come with times"),
        ("@data\n1:2\n", "must name its classes"),
        ("@data\0\0", "is binary"),
    ],
)
def test_a_file_that_is_no_ts_of_classes_is_refused(tmp_path, text, said):
    with pytest.raises(DataError) as caught:
        ts(tmp_path, text)
    assert said in str(caught.value)
    assert str(tmp_path / "a.ts") in str(caught.value)
