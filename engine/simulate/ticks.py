"""Virtual time: whole ticks, so that a sum of a thousand intervals is exact, and the same however it is computed."""

from math import ceil
from typing import Final

TICKS: Final = 1 << 20
"""Ticks of a second. A power of two: with whole Unix seconds as the beginning, every time is exact as a float, too."""


def ticks(seconds: float) -> int:
    """Return a delay in ticks, rounded up: nothing is ever early."""
    return ceil(seconds * TICKS)
