"""The readers of data as functions, which take all that can be chosen by name."""

from dataclasses import fields, replace

import pytest

from selfloop.data.readers.captioned import CaptionReader
from selfloop.data.readers.classified import ClassReader
from selfloop.data.readers.pairs import PairReader
from selfloop.data.readers.steps import StepReader
from selfloop.data.reading import Reading
from selfloop.errors import DataError

_HOW = {field.name for field in fields(Reading)}
_CLASSES = {"scan", "image", "classes"}


def _taken(options, names):
    return {name: options.pop(name) for name in list(options) if name in names}


def _reading(options):
    return Reading(**_taken(options, _HOW))


def _class_reader(options):
    return ClassReader(_reading(options), **_taken(options, _CLASSES))


def read_classified(source, **options):
    return _class_reader(options).read(source, **options)


def read_labelled(source, **options):
    return _class_reader(options).score(source)


def read_unlabelled(source, **options):
    return _class_reader(options).predict(source)


def read_labelled_steps(source, reading, **options):
    return StepReader(reading).read(source, **options)


def read_steps(source, reading, *, kind, classes):
    reader = StepReader(replace(reading, kind=kind), classes)
    return reader.score(source) if reading.labelled else reader.predict(source)


def read_pairs(source, target, *, valid_target=None, test_target=None, **options):
    targets = {"train": target, "valid": valid_target, "test": test_target}
    return PairReader(_reading(options), targets).read(source, **options)


def read_references(source, target, **options):
    return PairReader(_reading(options), {"train": target}).score(source)


def read_sources(source, *, column=None, **options):
    return PairReader(_reading({"input": column, **options})).predict(source)


def read_captioned(source, *, valid=None, test=None, **options):
    return CaptionReader(Reading(**options)).read(source, valid=valid, test=test)


def refused(read, *sources, **options):
    """What is said, in one line, of sources that cannot be read."""
    with pytest.raises(DataError) as caught:
        read(*sources, **options)
    said = str(caught.value)
    assert "\n" not in said
    return said
