"""The fixture of the writer's tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.sqlite.support import Bench, OpenWriter


@pytest.fixture
def bench(tmp_path: Path) -> OpenWriter:
    """Return a context manager that opens a writer on a fresh file and closes it whatever happens."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Bench]:
        bench = Bench(tmp_path / "rows.db", **options)
        try:
            yield bench
        finally:
            await bench.writer.aclose(1)

    return opened
