"""The register of rows, and how figures are said."""

import statistics
from dataclasses import dataclass

ROWS = {}


@dataclass(frozen=True)
class Row:
    name: str
    what: str
    reach: str
    measure: object  # of options; gives one line, or several


def row(name, what, reach):
    """Registers a function that measures one row."""

    def register(measure):
        ROWS[name] = Row(name, what, reach, measure)
        return measure

    return register


class NotMeasured(Exception):
    """Why a row has no figure, and what would give it one."""


def ms(seconds):
    return f"{seconds * 1000:.1f} ms"


def median_ms(values):
    return ms(statistics.median(values))


def spread_ms(values):
    """Median and largest."""
    return f"{median_ms(values)} (at most {ms(max(values))} of {len(values)})"
