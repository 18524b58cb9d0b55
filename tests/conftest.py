"""What every test begins with."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_of_one_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no test set the log up for the next: loggers that were used once would keep their setting for ever."""
    configure = structlog.configure

    def uncached(**settings: Any) -> None:
        configure(**{**settings, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", uncached)
    yield
    structlog.reset_defaults()
