"""What `classify` learns where nothing is given: scikit-learn's digits, 1,797 images of 8 x 8 pixels."""

import numpy as np

from selfloop.data.items import Items, Wanted
from selfloop.data.series import items_of_array
from selfloop.errors import DataError


def read_digits(wanted: Wanted) -> Items:
    """The images, whose pixels are 0 to 16, and their digits.

    Raises:
        DataError: scikit-learn is not installed.

    >>> digits = read_digits(Wanted())
    >>> len(digits.inputs), digits.inputs[0].shape, digits.labels[0]
    (1797, (8, 8), '0')
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise DataError(
            "The default of classify, scikit-learn's digits, needs scikit-learn: pip install 'selfloop[demo]', or name "
            "data of your own."
        ) from error
    digits = load_digits()
    places = [f"digits, image {n}" for n in range(1, 1 + len(digits.target))]
    return items_of_array(digits.images.astype(np.uint8), [str(n) for n in digits.target.tolist()], places, wanted)
