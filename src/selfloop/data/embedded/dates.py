"""What `translate` learns where nothing is given: dates in words, from English to Hungarian, which turns them round."""

import datetime

import numpy as np

from selfloop.data.examples import Items
from selfloop.errors import DataError

SOURCE, TARGET = "en", "hu"
FIRST = datetime.date(1950, 1, 1)
DAYS = 36_525
"""Up to the end of 2049."""

LONGEST = 3
"""Dates in one text."""


def read_dates(count: int = 6_000, seed: int = 1) -> Items:
    """Lists of one to three days as Unicode's CLDR writes them: about half of them with the day of the week.

    Raises:
        DataError: Babel is not installed.

    >>> dates = read_dates(1)
    >>> dates.inputs + dates.labels
    ['Thursday, March 8, 2001 and July 8, 2025', '2001. március 8., csütörtök és 2025. július 8.']
    """
    try:
        from babel.dates import format_date  # noqa: PLC0415  (an extra)
        from babel.lists import format_list  # noqa: PLC0415
    except ImportError as error:
        raise DataError(
            "The default of translate, dates in two languages, needs Babel: pip install 'selfloop[demo]', or name data "
            "of your own."
        ) from error
    draw = np.random.default_rng(seed)
    days = [draw.integers(DAYS, size=draw.integers(1, LONGEST, endpoint=True)).tolist() for _ in range(count)]
    lengths = draw.choice(["long", "full"], size=(count, LONGEST)).tolist()

    def written(locale: str) -> list[str]:
        texts = (
            [
                format_date(FIRST + datetime.timedelta(days=day), length, locale)
                for day, length in zip(*row, strict=False)
            ]
            for row in zip(days, lengths, strict=True)
        )
        return [format_list(dates, locale=locale) for dates in texts]

    return Items("text", written(SOURCE), written(TARGET), [f"dates, pair {n}" for n in range(1, 1 + count)])
