"""How the user's data are read: a field for each thing that can be chosen, for all tasks."""

from dataclasses import dataclass, field
from pathlib import Path

from selfloop.data.examples import NO_COLUMNS, BadItems, Columns, Modality
from selfloop.data.media.audio import AudioReading
from selfloop.data.media.video import VideoReading
from selfloop.data.tables.separated import DEFAULT_FORMAT, TableFormat


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    Attributes:
        input: the column of a table that holds the input: a text, a path, a series; of pairs the source, of captions
            the image. None finds it.
        label: the column that holds what is true of it: a class, the labels of the steps, the target, the caption; of
            words in columns its number, from 1. None finds it.
        kind: what the model reads, where it is trained already; None finds out.
        columns: those that series are to be made of, as training or an earlier file has them; none finds them.
        id: the column that holds the ids of the rows, which predictions are then joined by. None takes one called id.
        ignore: the label of steps that are neither learnt nor judged.
        images: the folder or archive of the images that captions name; None is where their list stands.
        size: height and width that images are brought to; None leaves them as they are.
        audio: how sound is read.
        video: how frames are read.
        encoding: of text files.
        format: how a table is written.
        labelled: whether every example must have a label.
        bad: takes what cannot be used, and what else is to be said of how the data are read.
    """

    input: str | None = None
    label: str | None = None
    id: str | None = None
    kind: Modality | None = None
    columns: Columns = NO_COLUMNS
    ignore: str | None = None
    images: str | Path | None = None
    size: tuple[int, int] | None = None
    audio: AudioReading = field(default_factory=AudioReading)
    video: VideoReading = field(default_factory=VideoReading)
    encoding: str = "utf-8"
    format: TableFormat = DEFAULT_FORMAT
    labelled: bool = True
    bad: BadItems = field(default_factory=BadItems)
