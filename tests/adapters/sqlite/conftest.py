"""The fixture of the writer's tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.sqlite.support import OpenWriter, WriterHarness


@pytest.fixture
def open_writer(tmp_path: Path) -> OpenWriter:
    """Return a context manager that opens a writer on a fresh file and closes it whatever happens."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[WriterHarness]:
        open_writer = WriterHarness(tmp_path / "rows.db", **options)
        try:
            yield open_writer
        finally:
            await open_writer.writer.aclose(1)

    return opened
