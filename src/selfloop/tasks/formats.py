"""How the data of a run are read, as its configuration says."""

from dataclasses import fields
from typing import Any

from selfloop.data.media.audio import AudioReading
from selfloop.data.tables.separated import TableFormat
from selfloop.options.sections import SoundOptions, SourceOptions

COLUMNS = ("input", "label", "series", "time", "column", "source_column", "target_column", "image", "caption")
"""The fields that name a column."""

_WRITTEN = {field.name for field in fields(TableFormat)} - {"named"}


def table_format(data: SourceOptions) -> TableFormat:
    """How tables are written."""
    named = (getattr(data, name) for name in COLUMNS if getattr(data, name, None) is not None)
    return TableFormat(**data.model_dump(include=_WRITTEN), named=tuple(named))


def split_seed(config: Any) -> int:
    """The seed of which examples are held out."""
    chosen: int | None = config.data.split_seed
    return config.training.seed if chosen is None else chosen


def audio_reading(data: SoundOptions, as_samples: bool = False) -> AudioReading:
    """How sound is read."""
    return AudioReading(data.rate, data.stereo, None if as_samples else data.mels)
