"""What of the items that were found can be learnt from, and what is held out of them."""

from collections import Counter
from typing import Any

import numpy.typing as npt

from selfloop.data import held_out
from selfloop.data.examples import BadItems
from selfloop.data.held_out import identity
from selfloop.data.items import Items
from selfloop.data.media.images import alike
from selfloop.errors import DataError

Parts = dict[str, Items]
"""By split: "train", and perhaps "valid" and "test"."""

Array = npt.NDArray[Any]


def usable(parts: Parts, where: str, bad: BadItems) -> Parts:
    """The parts without what cannot be learnt from or judged."""
    parts = alike_items({role: labelled(items, bad) for role, items in parts.items()}, where, bad)
    classes = {str(label) for label in parts["train"].labels}
    if not classes:
        raise DataError(f"{where} must hold examples to train on. There are none that can be used: give another.")
    if len(classes) < 2:
        raise DataError(f"{where} must hold two classes or more. All training examples have label '{classes.pop()}'.")
    return {
        role: items
        if role == "train"
        else known(items, classes, "which no training example has", f"The {role} part of {where}", bad)
        for role, items in parts.items()
    }


def labelled(items: Items, bad: BadItems) -> Items:
    """The items that have a label; the others are refused."""
    return _kept(items, ["has no label" if label is None else None for label in items.labels], bad)


def known(items: Items, classes: set[str], who: str, where: str, bad: BadItems) -> Items:
    """The items whose labels are among the classes; the others are refused."""
    faults = [None if label in classes else f"has label '{label}', {who}" for label in items.labels]
    items = _kept(items, faults, bad)
    if not items.inputs:
        raise DataError(f"{where} must hold examples. None of its {len(faults):,} can be used: give others.")
    return items


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


def hold_out(items: Items, fraction: float, seed: int, where: str) -> tuple[Items, Items]:
    """The items in two, as `held_out.hold_out` has it: each class in the same proportions, and of all labels that are
    held out, also those of steps, training keeps one.
    """
    steps = any(isinstance(label, list) for label in items.labels)
    labels = [set(label) if steps else {label} for label in items.labels]
    keys = list(map(identity, items.inputs))
    rows = held_out.hold_out(keys, fraction, seed, where, labels=labels, strata=None if steps else items.labels)
    return items.select(rows[0]), items.select(rows[1])
