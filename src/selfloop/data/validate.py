"""What of the items that were found can be learnt from and judged."""

from collections import Counter
from typing import Any

import numpy.typing as npt

from selfloop.data.examples import BadItems, Items, Parts
from selfloop.data.labels import note_twins
from selfloop.data.media.images import alike
from selfloop.errors import DataError

Array = npt.NDArray[Any]


def usable(parts: Parts, where: str, bad: BadItems) -> Parts:
    """The parts without what cannot be learnt from or judged.

    Raises:
        DataError: there are fewer than two labels to tell apart.
    """
    parts = alike_items({part: labelled(items, bad) for part, items in parts.items()}, where, bad)
    classes = {name for label in parts["train"].labels for name in _names(label)} - {None}
    if len(classes) < 2:
        got = f"All that it has is '{classes.pop()}'" if classes else "It has no examples that can be used"
        raise DataError(f"{where} must hold two labels or more to train on. {got}: give other data.")
    note_twins(classes, bad)
    return {
        part: items
        if part == "train"
        else known(items, classes, "which no training example has", f"The {part} part of {where}", bad)
        for part, items in parts.items()
    }


def labelled(items: Items, bad: BadItems) -> Items:
    """The items that have a label; the others are refused."""
    return _kept(items, ["has no label" if label is None else None for label in items.labels], bad)


def known(items: Items, classes: set[str], who: str, where: str, bad: BadItems) -> Items:
    """The items whose labels are all among the classes; the others are refused."""
    faults = [_unknown(label, classes) for label in items.labels]
    items = _kept(items, [None if fault is None else f"{fault}, {who}" for fault in faults], bad)
    if not items.inputs:
        raise DataError(f"{where} must hold examples. None of its {len(faults):,} can be used: give others.")
    return items


def _names(label: Any) -> list[Any]:
    return label if isinstance(label, list) else [label]


def _unknown(label: Any, classes: set[str]) -> str | None:
    """What is wrong with a label, or with those of the steps, of which None is not judged."""
    if not isinstance(label, list):
        return None if label in classes else f"has label '{label}'"
    steps = ((step, name) for step, name in enumerate(label, 1) if name is not None and name not in classes)
    return next((f"has label '{name}' at step {step}" for step, name in steps), None)


def alike_items(parts: Parts, where: str, bad: BadItems) -> Parts:
    """The parts without the items whose channels, or sizes of images, are not those of most training items."""
    families = {items.family for items in parts.values()}
    if len(families) > 1:
        raise DataError(f"The parts of {where} must be alike. They hold {' and '.join(sorted(families))}.")
    if families <= {"text", "words"}:
        return parts
    images = families == {"images"}
    if images:
        pictures = iter(alike([image for items in parts.values() for image in items.inputs]))
        for items in parts.values():
            items.inputs = [next(pictures) for _ in items.inputs]
    shapes = Counter(_shape(item, images) for item in parts["train"].inputs)
    if not shapes:
        return parts
    most = shapes.most_common(1)[0][0]
    return {
        role: _kept(items, [_unlike(_shape(item, images), most) for item in items.inputs], bad)
        for role, items in parts.items()
    }


def _shape(item: Array, image: bool) -> tuple[int, ...]:
    """What must be the same of all items: an image's height and width, a series' channels."""
    return item.shape[:2] if image else item.shape[1:]


def _unlike(shape: tuple[int, ...], most: tuple[int, ...]) -> str | None:
    if shape == most:
        return None
    if len(shape) == 1:
        return f"has {shape[0]} channels, where others have {most[0]}"
    if len(shape) != len(most):
        return (
            "is in colour, where others are grey" if len(shape) > len(most) else "is grey, where others are in colour"
        )
    return (
        f"is {shape[0]} x {shape[1]} pixels high and wide, where others are {most[0]} x {most[1]} "
        f"(bring all to one size, as with --set data.size=[{most[0]},{most[1]}])"
    )


def _kept(items: Items, faults: list[str | None], bad: BadItems) -> Items:
    """The items without a fault; those with one are refused."""
    if not any(faults):
        return items
    for place, fault in zip(items.places, faults, strict=True):
        if fault is not None:
            bad.refuse(place, fault)
    return items.select(row for row, fault in enumerate(faults) if fault is None)
