"""The order of the operator's names."""

import re
from typing import Final

_NUMBER: Final = re.compile("[0-9]+")
_WIDE: Final = 20
"""Digits up to which numbers in names are sorted by their size."""


def name_key(name: str) -> tuple[str, str]:
    """Return by what names are sorted: numbers in them by their size, as people count. No two names have one key."""
    return _NUMBER.sub(lambda found: found[0].lstrip("0").zfill(_WIDE), name.casefold()), name
