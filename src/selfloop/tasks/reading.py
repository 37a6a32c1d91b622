"""How the data of a run are read, as its configuration says."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from selfloop.data.examples import BadItems, Dataset
from selfloop.data.media.audio import AudioReading
from selfloop.data.media.video import VideoReading
from selfloop.data.reader import Fold, Reader
from selfloop.data.reading import Reading
from selfloop.data.tables.separated import TableFormat
from selfloop.options.sections import ExampleSourceOptions, SourceOptions

INPUT = ("input", "column", "source_column", "image")
LABEL = ("label", "target_column", "caption")
COLUMNS = (*INPUT, *LABEL, "id", "series", "time")
"""The fields that name a column."""


def bad_items(data: SourceOptions) -> BadItems:
    """What takes the items that cannot be used."""
    if isinstance(data, ExampleSourceOptions):
        return BadItems(data.skip_bad)
    return BadItems(can_skip=False)


def reading(data: SourceOptions, bad: BadItems, column: str | None = None) -> Reading:
    """How the sources of a configuration are read; `column` is that of the input, None the configuration's own."""
    chosen = dict(data)

    def named(names: tuple[str, ...]) -> Any:
        return next((chosen[name] for name in names if name in chosen), None)

    audio = AudioReading(**_of(AudioReading, chosen))
    if chosen.get("scan") == "samples":
        audio = AudioReading(audio.rate, audio.stereo, None)
    return Reading(
        input=column or named(INPUT),
        label=named(LABEL),
        audio=audio,
        video=VideoReading(**_of(VideoReading, chosen)),
        format=table_format(data),
        bad=bad,
        **{name: chosen[name] for name in ("id", "ignore", "images", "size", "encoding") if name in chosen},
    )


def table_format(data: SourceOptions) -> TableFormat:
    """How tables are written."""
    chosen = dict(data)
    named = tuple(str(chosen[name]) for name in COLUMNS if chosen.get(name) is not None)
    return TableFormat(**_of(TableFormat, chosen), named=named)


def read(reader: Reader, config: Any) -> Dataset:
    """The data that a configuration names."""
    data = config.data
    return reader.read(
        data.source,
        valid=data.valid,
        test=data.test,
        valid_fraction=data.valid_fraction,
        seed=split_seed(config),
        fold=None if data.fold is None else Fold(data.fold, data.folds),
    )


def split_seed(config: Any) -> int:
    """The seed of which examples are held out."""
    chosen: int | None = config.data.split_seed
    return config.training.seed if chosen is None else chosen


def _of(kind: Any, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says of the fields of a dataclass."""
    return {field.name: chosen[field.name] for field in fields(kind) if field.name in chosen}
