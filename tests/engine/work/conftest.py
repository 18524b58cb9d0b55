"""What the tests of durable work share."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.engine.work.blocking import Lines


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Return what is logged during the test."""
    with capture_logs() as logged:
        yield logged
