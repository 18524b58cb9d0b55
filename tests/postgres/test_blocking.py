"""A connection of a command or a reading thread: a server that has fallen silent is given up."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import BlockingConnection, blocking_store
from adapters.postgres.errors import StoreUnusable
from adapters.storage_copy.postgres_side import PostgresSide


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let a server be silent for less than a second."""
    monkeypatch.setattr(BlockingConnection, "silence", 0.3)
    return BlockingConnection.silence


@pytest.fixture
def stopped() -> Iterator[list[int]]:
    """Return processes to which the end of the test gives SIGCONT."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def test_a_server_that_is_stopped_is_given_up(store_url: str, silence: float, stopped: list[int]) -> None:
    """Its kernel goes on confirming what is sent, so that TCP notices nothing."""
    with blocking_store(StoreAddress.parse(store_url)) as store:
        [(pid,)] = store.rows("SELECT pg_backend_pid()")
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)
        with pytest.raises(StoreUnusable, match=rf"no answer within {silence:g} s"):
            store.rows("SELECT 1")


def test_a_copy_hears_a_server_out_that_takes_long_for_many_rows(store_url: str, silence: float) -> None:
    """Its statements have no limit in the server; a commit that is given up would leave open what is stored."""
    with PostgresSide.opened(StoreAddress.parse(store_url)) as side:
        assert side.store.rows(f"SELECT pg_sleep({2 * silence}) IS NULL") == [(False,)]


def test_a_server_that_goes_on_answering_is_heard_out(store_url: str, silence: float) -> None:
    """However long the whole answer takes."""
    sql = f"SELECT repeat('x', 10000), pg_sleep({silence / 20}) FROM generate_series(1, 60)"
    with blocking_store(StoreAddress.parse(store_url)) as store:
        assert len(store.rows(sql)) == 60


def test_ctrl_c_in_the_middle_of_a_statement_logs_nothing(store_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """It ends the command, and psycopg does not say that it could not roll back: the server does."""

    def interrupted() -> Iterator[Any]:
        raw.pgconn.send_query(b"SELECT pg_sleep(60)")
        raise KeyboardInterrupt
        yield

    with blocking_store(StoreAddress.parse(store_url)) as store:
        raw = store.raw
        with pytest.raises(KeyboardInterrupt), store.transaction():
            raw.wait(interrupted())  # type: ignore[arg-type]
    assert caplog.records == []
    assert raw.closed
