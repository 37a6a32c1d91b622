"""What `caption` learns where nothing is given: drawn scenes of one coloured shape or two, with captions."""

import io
from functools import partial

import numpy as np

from selfloop.data.media.image_files import Picture

SIZE = 64
"""Pixels of a side."""

COLOURS = {
    "red": "#d62728",
    "green": "#2ca02c",
    "blue": "#1f4fd6",
    "yellow": "#f2c80f",
    "purple": "#8e3ccb",
    "black": "#1a1a1a",
}
SHAPES = ("circle", "square", "triangle", "cross")
RELATIONS = (("above", "below"), ("to the left of", "to the right of"))
"""Each with its opposite."""

_FINE = 4  # drawn so many times larger, for smooth edges


def draw_scenes(count: int, seed: int) -> list[tuple[Picture, list[str]]]:
    """So many images, each with two captions.

    >>> (picture, captions), _ = draw_scenes(2, seed=3)
    >>> picture.pixels().shape
    (64, 64, 3)
    >>> captions
    ['a purple circle to the left of a green circle', 'a green circle to the right of a purple circle']
    """
    draw = np.random.default_rng(seed)
    return [_scene(number, draw) for number in range(1, 1 + count)]


def _scene(number: int, draw: np.random.Generator) -> tuple[Picture, list[str]]:
    things = [(str(draw.choice([*COLOURS])), str(draw.choice(SHAPES))) for _ in range(2)]
    one, other = (f"a {colour} {shape}" for colour, shape in things)
    if draw.random() < 0.4:
        places = [tuple(draw.uniform(0.25, 0.75, 2))]
        captions = [one, f"{one} alone"]
    else:
        relation, opposite = RELATIONS[kind := int(draw.integers(2))]
        along, across = draw.uniform(0.22, 0.27), draw.uniform(0.3, 0.7, 2)
        places = [(along, across[0]), (1 - along, across[1])]
        places = [place if kind else place[::-1] for place in places]
        captions = [f"{one} {relation} {other}", f"{other} {opposite} {one}"]
    radii = draw.uniform(0.15, 0.21, 2)
    drawn = [(*thing, *place, radius) for thing, place, radius in zip(things, places, radii, strict=False)]
    return Picture(f"scenes, image {number}", partial(_png, drawn)), captions


def _png(things: list[tuple[str, str, float, float, float]]) -> bytes:
    """An image of shapes, each of a colour, at x and y, of a radius, in shares of a side."""
    from PIL import Image, ImageDraw  # noqa: PLC0415  (other tasks do without)

    image = Image.new("RGB", (SIZE * _FINE, SIZE * _FINE), "#f4f1ea")
    pen = ImageDraw.Draw(image)
    for colour, shape, *numbers in things:
        x, y, r = (number * SIZE * _FINE for number in numbers)
        box, fill = (x - r, y - r, x + r, y + r), COLOURS[colour]
        if shape == "circle":
            pen.ellipse(box, fill)
        elif shape == "square":
            pen.rectangle(box, fill)
        elif shape == "triangle":
            pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill)
        else:
            pen.rectangle((x - r, y - r / 3, x + r, y + r / 3), fill)
            pen.rectangle((x - r / 3, y - r, x + r / 3, y + r), fill)
    file = io.BytesIO()
    image.resize((SIZE, SIZE), Image.Resampling.BOX).save(file, "png", compress_level=1)
    return file.getvalue()
