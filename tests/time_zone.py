"""The time zone of the process, for tests of what people read and write."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def in_time_zone(zone: str) -> Iterator[None]:
    """Be in a time zone, named as in ``TZ``, for the length of the block."""
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("TZ", zone)
            time.tzset()
            yield
    finally:
        time.tzset()
