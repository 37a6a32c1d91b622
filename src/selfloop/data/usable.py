"""What of the items that were found can be learnt from, and what is held out of them."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from selfloop.data.examples import BadItems
from selfloop.data.images import alike
from selfloop.data.items import Items
from selfloop.errors import DataError

Parts = dict[str, Items]
"""By split: "train", and perhaps "valid" and "test"."""

Array = npt.NDArray[Any]


def train_of(parts: Parts, where: str) -> Items:
    """The part to train on."""
    if "train" not in parts:
        listed = ", ".join(f"'{part}'" for part in parts) or "none"
        raise DataError(f"{where} must have a split 'train'. Got {listed} instead: give another.")
    return parts["train"]


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
    """The items in two, each class in the same proportions as far as it has the examples; one at least is left of each.

    Shares are rounded as they add up, so that of many small classes some give an example and others none.
    """
    rows_of: dict[str | None, list[int]] = {}
    for row, label in enumerate(items.labels):
        rows_of.setdefault(label, []).append(row)
    draw, held, share, given = np.random.default_rng(seed), set[int](), 0.0, 0
    largest = max(rows_of, key=lambda label: len(rows_of[label]))
    if len(rows_of[largest]) < 2:
        raise DataError(f"{where} has one example of each class, so none can be held out: give more, or name 'valid'.")
    for label in sorted(rows_of, key=str):
        rows = draw.permutation(rows_of[label]).tolist()
        share += len(rows) * fraction
        held.update(rows[: min(round(share) - given, len(rows) - 1)])
        given = round(share)
    held = held or {rows_of[largest][-1]}
    everything = range(len(items.inputs))
    return items.select(row for row in everything if row not in held), items.select(sorted(held))
