"""Examples, each of a class: tables, folders, series, images, sound."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from selfloop.data.embedded.digits import read_digits
from selfloop.data.examples import Dataset, Examples, Items, Modality, Origin, Parts, together
from selfloop.data.files.names import TABLES, TEXTS, suffix_of
from selfloop.data.media.idx import holds_images, is_idx, read_pair
from selfloop.data.media.images import Scan, coloured, sequences
from selfloop.data.media.kinds import MEDIA, family_of, read_one
from selfloop.data.media.series import SERIES_SUFFIXES, knowing_channels, read_npz
from selfloop.data.media.ts import read_ts
from selfloop.data.parts import below, files_of, folders_of, is_about, part_of
from selfloop.data.reader import LabelledReader
from selfloop.data.readers.table_examples import examples_of_table
from selfloop.data.reading import Reading
from selfloop.data.tables.table import Table
from selfloop.errors import DataError

_FORMS: tuple[Callable[[Path], bool], ...] = (
    lambda path: path.suffix.lower() == ".ts",
    holds_images,
    lambda path: path.suffix.lower() == ".npz",
    lambda path: suffix_of(path) in TABLES,
)
"""The kinds of files that hold many examples each; of a folder with several the first is read."""


class ClassReader(LabelledReader):
    """Finds examples and their classes. Texts, or series as arrays (T, C): of float32, or, of images, of bytes.

    A source is one of

    - a table (CSV, TSV, JSONL, Parquet) with a column of labels and a column of text, of lists of numbers, (T,) or
      (T, C), or of paths to ``.npy``, ``.csv``, image or sound files; or whose other columns are all numbers, which are
      a series a row (empty cells at its end make it shorter; a column "id" or "index" is passed over);
    - a folder with a folder for each class, of ``.npy``, ``.csv``, ``.txt``, image or sound files, also below folders
      "train", "valid" and "test"; or a folder with a ``.txt`` file for each class, an example a line;
    - ``.ts`` files of the UCR and UEA archives, IDX files as MNIST's, or an ``.npz`` with arrays x and y;
    - a dataset on the hub; or None: scikit-learn's digits.

    Labels that are not asked for may be missing; then also a ``.txt`` file with an example a line, one image, sound or
    ``.npy`` file, or a folder of such files, an example each, will do. One ``.csv`` is a table; in a folder each is a
    series.

    Args:
        reading: how.
        scan: how an image becomes a sequence: a pixel a step, (H * W, C), or a row a step, (H, W * C).
        image: the shape of the images that a model was trained on, (H, W) or (H, W, 3), to which others are brought.
        classes: those that it knows.

    >>> digits = ClassReader(Reading(), scan="rows").read(None)
    >>> digits.kind, len(digits.train), digits.train.inputs[0].shape, digits.train.labels[0]
    ('series', 1617, (8, 8), '0')
    """

    EMBEDDED = "digits"

    def __init__(
        self,
        reading: Reading,
        *,
        scan: Scan = "pixels",
        image: tuple[int, ...] | None = None,
        classes: Collection[str] = (),
    ) -> None:
        super().__init__(replace(reading, size=(image[0], image[1])) if image else reading, classes)
        self.scan, self.image = scan, image

    def embedded(self) -> Parts:
        """Drawings of digits."""
        return {"train": read_digits(self.reading)}

    def rows(self, table: Table) -> Items:
        """The examples of a table."""
        return examples_of_table(table, self.reading)

    def file(self, path: Path) -> Parts:
        """The parts of one file of many examples; where labels are not asked for, also of one example.

        Raises:
            DataError: the file is of no kind that could be read, or damaged.
        """
        suffix, labelled = suffix_of(path), self.reading.labelled
        if path.suffix.lower() == ".npz":
            return read_npz(path, self.reading)
        if path.suffix.lower() == ".ts":
            return {"train": read_ts(path, self.reading)}
        if is_idx(path):
            return {"train": read_pair(path, self.reading)}
        if suffix in TABLES:
            return self.table(path)
        if suffix in TEXTS and not labelled:
            return {"train": self.lines(path, "text", str, None)}
        if not labelled and family_of(path) not in (None, "text"):
            return {"train": self._each_file([(path, None)], path)}
        raise DataError(
            f"{path} holds no labelled examples that can be read: give a table (.csv, .tsv, .jsonl, .parquet), a .ts, "
            f".npz or IDX file, or a folder with a folder for each class."
        )

    def folder(self, folder: Path) -> Parts:
        """The parts of a folder, "train" alone where names mark none.

        a .ts, .npz, IDX or table file at the top     each is read; names mark the parts (GunPoint_TRAIN.ts, test.csv)
        folders train/, valid/, test/                 each is read as a folder of its own
        a folder a class                              cat/1.png, dog/2.png: a file an example
        .txt files alone                              Irish.txt, Greek.txt: a file a class, a line an example
        """
        for form in _FORMS:
            if paths := [path for path in files_of(folder) if form(path)]:
                return self.by_file(folder, paths)
        folders = folders_of(folder)
        marks = {path: part_of(path.name) for path in folders}
        train = next((path for path, mark in marks.items() if mark == "train"), None)
        if train is not None and (None not in marks.values() or folders_of(train)):
            parts: dict[str, list[Path]] = {}
            for path, mark in marks.items():
                if mark is not None:
                    parts.setdefault(mark, []).append(path)

            def read(reader: ClassReader, inner: Path) -> Parts:
                return {"train": together(reader.folder(inner).values(), str(inner))}

            return self.by_mark(parts, read, str(folder))
        if folders:
            files = [(path, inner.name) for inner in folders for path in below(inner)]
            return {"train": self._each_file(files, folder)}
        if texts := [path for path in files_of(folder) if suffix_of(path) in TEXTS]:
            lines = (self.lines(path, "text", str, Path(path.name.removesuffix(".gz")).stem) for path in texts)
            return {"train": together(lines, str(folder))}
        raise DataError(
            f"The folder {folder} holds no labelled examples: put a folder for each class there, a .txt file for each "
            f"class, or a table with a column of labels."
        )

    def everything(self, folder: Path) -> Items:
        """Every example of a folder, whatever the names above it say: all its files of one kind, a file an example."""
        tops = files_of(folder)
        for form in _FORMS[:-1]:
            if paths := [path for path in tops if form(path)]:
                return together((items for path in paths for items in self.file(path).values()), str(folder))
        known = set(TABLES) if self.reading.kind == "text" else TABLES.keys() - SERIES_SUFFIXES
        if tables := [path for path in tops if suffix_of(path) in known]:
            return together((self.file(path)["train"] for path in tables), str(folder))
        return self._each_file([(path, None) for path in below(folder)], folder)

    def kind(self, items: Items) -> Modality:
        """Text, or a series: an image or a sound is one."""
        return "text" if items.family == "text" else "series"

    def examples(self, items: Items) -> Examples:
        """Images as sequences, all grey or in colour as the model reads them."""
        inputs = items.inputs
        if items.family == "images":
            image = self.image
            inputs = sequences([coloured(i, len(image) == 3) for i in inputs] if image else inputs, self.scan)
        return Examples(inputs, items.labels if self.reading.labelled else [], items.places)

    def dataset(self, name: str, parts: Parts, origin: Origin) -> Dataset:
        """The parts, with the shape of images that became sequences."""
        found = super().dataset(name, parts, origin)
        train = parts["train"]
        return replace(found, image=train.inputs[0].shape) if train.family == "images" else found

    def _each_file(self, files: Sequence[tuple[Path, str | None]], where: Path) -> Items:
        """Files of one example each, of the kind that most of them are."""
        files = [(path, label) for path, label in files if not is_about(path)]
        counts = Counter(family_of(path) for path, _ in files)
        del counts[None]
        if not counts:
            raise DataError(f"The folder {where} holds no examples: put .npy, .csv, .txt, image or sound files there.")
        family = max(MEDIA, key=lambda family: counts[family])
        reading = knowing_channels(self.reading, family, [path for path, _ in files])
        items = Items(family, columns=reading.columns)
        for path, label in files:
            items.add(str(path), label, partial(read_one, path, family, reading), self.bad)
        return items
