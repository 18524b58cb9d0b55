"""What people get wrong about a PostgreSQL store: a sentence each with the remedy, and never the password."""

import logging
import socket
import sys
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import quote

import pytest
from psycopg import sql

from adapters.postgres import settings
from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import blocking_store
from adapters.postgres.checks import durability
from adapters.postgres.connect import StoreConnection, StoreTimeouts
from adapters.postgres.errors import DriverMissing, StoreUnusable
from states.events import DatabaseLocked
from tests.postgres.relay import relay
from tests.postgres.server import GUARDED, SUPERUSER, PostgresServer, private_server
from tests.postgres.support import connected

HOSTILE = "h0stile' \"\\ password=x host=evil @:/?#%41 postgresql://a:b@c/ {0} %s ; DROP TABLE 日本"
WORDS = ("h0stile", "evil", "DROP", "日本", quote(HOSTILE, safe="")[:12])


async def refusal(url: str, **timeouts: float) -> StoreUnusable:
    """Return the error with which a connection is refused."""
    with pytest.raises(StoreUnusable) as caught:
        await StoreConnection.open(StoreAddress.parse(url), application="test", timeouts=StoreTimeouts(**timeouts))
    return caught.value


@pytest.fixture
def guarded(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """Return the server, with a user that has the hostile password."""
    statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(GUARDED), sql.Literal(HOSTILE))
    postgres.execute(statement.as_string(None))
    yield postgres
    postgres.execute(f"DROP ROLE {GUARDED}")


async def test_an_unknown_database(postgres: PostgresServer) -> None:
    """The sentence has the address, so that a slip of the pen is seen."""
    said = str(await refusal(postgres.url("hodlfast")))
    assert said == (
        f"postgresql://{SUPERUSER}@{postgres.directory}/hodlfast: the server has no such database; "
        "create it with 'createdb', or mend the name"
    )


async def test_a_wrong_password_and_an_unknown_user(guarded: PostgresServer) -> None:
    """Both are what the server does not tell apart, and so is a password that was forgotten."""
    remedy = (
        "the server refuses this user or password; mend them in storage.database, or in the variable that it names "
        "(a % of the password is %25 there)"
    )
    for user in (f"{GUARDED}:wrong", GUARDED, "stranger"):
        said = str(await refusal(guarded.url(user=user)))
        assert said == f"postgresql://{user.split(':', maxsplit=1)[0]}@{guarded.directory}/postgres: {remedy}"


async def test_a_hostile_password_opens_and_is_nowhere(
    guarded: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in a sentence or traceback, nor in a log of psycopg's or of ours, nor in what an object shows."""
    caplog.set_level(logging.DEBUG, logger="psycopg")
    url = guarded.url(user=f"{GUARDED}:{quote(HOSTILE, safe='')}")
    shown = []
    async with connected(url) as connection:
        assert await connection.execute("SELECT current_user") == [(GUARDED,)]
        shown += [repr(connection.address), str(connection.address), repr(connection.raw), repr(connection)]
    for bad in (
        url.replace("/postgres?", "/nothing?"),
        url.replace("h0stile", "h0stile2"),
        url.replace(str(guarded.directory), "/h0st"),
    ):
        error = await refusal(bad)
        chain: BaseException | None = error
        while chain is not None:
            shown += [str(chain), repr(chain)]
            chain = chain.__cause__ or chain.__context__
        shown += traceback.format_exception(error)
    shown += [record.getMessage() for record in caplog.records] + [guarded.log()]
    assert any("connection attempt" in text for text in shown), "psycopg logs nothing, so nothing was looked at"
    for word in WORDS:
        assert not [text for text in shown if word in text]


async def test_no_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither a file nor a port at which somebody listens."""
    said = str(await refusal("postgresql://me@/x?host=/nowhere"))
    assert said == (
        "postgresql://me@/nowhere/x: no server listens there; start PostgreSQL, or mend host and port in "
        "storage.database"
    )
    assert "no server listens there" in str(await refusal("postgresql://me@127.0.0.1:1/x"))


async def test_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name service says so, which the test stands in for."""

    def unknown(*_: Any, **__: Any) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "the host's name is not known; mend it" in str(await refusal("postgresql://me@host.invalid/x"))


async def test_a_server_that_does_not_answer(postgres: PostgresServer) -> None:
    """A connection into a black hole ends at its deadline."""
    async with relay(postgres.socket) as wire:
        wire.swallow()
        said = str(await refusal(f"postgresql://{SUPERUSER}@{wire.address}/x", connect=0.05))
    assert said.endswith("the server does not answer; check the server and the network")


async def test_a_server_that_is_too_old(empty_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none here, so the bound is put above the one that there is."""
    monkeypatch.setattr(settings, "MINIMUM_VERSION", 990000)
    said = str(await refusal(empty_store_url))
    assert said.endswith("14 is the oldest that will do")
    assert ": the server is PostgreSQL 18." in said


async def test_a_server_that_only_reads(empty_store_url: str, postgres: PostgresServer) -> None:
    """It may have been set so; a command that only reads is content with it."""
    name = empty_store_url.partition("?")[0].rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "add '?target_session_attrs=read-write'" in str(await refusal(empty_store_url))
    reader = await StoreConnection.open(StoreAddress.parse(empty_store_url), application="test", writes=False)
    with pytest.raises(StoreUnusable, match="the server only reads"):
        await reader.execute("CREATE TABLE t (x int)")
    reader.close()


def test_a_command_says_the_same_of_its_own_connection(
    store_url: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It blocks, and begins with the same settings and the same look at the server."""
    with blocking_store(StoreAddress.parse(store_url)) as store:
        assert store.rows("SELECT current_setting('synchronous_commit')") == [("on",)]
    with (
        pytest.raises(StoreUnusable, match="the server has no such database"),
        blocking_store(StoreAddress.parse(postgres.url("nothing"))),
    ):
        pass
    monkeypatch.setattr(settings, "MINIMUM_VERSION", 990000)
    with pytest.raises(StoreUnusable, match="14 is the oldest"), blocking_store(StoreAddress.parse(store_url)):
        pass


async def test_a_standby_and_one_that_is_to_be_passed_over() -> None:
    """It is named as one, whichever way the address asks."""
    with private_server() as server:
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        said = str(await refusal(server.url()))
        assert "the server only reads, for it is a standby or set so; name all servers in the address" in said
        said = str(await refusal(server.url() + "&target_session_attrs=read-write"))
        assert "the server only reads" in said


async def test_too_many_connections() -> None:
    """That passes by itself, so it is a failure that waits."""
    with private_server(
        settings={"max_connections": "2", "superuser_reserved_connections": "0", "max_wal_senders": "0"}
    ) as server:
        async with connected(server.url()), connected(server.url()):
            error = await refusal(server.url())
    assert "takes no more connections; raise its max_connections" in str(error)
    assert isinstance(error.failure, DatabaseLocked)


async def test_a_client_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence has the command that installs it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DriverMissing, match=r"run: pip install 'holdfast-telegram\[postgres\]'$"):
        StoreAddress.parse("postgresql://me@a/x")


async def test_replication_that_is_not_synchronous(empty_store_url: str) -> None:
    """What a lost host would cost, and the setting; what destroys a database at once has its own sentence."""
    with private_server(durable=True) as server:
        async with connected(server.url()) as connection:
            found = await durability(connection)
    assert (found.keeps, found.loses) == (False, False)
    assert found.sentence == (
        "replication is not synchronous, so the loss of the server's host loses what was acknowledged, and messages "
        "are sent twice; no standbys are connected"
    )
    assert "synchronous_standby_names" in found.remedy
    async with connected(empty_store_url) as connection:
        found = await durability(connection)
    assert (found.loses, found.remedy) == (True, "set fsync = on in postgresql.conf")
