"""The setting of every test: virtual time for those that ask for it, no deadlines, the log of one test alone."""

import asyncio
import atexit
import gc
import itertools
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import structlog

from adapters.session import login_claim
from tests.virtual_time import VirtualLoop

if TYPE_CHECKING:
    from tests.postgres.patroni import PatroniCluster
    from tests.postgres.server import PostgresServer

_numbers = itertools.count()

hypothesis.settings.register_profile("holdfast", deadline=None, print_blob=True)
hypothesis.settings.load_profile("holdfast")  # a deadline measures the machine, not the code


def pytest_configure() -> None:
    """Let SIGINT reach the processes of the tests: a suite in the background ignores it, and they inherit that.

    The processes share their compiled modules, in a directory that ends with the suite: where nothing may be written
    beside the sources, each of hundreds of commands would compile all that it imports.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", "") and "PYTHONPYCACHEPREFIX" not in os.environ:
        compiled = tempfile.TemporaryDirectory(prefix="holdfast-compiled-")
        atexit.register(compiled.cleanup)  # the workers of the suite inherit the variable, and end before it
        os.environ["PYTHONPYCACHEPREFIX"] = compiled.name
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Keep the collector away from all tests and modules, which stay to the end: to look at them takes it 0.3 s."""
    gc.collect()
    gc.freeze()


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run a test with the marker ``virtual`` in virtual time, every other one in real time."""
    if item.get_closest_marker("virtual"):
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def logins_of_one_test(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no test see which logins another one uses: many of them have the same key."""
    monkeypatch.setenv("HOLDFAST_LOGINS", str(tmp_path_factory.getbasetemp() / f"logins-{next(_numbers)}"))
    login_claim._claims.clear()
    yield
    login_claim._claims.clear()


@pytest.fixture(autouse=True)
def logs_of_one_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no test set the log up for the next: loggers that were used once would keep their setting for ever."""
    configure = structlog.configure

    def uncached(**settings: Any) -> None:
        configure(**{**settings, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", uncached)
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres() -> "PostgresServer":
    """Return the PostgreSQL server that the tests of this process share; a test that stops it starts one of its own."""
    from tests.postgres.server import PostgresMissing, shared_server

    try:
        return shared_server()
    except PostgresMissing as exc:
        pytest.skip(str(exc))


@pytest.fixture
def empty_store_url(postgres: "PostgresServer") -> Iterator[str]:
    """Return the address of an empty database of this test."""
    name = postgres.clone("template0")
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def store_url(postgres: "PostgresServer") -> Iterator[str]:
    """Return the address of a database of this test with the schema of this version."""
    from tests.postgres.pool import pool_of

    with pool_of(postgres).database() as name:
        yield postgres.url(name)


@pytest.fixture
def cluster() -> Iterator["PatroniCluster"]:
    """Return the PostgreSQL cluster that the tests of this process share, whole: for tests that are slow anyway."""
    from tests.postgres.patroni import whole_cluster
    from tests.postgres.server import PostgresMissing

    try:
        with whole_cluster() as it:
            yield it
    except PostgresMissing as exc:
        pytest.skip(str(exc))


@pytest.fixture
def cluster_url(cluster: "PatroniCluster") -> Iterator[str]:
    """Return the address of a database of this test in the cluster, with the schema of this version."""
    from tests.postgres.template import template_of

    name = cluster.clone(template_of(cluster))
    yield cluster.url(name)
    cluster.primary()  # there may be none yet
    cluster.drop(name)
