"""What `classify` learns where nothing is given: scikit-learn's digits, 1,797 images of 8 x 8 pixels."""

import numpy as np
import numpy.typing as npt

from selfloop.data.examples import Items
from selfloop.data.media.series import items_of_array
from selfloop.data.reading import Reading
from selfloop.errors import DataError


def load_images() -> tuple[npt.NDArray[np.uint8], list[str]]:
    """The images (1797, 8, 8), whose pixels are 0 to 16, and the digit of each.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise DataError(
            "The default needs scikit-learn, for its drawings of digits: pip install 'selfloop[demo]', or name data of "
            "your own."
        ) from error
    digits = load_digits()
    return digits.images.astype(np.uint8), [str(n) for n in digits.target.tolist()]


def read_digits(reading: Reading) -> Items:
    """The images and their digits, as items.

    Raises:
        DataError: scikit-learn is not installed.

    >>> digits = read_digits(Reading())
    >>> len(digits.inputs), digits.inputs[0].shape, digits.labels[0]
    (1797, (8, 8), '0')
    """
    images, names = load_images()
    return items_of_array(images, names, [f"digits, image {n}" for n in range(1, 1 + len(names))], reading)
