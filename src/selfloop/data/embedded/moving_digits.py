"""What `label` learns where nothing is given: digits that move over a dark field, and pass behind a bar."""

import numpy as np

from selfloop.data.embedded.digits import load_images
from selfloop.data.examples import Items

FIELD, STEPS = 16, 40
BAR = slice(6, 10)
"""Columns in which nothing is seen: what is behind them has to be remembered."""


def moving_digits(clips: int = 600, seed: int = 1) -> dict[str, Items]:
    """Clips of 40 frames of 16 x 16 pixels, in two parts that share no drawing of a digit.

    A digit moves, turns back at the edges, and becomes another one now and then; a bar in the middle hides it. The
    label of a frame is the digit, seen or hidden.

    Raises:
        DataError: scikit-learn is not installed.

    >>> parts = moving_digits(clips=20)
    >>> len(parts["train"].inputs), parts["train"].inputs[0].shape, len(parts["valid"].labels[0])
    (16, (40, 16, 16), 40)
    """
    images, names = load_images()
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(images))
    half = int(0.8 * len(order))
    shares = {"train": (order[:half], clips * 4 // 5), "valid": (order[half:], clips - clips * 4 // 5)}
    parts = {}
    for role, (rows, count) in shares.items():
        parts[role] = Items("frames")
        for number in range(1, 1 + count):
            clip, digits = _clip(images, rows, draw)
            parts[role].inputs.append(clip)
            parts[role].labels.append([names[digit] for digit in digits])
            parts[role].places.append(f"moving digits, {role} clip {number}")
    return parts


def _clip(
    images: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", rows: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    draw: np.random.Generator,
) -> tuple["np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", list[int]]:  # fmt: skip
    clip, shown = np.zeros((STEPS, FIELD, FIELD), np.uint8), []
    room = FIELD - images.shape[1]
    place, speed = draw.uniform(0, room, 2), draw.uniform(0.5, 1.5, 2) * draw.choice([-1, 1], 2)
    digit = int(draw.choice(rows))
    for frame in clip:
        if draw.random() < 0.06:
            digit = int(draw.choice(rows))
        top, left = place.round().astype(int)
        frame[top : top + images.shape[1], left : left + images.shape[2]] = images[digit] * 15
        frame[:, BAR] = 0
        shown.append(digit)
        place += speed
        speed = np.where((place < 0) | (place > room), -speed, speed)
        place = place.clip(0, room)
    return clip, shown
