"""The stores of which each test of the contract is asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.incident_stores import IncidentsUnderTest, SqliteIncidents
from tests.storage.job_stores import JobsUnderTest, sqlite_jobs
from tests.storage.part_stores import PartsUnderTest, SqliteParts
from tests.storage.shared_files import SharedFile, SharedIncidentFile, SharedJobFile, SharedPartsFile
from tests.storage.stores import SqliteStore, StoreUnderTest


@pytest.fixture(params=["sqlite", "workers", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    """Return an empty store of each kind."""
    if request.param == "sqlite":
        return SqliteStore(tmp_path)
    if request.param == "workers":
        return SharedFile(tmp_path)
    from tests.storage.postgres_store import PostgresStore

    return PostgresStore(request.getfixturevalue("store_url"))


@pytest.fixture(params=["sqlite", "workers", "postgres"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobsUnderTest]:
    """Return an empty store of jobs of each kind."""
    if request.param != "postgres":
        with sqlite_jobs(tmp_path) as file:
            yield SharedJobFile(file.path) if request.param == "workers" else file
        return
    from tests.storage.postgres_jobs import postgres_jobs

    with postgres_jobs(request.getfixturevalue("postgres")) as database:
        yield database


@pytest.fixture(params=["sqlite", "workers", "postgres"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> PartsUnderTest:
    """Return an empty store of each kind, for what an engine keeps beside its journal and its jobs."""
    if request.param == "sqlite":
        return SqliteParts(tmp_path)
    if request.param == "workers":
        return SharedPartsFile(tmp_path)
    from tests.storage.postgres_parts import PostgresParts

    return PostgresParts(request.getfixturevalue("store_url"))


@pytest.fixture(params=["sqlite", "workers", "postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> IncidentsUnderTest:
    """Return an empty store of incidents and alerts of each kind."""
    if request.param == "sqlite":
        return SqliteIncidents(tmp_path / "engine.db")
    if request.param == "workers":
        return SharedIncidentFile(tmp_path / "engine.db")
    from tests.storage.postgres_incidents import PostgresIncidentDatabase

    return PostgresIncidentDatabase(request.getfixturevalue("store_url"))
