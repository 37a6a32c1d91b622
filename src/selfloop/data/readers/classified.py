"""Examples and their classes: what the user names (a table, a folder, a file of series, nothing) as a `Dataset`.

source -> parts, by split, of `Items`             `folders` over `columns`, `series`, `ts`, `images`, `idx`
parts  -> the same, all of them usable            one family, one number of channels, a label that training knows
parts  -> Dataset                                 images as sequences; validation examples, held out of each class
"""

from pathlib import Path
from typing import Literal

from selfloop.data.embedded.digits import read_digits
from selfloop.data.examples import BadItems, Dataset, Examples, Modality
from selfloop.data.files.locate import check_encoding, locate
from selfloop.data.held_out import origin_of
from selfloop.data.items import Items, Wanted, note_twins, together
from selfloop.data.media.audio import AudioReading
from selfloop.data.media.images import Scan, coloured, sequences
from selfloop.data.parts import of_hub, score_of, train_of, with_given
from selfloop.data.readers.folders import parts_of_file, parts_of_folder, unlabelled_folder
from selfloop.data.readers.table_examples import items_of_table
from selfloop.data.tables.separated import DEFAULT_FORMAT, TableFormat
from selfloop.data.tables.table import hub_table
from selfloop.data.validate import Parts, alike_items, hold_out, known, labelled, usable
from selfloop.errors import DataError


def read_classified(
    source: str | Path | None,
    *,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    input: str | None = None,
    label: str | None = None,
    kind: Literal["text", "series"] | None = None,
    scan: Scan = "pixels",
    size: tuple[int, int] | None = None,
    valid_fraction: float = 0.1,
    encoding: str = "utf-8",
    format: TableFormat = DEFAULT_FORMAT,
    audio: AudioReading | None = None,
    seed: int = 1,
    bad: BadItems,
) -> Dataset:
    """Finds examples and their classes.

    Args:
        source: one of

            - a table (CSV, TSV, JSONL, Parquet) with a column of labels and a column of text, of lists of numbers, (T,)
              or (T, C), or of paths to ``.npy``, ``.csv`` or image files; or whose other columns are all numbers, which
              are a series a row (empty cells at its end make it shorter; a column "id" or "index" is passed over);
            - a folder with a folder for each class, of ``.npy``, ``.csv``, ``.txt``, image or sound files, also below
              folders "train", "valid" and "test"; or a folder with a ``.txt`` file for each class, an example a line;
            - ``.ts`` files of the UCR and UEA archives, IDX files as MNIST's, or an ``.npz`` with arrays x and y;
            - the name of a dataset on the Hugging Face hub, ``owner/name`` or ``owner/name:config``;
            - None: scikit-learn's digits.
        valid: a source for the validation examples; of one with splits, its validation split.
        test: likewise for the test examples.
        input: the column of a table that holds the input; None finds it.
        label: the column that holds the label; None finds it.
        kind: what a column that could be either is; None finds out.
        scan: how an image becomes a sequence: a pixel a step, (H * W, C), or a row a step, (H, W * C).
        size: height and width that images are brought to; None for images that are all alike.
        valid_fraction: how much of each class is held out where no validation examples are given or marked by name:
            above 0 and below 1.
        encoding: of text files.
        format: how a table is written.
        audio: how sound is read.
        seed: of what is held out.
        bad: takes the items that cannot be used.

    Returns:
        Texts, or series as arrays (T, C): of float32, or, of images, of bytes. Labels are strings.

    Raises:
        DataError: the source cannot be read, an item cannot be used (unless `bad` skips such), or there are fewer than
            two classes.
        ConfigError: the fraction or the encoding does not exist.

    >>> digits = read_classified(None, scan="rows", bad=BadItems())
    >>> digits.kind, len(digits.train), digits.train.inputs[0].shape, digits.train.labels[0]
    ('series', 1617, (8, 8), '0')
    """
    check_encoding(encoding)
    wanted = Wanted(input, label, kind, size, encoding, True, bad, format, audio)
    name, parts = _parts(source, wanted)
    parts = with_given(parts, {"valid": valid, "test": test}, lambda other: _parts(other, wanted)[1])
    where = str(source) if source is not None else name
    train_of(parts, where)
    parts = usable(parts, where, bad)
    note_twins(parts["train"].labels, bad)
    if "valid" not in parts:
        parts["train"], parts["valid"] = hold_out(parts["train"], valid_fraction, seed, where)
    examples = {role: _examples(items, scan) for role, items in parts.items()}
    family = parts["train"].family
    read_as: Modality = "text" if family == "text" else "series"
    shape = parts["train"].inputs[0].shape if family == "images" else None
    origin = origin_of((source, valid, test), examples, rows_name_files=read_as == "series")
    return Dataset(name, read_as, examples["train"], examples["valid"], examples.get("test"), shape, origin)


def read_labelled(
    source: str | Path,
    *,
    classes: tuple[str, ...],
    input: str | None = None,
    label: str | None = None,
    kind: Literal["text", "series"] | None = None,
    scan: Scan = "pixels",
    image: tuple[int, ...] | None = None,
    encoding: str = "utf-8",
    format: TableFormat = DEFAULT_FORMAT,
    audio: AudioReading | None = None,
    bad: BadItems,
) -> Examples:
    """The examples of a source to score: of one with splits the test or the validation examples; else all of it.

    Args:
        source: as of `read_classified`.
        classes: those that the model knows; an example of another is refused.
        input: the column of a table that holds the input; None finds it.
        label: the column that holds the label; None finds it.
        kind: what the model reads; "series" also for images.
        scan: as the model was trained with.
        image: the shape of the images that the model was trained on, to which others are brought.
        encoding: of text files.
        format: how a table is written.
        audio: how sound is read.
        bad: takes the items that cannot be used.

    Raises:
        DataError: as `read_classified`, but one class is enough.
    """
    check_encoding(encoding)
    parts = _parts(source, Wanted(input, label, kind, _size_of(image), encoding, True, bad, format, audio))[1]
    items = score_of(parts, str(source))
    items = known(labelled(items, bad), set(classes), "which the model was not trained on", str(source), bad)
    items = alike_items({"train": items}, str(source), bad)["train"]
    return _examples(items, scan, image)


def read_unlabelled(
    source: str | Path,
    *,
    input: str | None = None,
    label: str | None = None,
    kind: Literal["text", "series"] | None = None,
    scan: Scan = "pixels",
    image: tuple[int, ...] | None = None,
    encoding: str = "utf-8",
    format: TableFormat = DEFAULT_FORMAT,
    audio: AudioReading | None = None,
    bad: BadItems,
) -> Examples:
    r"""The examples of a source to predict; labels that it has are not looked at.

    Args:
        source: as of `read_classified`, or a ``.txt`` file with an example a line, one image or ``.npy`` file, or a
            folder of such files, an example each. One ``.csv`` is a table; in a folder each is a series.
        input: the column of a table that holds the input; None finds it.
        label: a column of a table that is no part of the input.
        kind: what the model reads; "series" also for images.
        scan: as the model was trained with.
        image: the shape of the images that the model was trained on, to which others are brought.
        encoding: of text files.
        format: how a table is written.
        audio: how sound is read.
        bad: takes the items that cannot be used.

    Raises:
        DataError: the source cannot be read, or an item cannot be used (unless `bad` skips such).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "names.txt")
    ...     _ = path.write_text("Abe\nAdam\n")
    ...     read_unlabelled(path, bad=BadItems()).inputs
    ['Abe', 'Adam']
    """
    check_encoding(encoding)
    wanted = Wanted(input, label, kind, _size_of(image), encoding, False, bad, format, audio)
    found = locate(source)
    if isinstance(found, Path) and found.is_dir():
        items = unlabelled_folder(found, wanted)
    else:
        items = together(_parts(source, wanted)[1].values(), str(source))
    if not items.inputs:
        raise DataError(f"{source} must hold examples. There are none that can be used: give another.")
    if kind is not None and kind != ("text" if items.family == "text" else "series"):
        raise DataError(f"{source} holds {items.family}, and the model reads {kind}. Give data of that kind.")
    examples = _examples(alike_items({"train": items}, str(source), bad)["train"], scan, image)
    return Examples(examples.inputs, [], examples.places)


def _parts(source: str | Path | None, wanted: Wanted) -> tuple[str, Parts]:
    """A source's name, and what it holds by split."""
    if source is None:
        return "digits", {"train": read_digits(wanted)}
    found = locate(source)
    if isinstance(found, Path):
        if found.is_dir():
            return found.resolve().name, parts_of_folder(found, wanted)
        return found.name.partition(".")[0] or found.name, parts_of_file(found, wanted)
    name = str(source).rsplit("/", 1)[-1].partition(":")[0]
    return name, {
        part: items_of_table(hub_table(rows, f"{source} ({part})"), wanted) for part, rows in of_hub(found).items()
    }


def _size_of(image: tuple[int, ...] | None) -> tuple[int, int] | None:
    return (image[0], image[1]) if image else None


def _examples(items: Items, scan: Scan, image: tuple[int, ...] | None = None) -> Examples:
    inputs = items.inputs
    if items.family == "images":
        inputs = sequences([coloured(i, len(image) == 3) for i in inputs] if image else inputs, scan)
    return Examples(inputs, items.labels, items.places)
