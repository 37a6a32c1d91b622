"""Images as arrays of bytes, and as sequences: (H, W) and (H, W, 3) to (T, C)."""

import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from selfloop.data.examples import Unusable
from selfloop.errors import ConfigError, first_line

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Scan = Literal["pixels", "rows", "samples"]
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"}
_SIXTEEN_BITS = {"I", "I;16", "I;16L", "I;16B", "I;16N"}


def read_image(source: Path | bytes, size: tuple[int, int] | None = None) -> Bytes:
    """The pixels of an image, decoded to the last: (H, W) of a grey one, (H, W, 3) of one in colour.

    An image is turned as its camera says, what is transparent becomes white, and of several frames the first is taken.

    Args:
        source: a file, or what one holds.
        size: height and width that it is brought to.

    Raises:
        Unusable: it is no image, or not a whole one.

    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (20, 10)).save(file, "png")
    >>> read_image(file.getvalue()).shape
    (10, 20, 3)
    """
    from PIL import Image  # noqa: PLC0415  (text and series do without)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of what is damaged, and of what is too large to be honest
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                image.load()
                return resized(pixels_of(image), size)
    except Unusable:
        raise
    except Exception as error:  # the decoders of some forty formats share no class of error
        # Pillow's sentence repeats the file's name, which the place says already
        said = "no format that Pillow knows" if "cannot identify" in str(error) else first_line(error)
        raise Unusable(f"cannot be read as an image ({said})") from error


def as_image(array: Array) -> Bytes:
    """An array of bytes as an image, (H, W) or (H, W, 3).

    Raises:
        Unusable: it is of another type or shape.

    >>> as_image(np.zeros((4, 6, 1), np.uint8)).shape
    (4, 6)
    """
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype != np.uint8 or (array.ndim != 2 and array.shape[2:] != (3,)) or not array.size:
        raise Unusable(f"holds an array of {array.dtype}, {array.shape}: an image is bytes, (H, W) or (H, W, 3)")
    return array


def resized(image: Bytes, size: tuple[int, int] | None) -> Bytes:
    """The image at that height and width, by Pillow's own default, a bicubic filter over all that a new pixel covers.

    A bilinear one blurs what is made smaller, which a labeller of films that has learnt from means of pixels mistakes.
    """
    if size is None or image.shape[:2] == tuple(size):
        return image
    from PIL import Image  # noqa: PLC0415  (as above)

    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height)))


def coloured(image: Bytes, colour: bool) -> Bytes:
    """The image in colour, (H, W, 3), or grey, (H, W), by its luminance."""
    if (image.ndim == 3) == colour:
        return image
    if colour:
        return np.repeat(image[..., None], 3, axis=-1)
    from PIL import Image  # noqa: PLC0415  (as above)

    return np.asarray(Image.fromarray(image).convert("L"))


def alike(images: Sequence[Bytes]) -> list[Bytes]:
    """The images, all in colour where one is."""
    colour = any(image.ndim == 3 for image in images)
    return [coloured(image, colour) for image in images]


def sequences(images: Sequence[Array], scan: Scan) -> list[Array]:
    """Images as sequences: "pixels" is (H * W, C), "rows" is (H, W * C). Of equal ones all are views of one array.

    >>> [sequence.shape for sequence in sequences([np.zeros((8, 6), np.uint8)], "pixels")]
    [(48, 1)]
    >>> [sequence.shape for sequence in sequences([np.zeros((8, 6, 3), np.uint8)], "rows")]
    [(8, 18)]
    """
    if scan == "samples":
        raise ConfigError("Sound has samples, and images have none: scan them by pixels or rows.")
    if len({image.shape for image in images}) == 1:
        return list(_scanned(np.stack(images), scan))
    return [_scanned(image[None], scan)[0] for image in images]


def _scanned(images: Array, scan: Scan) -> Array:
    count, height, width, *colours = images.shape
    channels = colours[0] if colours else 1
    return images.reshape((count, height * width, channels) if scan == "pixels" else (count, height, width * channels))


def is_picture(value: Any) -> bool:
    """Whether a value is an image of PIL's; PIL is not imported for it."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def pixels_of(image: "Image") -> Bytes:
    """The pixels of a PIL image, turned as its camera says: (H, W) of a grey one, (H, W, 3) of one in colour.

    Raises:
        Unusable: its pixels are real numbers.
    """
    from PIL import Image, ImageOps  # noqa: PLC0415  (as above)

    image = ImageOps.exif_transpose(image)
    if image.mode in _SIXTEEN_BITS:
        return (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
    if image.mode == "F":
        raise Unusable("is an image of real numbers: save it with whole ones, or as .npy")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
