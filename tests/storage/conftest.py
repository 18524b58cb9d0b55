"""The stores of which each test of the contract is asked."""

from pathlib import Path

import pytest

from tests.storage.stores import SqliteStore, StoreUnderTest


@pytest.fixture(params=["sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    """Return an empty store of each kind."""
    return SqliteStore(tmp_path)
