import gzip
import io
import json
import zipfile
from functools import partial

import datasets
import numpy as np
import pytest
from PIL import Image
from read_data import read_captioned, refused

from selfloop.data.examples import BadItems
from selfloop.data.image_store import look
from selfloop.data.media.image_files import Album
from selfloop.data.readers.captioned import CaptionReader
from selfloop.data.reading import Reading
from selfloop.errors import DataError


def photo(shade=200, size=(12, 8), form="PNG"):
    file = io.BytesIO()
    Image.new("RGB", size, (shade, 10, 10)).save(file, form)
    return file.getvalue()


NAMES = ["a.png", "b.png", "c.png", "d.png"]
PHOTOS = {name: photo(10 * number) for number, name in enumerate(NAMES)}


@pytest.fixture
def place(tmp_path):
    """Writes files, by their path in an empty folder, and gives the folder."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write


def read(source, *, skip=False, bad=None, valid=None, test=None, **options):
    found = read_captioned(source, valid=valid, test=test, bad=bad or BadItems(skip), **options)
    parts = {"train": found.train, "valid": found.valid, "test": found.test}
    return {part: examples for part, examples in parts.items() if examples is not None}


def everything(parts):
    """Captions by the image's name, of all parts but the test part."""
    return {
        picture.name: captions
        for part in (parts["train"], parts["valid"])
        for picture, captions in zip(part.inputs, part.labels, strict=True)
    }


@pytest.mark.parametrize("said", [{"caption": "a dog"}, {"raw": None, "id": 1}, ["a dog"]])
def test_what_is_no_caption_is_refused(place, said):
    """It became the caption None."""
    rows = [{"file_name": name, "captions": [said if name == "b.png" else "a cat"]} for name in NAMES]
    folder = place({**PHOTOS, "metadata.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    assert "line 2" in refusal(folder)
    assert set(everything(read(folder, skip=True))) == {"a.png", "c.png", "d.png"}


refusal = partial(refused, read)


def lines(*rows):
    return "\n".join(json.dumps(row) for row in rows)


EXPECTED = {name: [f"{name[0]} one", f"{name[0]} two"] for name in NAMES}

# ------------------------------------------------------------------------------------------------ tables


@pytest.mark.parametrize(
    "table",
    [
        {"metadata.jsonl": lines(*({"file_name": n, "captions": c} for n, c in EXPECTED.items()))},
        {"metadata.jsonl": lines(*({"file_name": n, "text": c} for n, cs in EXPECTED.items() for c in cs))},
        {"captions.csv": "image,caption\n" + "".join(f"{n},{c}\n" for n, cs in EXPECTED.items() for c in cs)},
        {"photos.tsv": "image_name\tn\tcomment\n" + "".join(f"{n}\t0\t{c}\n" for n, d in EXPECTED.items() for c in d)},
        {"a.csv": "path,caption_0,caption_1\n" + "".join(f"{n},{one},{two}\n" for n, (one, two) in EXPECTED.items())},
        {"a.jsonl": lines(*({"image": n, "sentences": [{"raw": t} for t in c]} for n, c in EXPECTED.items()))},
        {"Flickr8k.token.txt": "".join(f"{n}#{k}\t{c}\n" for n, cs in EXPECTED.items() for k, c in enumerate(cs))},
    ],
    ids=lambda table: next(iter(table)),
)
@pytest.mark.parametrize("home", ["beside", "below", "zipped"])
def test_images_and_captions_are_found(place, table, home):
    photos = {f"images/{name}" if home == "below" else name: content for name, content in PHOTOS.items()}
    if home == "zipped":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in photos.items():
                archive.writestr(f"photos/{name}", content)
        photos = {"photos.zip": file.getvalue()}
    folder = place({**photos, **table})
    parts = read(folder)
    assert everything(parts) == EXPECTED
    assert (len(parts["train"]), len(parts["valid"])) == (3, 1)
    assert everything(read(folder / next(iter(table)))) == EXPECTED
    reds = {p.name: p.pixels()[0, 0, 0] for p in parts["train"].inputs}
    assert reds == {name: 10 * NAMES.index(name) for name in reds}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ("text", "description"),
            "has the columns 'text', 'description', which each may hold the caption: name one with caption='text' (on "
            "the command line --caption=text).",
        ),
        (("comment_0", "comment_1", "Sentences"), "has the columns 'comment_0', 'Sentences', which each may hold"),
    ],
)
def test_columns_of_different_words_are_not_captions_of_one_image(place, columns, message):
    rows = lines(*({"image": name, **dict.fromkeys(columns, "x")} for name in NAMES))
    folder = place({**PHOTOS, "a.jsonl": rows})
    assert message in refusal(folder)
    assert everything(read(folder, label=columns[-1])) == {name: ["x"] for name in NAMES}


def test_a_column_that_says_caption_is_one_beside_others(place):
    rows = lines(*({"image": n, "comment": "blurred", "captions": c, "Caption 3": "x"} for n, c in EXPECTED.items()))
    found = everything(read(place({**PHOTOS, "a.jsonl": rows})))
    assert found == {name: [*captions, "x"] for name, captions in EXPECTED.items()}


def test_images_may_stand_elsewhere(place):
    folder = place({**{f"there/{n}": c for n, c in PHOTOS.items()}, "here/c.csv": "image,caption\na.png,x\nb.png,y\n"})
    assert everything(read(folder / "here" / "c.csv", images=folder / "there")) == {"a.png": ["x"], "b.png": ["y"]}
    assert "which does not exist: give a folder or a .zip" in refusal(folder / "here", images=folder / "their")
    assert (
        refusal(None, images="there") == "The images in there need their captions: give the file that lists them first."
    )


def test_parquet_holds_images_itself(tmp_path):
    rows = [{"image": {"bytes": PHOTOS[n], "path": n}, "caption": c} for n, c in EXPECTED.items()]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "a.parquet")
    parts = read(tmp_path / "a.parquet")
    assert sorted(parts["train"].labels + parts["valid"].labels) == sorted(EXPECTED.values())
    assert parts["valid"].inputs[0].pixels((4, 5)).shape == (4, 5, 3)


# ------------------------------------------------------------------------------------------------ splits


def test_a_column_tells_the_parts(place):
    splits = ["train", "restval", "val", "test"]
    table = lines(*({"file_name": n, "caption": "x", "split": s} for n, s in zip(NAMES, splits, strict=True)))
    parts = read(place({**PHOTOS, "metadata.jsonl": table}))
    found = {role: [picture.name for picture in part.inputs] for role, part in parts.items()}
    assert found == {"train": NAMES[:2], "valid": NAMES[2:3], "test": NAMES[3:]}
    assert "line 1 has split 'odd'" in refusal(
        place({"metadata.jsonl": lines({"file_name": "a.png", "caption": "x", "split": "odd"})})
    )


def test_folders_or_names_of_tables_tell_the_parts(place):
    row = "file_name,caption\na.png,x\n"
    folder = place(
        {f"one/{role}/{n}": c for role in ("train", "validation") for n, c in {**PHOTOS, "metadata.csv": row}.items()}
    )
    assert {role: len(part) for role, part in read(folder / "one").items()} == {"train": 1, "valid": 1}
    folder = place({**{f"two/{n}": c for n, c in PHOTOS.items()}, "two/train.csv": row, "two/test_1.csv": row})
    parts = read(folder / "two", valid=folder / "two" / "train.csv")
    assert {role: len(part) for role, part in parts.items()} == {"train": 1, "valid": 1, "test": 1}


def test_lists_tell_the_parts_as_flickrs_do(place):
    token = "".join(f"{name}#{k}\tcaption {k} .\n" for name in [*NAMES, "gone.png"] for k in range(2))
    folder = place(
        {
            **PHOTOS,
            "Flickr8k.token.txt.gz": gzip.compress(token.encode()),
            "Flickr_8k.trainImages.txt": "b.png\na.png\n",
            "Flickr_8k.devImages.txt": "d.png\n",
            "readme.txt": "About this.\n",
        }
    )
    parts = read(folder)  # gone.png is in no list, so that it is not missed
    assert [picture.name for picture in parts["train"].inputs] == ["b.png", "a.png"]
    assert parts["valid"].labels == [["caption 0 .", "caption 1 ."]]
    parts = read(folder, test=place({"more/names.txt": "a.png\n"}) / "more" / "names.txt")
    assert [picture.name for picture in parts["test"].inputs] == ["a.png"]
    assert len(parts["train"]) == 1
    place({"Flickr_8k.devImages.txt": "d.png\nx.png\n"})
    assert "Flickr_8k.devImages.txt, line 2 names the image 'x.png', which has no caption" in refusal(folder)


# ------------------------------------------------------------------------------------------------ names and folders

TWO_FOLDERS = {f"{folder}/{number}.png": photo(10 * number) for folder in ("x", "y") for number in range(1, 4)}
"""Images of the same names in two folders, whose bytes are equal in pairs."""


def two_folders(*, of_files=TWO_FOLDERS, of_rows=TWO_FOLDERS):
    return {**of_files, "c.csv": "image,caption\n" + "".join(f"{name},about {name}\n" for name in of_rows)}


def test_a_list_of_names_tells_images_of_the_same_name_in_two_folders_apart(place):
    folder = place({**two_folders(), "names/valid.txt": "x/1.png\ny/2.png\n"})
    parts = read(folder / "c.csv", valid=folder / "names" / "valid.txt")
    assert [c for (c,) in parts["valid"].labels] == ["about x/1.png", "about y/2.png"]
    assert [c for (c,) in parts["train"].labels] == [f"about {n}" for n in ("x/2.png", "x/3.png", "y/1.png", "y/3.png")]
    (folder / "names" / "valid.txt").write_text("x/1.png\n2.png\n")
    said = refusal(folder / "c.csv", valid=folder / "names" / "valid.txt")
    assert "valid.txt, line 2 names the image '2.png', which may be x/2.png or y/2.png: name its folder too" in said


def test_flickrs_lists_pick_rows_by_the_whole_path(place):
    rows = "".join(f"{name}#0\tabout {name}\n" for name in [*TWO_FOLDERS, "z/1.png"])
    lists = {"trainImages.txt": "x/2.png\nx/3.png\n", "devImages.txt": "y/1.png\n"}
    parts = read(
        place({**TWO_FOLDERS, "a.token.txt": rows, **lists})
    )  # z/1.png is in no list, so that it is not missed
    assert {role: [c for (c,) in part.labels] for role, part in parts.items()} == {
        "train": ["about x/2.png", "about x/3.png"],
        "valid": ["about y/1.png"],
    }


def test_a_missing_image_is_not_replaced_by_another_folders(place):
    files = {name: content for name, content in TWO_FOLDERS.items() if name != "x/2.png"}
    said = refusal(place(two_folders(of_files=files)))
    assert "c.csv, line 3 names the image 'x/2.png', and there is none of that name in" in said
    assert ", only y/2.png. Fix it" in said


def test_a_name_without_its_folder_is_known_where_it_is_the_only_one(place):
    files = {**TWO_FOLDERS, "y/own.png": photo(), "y/2.png": photo(99)}
    rows = ("own.png", "x/1.png", "1.png")  # the two images 1.png hold the same
    parts = read(place(two_folders(of_files=files, of_rows=rows)))
    assert sorted(c for part in parts.values() for captions in part.labels for c in captions) == [
        "about 1.png", "about own.png", "about x/1.png",
    ]  # fmt: skip
    said = refusal(place(two_folders(of_files=files, of_rows=("x/1.png", "2.png"))))
    assert "line 3 names the image '2.png', which may be x/2.png or y/2.png: name its folder too" in said
    files["2.png"] = photo(7)  # a path that is whole is not ambiguous
    read(place(two_folders(of_files=files, of_rows=("x/1.png", "2.png"))))


@pytest.mark.parametrize("prefix", ["photos/", "./photos/", "../photos/", "photos\\"])
def test_a_name_may_begin_above_the_folder_of_the_images(place, prefix):
    rows = "".join(f"{prefix}{name},x\n" for name in NAMES)
    folder = place({**{f"photos/{n}": c for n, c in PHOTOS.items()}, "lists/c.csv": f"image,caption\n{rows}"})
    assert len(everything(read(folder / "lists" / "c.csv", images=folder / "photos"))) == 4
    with zipfile.ZipFile(folder / "zipped.zip", "w") as archive:
        for name, content in PHOTOS.items():
            archive.writestr(f"photos/{name}", content)
    assert len(everything(read(folder / "lists" / "c.csv", images=folder / "zipped.zip"))) == 4


# ------------------------------------------------------------------------------------------------ faults


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("gone.png,x", "c.csv, line 4 names the image 'gone.png', and there is none of that name in"),
        ("a.png,", "c.csv, line 4 has an empty caption"),
        ("a.png, . ! ", "c.csv, line 4 has an empty caption"),
        (",x", "c.csv, line 4 names no image in column 'image'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_or_left_out(place, rows, message):
    folder = place({**PHOTOS, "c.csv": f"image,caption\na.png,x\nb.png,y\n{rows}\n"})
    assert message in refusal(folder / "c.csv")
    assert refusal(folder / "c.csv").endswith("Fix it, or leave such items out with --skip-bad.")
    bad = BadItems(skip=True)
    assert everything(read(folder / "c.csv", bad=bad)) == {"a.png": ["x"], "b.png": ["y"]}
    assert len(bad.found) == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.png": photo()}, "must hold one list of captions, as metadata.jsonl.* Got none instead"),
        ({"a.csv": "image,caption\n", "b.csv": "x"}, "Got a.csv, b.csv instead: name the file"),
        ({"a.csv": "image,words\na.png,x\n"}, "the columns 'image', 'words', of which none .* hold the caption"),
        ({"a.csv": "which,caption\na.png,x\n"}, "none is known to hold the image: name one with image='which'"),
        ({"a.csv": "image,caption\na.png,x\n", "a.png": photo()}, "has one example only"),
        ({"a.token.txt": "a.png#0\tx\nb.png x\n", "a.png": photo()}, "line 2 must be an image's name, #, a number"),
        ({"a.csv": "image,caption\na.png,x\n", "photos.zip": "no archive"}, "photos.zip is no .zip archive"),
    ],
)
def test_what_is_no_captions_is_said_in_one_sentence(place, files, message):
    with pytest.raises(DataError, match=message):
        read(place(files))


def test_a_column_that_does_not_exist_is_named(place):
    folder = place({**PHOTOS, "c.csv": "image,caption\na.png,x\n"})
    assert "no column 'captoin' for the caption, only 'image', 'caption'; did you mean 'caption'?" in refusal(
        folder, label="captoin"
    )


# ------------------------------------------------------------------------------------------------ to predict


def test_images_to_predict_are_those_of_a_file_a_folder_an_archive_or_a_table(place):
    folder = place({**PHOTOS, ".hidden.png": photo(), "notes.txt": "", "t/c.csv": "image,caption\na.png,x\n"})
    with zipfile.ZipFile(folder / "t" / "x.zip", "w") as archive:
        archive.writestr("in/e.jpg", photo(form="JPEG"))
        archive.writestr("__MACOSX/in/e.jpg", b"")
    names = {
        source: [picture.name for picture in CaptionReader(Reading(images=folder)).predict(folder / source).inputs]
        for source in ("a.png", "", "t/x.zip", "t/c.csv")
    }
    assert names == {"a.png": ["a.png"], "": NAMES, "t/x.zip": ["e.jpg"], "t/c.csv": ["a.png"]}
    with pytest.raises(DataError, match="holds no images"):
        CaptionReader(Reading()).predict(place({"empty/x.txt": ""}) / "empty")


def test_a_table_to_predict_needs_no_captions_and_keeps_ids(place):
    rows = [("r1", "b.png"), ("r2", "a.png"), ("r3", "b.png")]
    columns = ("id", "key")
    for id, other in (columns, columns[::-1]):
        folder = place({**PHOTOS, "c.csv": f"{id},{other},image\n" + "".join(f"{r},{r}x,{n}\n" for r, n in rows)})
        found = CaptionReader(Reading(id=None if id == "id" else "id")).predict(folder / "c.csv")
        assert [place.rpartition("/")[2] for place in found.places] == ["b.png", "a.png"]
        assert [place.id for place in found.places] == (["r1", "r2"] if id == "id" else ["r1x", "r2x"])


def test_ids_of_images_are_kept_with_what_is_held_out(place):
    splits = ["val", "train", "train", "train"]
    table = zip(NAMES, range(4), splits, strict=True)
    rows = lines(*({"image": name, "caption": "x", "key": key, "split": split} for name, key, split in table))
    parts = read(place({**PHOTOS, "a.jsonl": rows}), id="key")
    assert [place.id for place in parts["valid"].places] == [0]
    assert [place.id for place in parts["train"].places] == [1, 2, 3]


# ------------------------------------------------------------------------------------------------ what is seen


@pytest.fixture
def see():
    """The mean colour of images, and how many were looked at."""

    class See:
        looked = 0

        def __call__(self, images):
            self.looked += len(images)
            return images.mean((1, 2)).astype(np.float16)

    return See()


def test_what_is_seen_is_kept_until_an_image_or_what_looks_at_it_changes(place, see, tmp_path):
    folder, kept = place(PHOTOS), tmp_path / "kept"

    def again(digest="mean", size=(4, 4)):
        return look([*Album(folder)], see, size=size, digest=digest, bad=BadItems(), folder=kept)

    first, second = again(), again()
    assert see.looked == 4
    np.testing.assert_array_equal(first.arrays, [[10 * n, 10, 10] for n in range(4)])
    assert isinstance(second.arrays, np.memmap) and second.key == first.key
    place({"b.png": photo(99)})
    assert again().arrays[1, 0] == 99
    assert len({first.key, again().key, again("other").key, again(size=(4, 5)).key}) == 4
    next(kept.glob(f"{first.key}.npy")).write_bytes(b"damaged")
    place({"b.png": PHOTOS["b.png"]})
    np.testing.assert_array_equal(again().arrays, [[10 * n, 10, 10] for n in range(4)])


@pytest.mark.parametrize("content", [b"", b"no image", photo(size=(90, 90), form="JPEG")[:400]])
def test_an_image_that_cannot_be_read_is_named_or_left_out_each_time(place, see, tmp_path, content):
    album, kept = Album(place({**PHOTOS, "b.png": content})), tmp_path / "kept"
    options = {"size": (4, 4), "digest": "mean", "folder": kept}
    with pytest.raises(DataError, match=r"b.png cannot be read as an image \(.*\). Fix it, or leave"):
        look([*album], see, bad=BadItems(), **options)
    assert not [*kept.glob("*.npy")]
    for _ in range(2):
        bad = BadItems(skip=True)
        assert look([*album], see, bad=bad, **options).rows == [0, 2, 3]
        assert [place.endswith("b.png") for place, _ in bad.found] == [True]


def test_the_oldest_stores_make_room(place, see, tmp_path, monkeypatch):
    monkeypatch.setattr("selfloop.data.caches.LIMIT", 400)
    pictures = [*Album(place(PHOTOS))]
    for number in range(4):
        look(pictures, see, size=(4, 4), digest=str(number), bad=BadItems(), folder=tmp_path / "kept")
    assert len([*(tmp_path / "kept").glob("*.npy")]) == len([*(tmp_path / "kept").glob("*.json")]) == 2
