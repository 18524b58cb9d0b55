"""A link: a real Telethon client, over real TCP, at a datacenter that hurts it."""

import gc
import shutil
import socket
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

import anyio
import attrs
import pytest
from telethon import TelegramClient, errors
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.sandbox import Fault, FaultKind
from adapters.telegram import TelegramConnector, TelegramLink
from adapters.telegram.classify import kind_of
from states import Event
from states.events import (
    AccountLimited,
    AuthKeyUnknown,
    AuthRejected,
    Connected,
    DatabaseCorrupt,
    DatabaseLocked,
    Failure,
    FloodWait,
    NetworkLost,
    ProbeAnswered,
    TimedOut,
)
from tests.adapters.telegram.harness import DatacenterHarness, events_of
from tests.timeouts import TIMEOUT


async def opened(connector: TelegramConnector, number: int = 1) -> TelegramLink:
    """Return a link that is proven."""
    link = connector.link(number)
    events = await link.open(timeout=TIMEOUT)
    assert events == [Connected(link=number)]
    return link


async def outcome(connector: TelegramConnector, *, timeout: float = TIMEOUT) -> Event:
    """Return what comes of an attempt, and close it."""
    link = connector.link(1)
    try:
        return (await link.open(timeout=timeout))[-1]
    finally:
        await link.close(timeout=TIMEOUT)


async def loss(link: TelegramLink) -> list[Event]:
    """Return what went wrong until a link ended, and close it."""
    try:
        with anyio.fail_after(TIMEOUT):
            return [event async for event in events_of(link) if isinstance(event, Failure)]
    finally:
        await link.close(timeout=TIMEOUT)


async def test_a_session_that_telethon_wrote_connects(harness: DatacenterHarness) -> None:
    """A link is proven by an authorised RPC, and is one connection at the server."""
    async with harness as dc:
        link = await opened(harness.connector())
        assert dc.stats()["requests"]["updates.getState"] >= 1
        await link.close(timeout=TIMEOUT)


async def test_ping_and_proof_are_answered(harness: DatacenterHarness) -> None:
    """Both kinds of probe say that the link lives."""
    async with harness:
        link = await opened(harness.connector())
        answers = [(await link.probe(proof=proof, timeout=TIMEOUT))[-1] for proof in (False, True)]
        await link.close(timeout=TIMEOUT)
        assert answers == [ProbeAnswered(link=1, proof=False), ProbeAnswered(link=1, proof=True)]


async def test_a_reset_ends_the_link_at_once(harness: DatacenterHarness) -> None:
    """RST is ``NetworkLost`` with the socket's own words."""
    async with harness as dc:
        link = await opened(harness.connector())
        await dc.inject(Fault(FaultKind.RESET))
        events = await loss(link)
        assert [type(event) for event in events] == [NetworkLost]
        assert events[0].detail == "connection reset"  # type: ignore[attr-defined]


async def test_a_fin_ends_the_link_at_once(harness: DatacenterHarness) -> None:
    """FIN, which Python reports as an EOFError, is ``NetworkLost``, too."""
    async with harness as dc:
        link = await opened(harness.connector())
        await dc.inject(Fault(FaultKind.CLOSE))
        assert [type(event) for event in await loss(link)] == [NetworkLost]


async def test_a_blackhole_is_noticed_within_the_patience(harness: DatacenterHarness) -> None:
    """A half-open link is ``TimedOut`` when the probe's patience ends, and closing it does not hang."""
    async with harness as dc:
        link = await opened(harness.connector())
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        began = time.monotonic()
        event = (await link.probe(proof=False, timeout=0.3))[-1]
        await link.close(timeout=2 * TIMEOUT)
        assert isinstance(event, TimedOut)
        assert event.what == "probe"
        assert time.monotonic() - began < TIMEOUT


async def test_a_silent_server_ends_the_attempt_at_its_patience(harness: DatacenterHarness) -> None:
    """``connect()`` would hang for ever where the server accepts and is silent; the attempt does not."""
    async with harness as dc:
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        event = await outcome(harness.connector(), timeout=0.3)
        assert isinstance(event, TimedOut)
        assert event.what == "connect"
        assert event.detail == "no proof within 0.3 s"


async def test_a_full_backlog_ends_the_attempt_at_its_patience(harness: DatacenterHarness) -> None:
    """A server whose SYN queue is full (a dropped SYN) is ``TimedOut`` at the patience, too."""
    async with harness:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            fillers = [socket.create_connection(full.getsockname()) for _ in range(1)]
            event = await outcome(harness.connector(port=full.getsockname()[1]), timeout=0.5)
            for filler in fillers:
                filler.close()
        assert isinstance(event, TimedOut)


async def test_a_refused_port_is_a_lost_network(harness: DatacenterHarness) -> None:
    """ECONNREFUSED is ``NetworkLost`` and says so, at once."""
    async with harness as dc:
        await dc.inject(Fault(FaultKind.REFUSE, duration=60))
        event = await outcome(harness.connector())
        assert isinstance(event, NetworkLost)
        assert event.detail == "connection refused"


async def test_a_dead_backend_is_a_lost_network(harness: DatacenterHarness) -> None:
    """Accept-then-close is one failed attempt, with one connection, where Telethon alone makes thousands."""
    async with harness as dc:
        await dc.inject(Fault(FaultKind.ACCEPT_THEN_CLOSE, duration=60))
        before = dc.stats()["accepted"]
        event = await outcome(harness.connector())
        assert isinstance(event, NetworkLost)
        assert dc.stats()["accepted"] - before == 1


async def test_an_unknown_key_says_so(harness: DatacenterHarness) -> None:
    """A key that the datacenter does not know is ``AuthKeyUnknown``."""
    async with harness:
        assert isinstance(await outcome(harness.connector(key=bytes(range(256)))), AuthKeyUnknown)


async def test_a_session_without_a_login_is_not_even_tried(harness: DatacenterHarness) -> None:
    """A session without a key is not logged in, and nothing is sent to find that out."""
    async with harness as dc:
        assert isinstance(await outcome(harness.connector(key=None)), AuthRejected)
        assert dc.stats()["accepted"] == 0


async def test_a_missing_session_file_is_not_made(harness: DatacenterHarness) -> None:
    """An account whose file is missing is ``AuthRejected``, and there is still no file."""
    async with harness:
        account = harness.connector()
        account.session.unlink()
        assert isinstance(await outcome(account), AuthRejected)
        assert not account.session.exists()


async def test_a_file_that_is_not_a_database_is_left_alone(harness: DatacenterHarness) -> None:
    """A damaged session is ``DatabaseCorrupt``, and not a byte of it changes."""
    async with harness:
        account = harness.connector()
        account.session.write_bytes(b"this is no database, but it is somebody's file" * 50)
        before = account.session.read_bytes()
        assert isinstance(await outcome(account), DatabaseCorrupt)
        assert account.session.read_bytes() == before


async def test_the_file_keeps_the_address_that_its_owner_knows(harness: DatacenterHarness) -> None:
    """A session used at another datacenter's address still names its own afterwards, and the same key."""
    async with harness:
        account = harness.connector()

        def row() -> tuple[object, ...]:
            database = sqlite3.connect(account.session)
            found = database.execute("select dc_id, server_address, port, auth_key from sessions").fetchone()
            database.close()
            return tuple(found)

        before = row()
        link = await opened(account)
        await link.close(timeout=TIMEOUT)
        assert row() == before
        assert before[1] == "127.0.0.9"


async def test_telethon_opens_the_file_afterwards(harness: DatacenterHarness, tmp_path: Path) -> None:
    """A file that the engine has used still works in a script of Telethon's."""
    async with harness as dc:
        account = harness.connector()
        link = await opened(account)
        await link.close(timeout=TIMEOUT)
        copy = tmp_path / "script.session"
        shutil.copy(account.session, copy)
        session = SQLiteSession(str(copy))
        session.set_dc(dc.dc_id, "127.0.0.1", dc.port)
        client = TelegramClient(session, 1, "0" * 32, auto_reconnect=False, connection_retries=0)
        await client.connect()
        authorised = await client.is_user_authorized()
        await client.disconnect()
        assert authorised


async def test_a_cancelled_attempt_leaves_nothing(harness: DatacenterHarness) -> None:
    """Cancelling in the middle of a connect that hangs ends at once, and close leaves no task and no socket."""
    async with harness as dc:
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        link = harness.connector().link(1)
        began = time.monotonic()
        with anyio.move_on_after(0.2) as scope:
            await link.open(timeout=2 * TIMEOUT)
        await link.close(timeout=2 * TIMEOUT)
        assert scope.cancelled_caught
        assert time.monotonic() - began < TIMEOUT
        with anyio.fail_after(TIMEOUT):
            while dc.stats()["connections"]:
                await anyio.sleep(0.01)


async def test_a_cancelled_probe_does_not_hurt_the_link(harness: DatacenterHarness) -> None:
    """A probe that is given up leaves a link that answers the next one."""
    async with harness:
        link = await opened(harness.connector())
        with anyio.move_on_after(0):
            await link.probe(proof=True, timeout=TIMEOUT)
        event = (await link.probe(proof=False, timeout=TIMEOUT))[-1]
        await link.close(timeout=TIMEOUT)
        assert isinstance(event, ProbeAnswered)


async def test_a_probe_on_a_lost_link_is_a_lost_network(harness: DatacenterHarness) -> None:
    """A request in flight when the link goes is a failure, never a cancellation of ours."""
    async with harness as dc:
        link = await opened(harness.connector())
        await dc.inject(Fault(FaultKind.RESET))
        with anyio.fail_after(TIMEOUT):
            async for _ in events_of(link):
                pass
        event = (await link.probe(proof=False, timeout=TIMEOUT))[-1]
        await link.close(timeout=TIMEOUT)
        assert isinstance(event, NetworkLost)


async def test_ten_links_in_a_row_leave_nothing(harness: DatacenterHarness) -> None:
    """A fresh client for every attempt costs nothing that stays: descriptors are as before."""
    async with harness as dc:
        account = harness.connector()
        await (await opened(account)).close(timeout=TIMEOUT)
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        for number in range(2, 12):
            link = await opened(account, number)
            await dc.inject(Fault(FaultKind.RESET))
            await loss(link)
        with anyio.move_on_after(TIMEOUT):  # the sandbox and the writer of session files close theirs a moment later
            while len(list(Path("/proc/self/fd").iterdir())) > descriptors:
                await anyio.sleep(0.05)
        assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


async def test_the_fingerprint_tells_keys_apart(harness: DatacenterHarness) -> None:
    """Two keys have two fingerprints, none has the key in it, and no key has an empty one."""
    async with harness as dc:
        first = harness.connector()
        seen = await first.credentials()
        session = SQLiteSession(str(first.session))
        session.auth_key = AuthKey(dc.authorize("+9996620002"))
        session.save()
        session.close()
        assert seen
        assert await first.credentials() not in ("", seen)
        first.session.unlink()
        assert await first.credentials() == ""


async def test_the_fingerprint_tells_applications_apart(harness: DatacenterHarness) -> None:
    """A mended ``api_id`` makes other credentials of the same key; another port, as the sandbox has each time, not."""
    async with harness:
        first = harness.connector()
        seen = await first.credentials()
        assert await attrs.evolve(first, api_id=2).credentials() != seen
        assert await attrs.evolve(first, datacenter=harness.datacenter(port=1)).credentials() == seen


async def test_a_request_that_telethon_drops_is_a_silence(harness: DatacenterHarness) -> None:
    """When the client goes down by itself, what was in flight is ``TimedOut``; our own tasks are not cancelled."""
    async with harness as dc:
        link = await opened(harness.connector())
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        seen: list[Event] = []

        async def ask() -> None:
            seen.extend(await link.probe(proof=False, timeout=TIMEOUT))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await link.client.end()
        await link.close(timeout=TIMEOUT)
    assert [type(event) for event in seen] == [TimedOut]


async def test_a_link_that_ends_without_a_word_missed_its_pong(harness: DatacenterHarness) -> None:
    """Telethon's own disconnect, without an error, is ``TimedOut``."""
    async with harness as dc:
        link = await opened(harness.connector())
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        for number in (1, 2):  # as its keepalive does each minute
            link.client._sender._keepalive_ping(number)
        events = await loss(link)
    assert [type(event) for event in events] == [TimedOut]


async def test_the_error_of_the_update_loop_is_read(harness: DatacenterHarness) -> None:
    """The update loop keeps a revoked login to itself and disconnects; the link says what it was."""
    async with harness:
        link = await opened(harness.connector())
        link.client._updates_error = errors.SessionRevokedError(None)
        await link.client.end()
        events = await loss(link)
    assert [type(event) for event in events] == [AuthRejected]


async def test_a_locked_file_that_ended_the_link_is_two_events(harness: DatacenterHarness) -> None:
    """Telethon drops a link when its file is locked: the trouble of the file and the loss are both told."""
    async with harness:
        link = await opened(harness.connector())
        busy = sqlite3.OperationalError("database is locked")
        busy.sqlite_errorcode, busy.sqlite_errorname = sqlite3.SQLITE_BUSY, "SQLITE_BUSY"
        link.client._updates_error = busy
        await link.client.end()
        events = await loss(link)
    assert [type(event) for event in events] == [DatabaseLocked, NetworkLost]


async def test_a_flood_wait_is_an_answer_and_while_it_lasts_a_ping_must_do(harness: DatacenterHarness) -> None:
    """A flooded proof is a sign of life; while its kind is held it is not sent, and silence is still silence."""
    async with harness as dc:
        link = await opened(harness.connector())
        await dc.inject(Fault(FaultKind.RPC_ERROR, request="updates.getState", code=420, text="FLOOD_WAIT_30"))
        flooded = await link.probe(proof=True, timeout=TIMEOUT)
        link.hold("GetState", time.time() + 30)
        asked = dc.stats()["requests"]["updates.getState"]
        alive = await link.probe(proof=True, timeout=TIMEOUT)
        assert dc.stats()["requests"]["updates.getState"] == asked
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        silent = await link.probe(proof=True, timeout=0.3)
        await link.close(timeout=TIMEOUT)
    assert [type(event) for event in flooded] == [FloodWait, ProbeAnswered]
    assert [type(event) for event in alive] == [ProbeAnswered]
    assert [type(event) for event in silent] == [TimedOut]


async def test_a_flood_wait_that_is_met_at_the_connect_ends_the_attempt(harness: DatacenterHarness) -> None:
    """It is of the proof's kind, and no second request is sent before it is over, also with a session without state."""
    async with harness as dc:
        link = harness.connector().link(1)
        await dc.inject(Fault(FaultKind.RPC_ERROR, code=420, text="FLOOD_WAIT_30", times=1))
        events = await link.open(timeout=TIMEOUT)
        sent = dc.stats()["requests"]
        await link.close(timeout=TIMEOUT)
    assert [(type(event), getattr(event, "request", "")) for event in events] == [(FloodWait, "GetState")]
    assert sent == {"updates.getState": 1}


async def test_a_limited_account_is_connected_all_the_same(harness: DatacenterHarness) -> None:
    """Telethon's request then begins the connection, and what was limited is still said to be the proof."""
    async with harness as dc:
        link = harness.connector().link(1)
        await dc.inject(Fault(FaultKind.RPC_ERROR, code=403, text="USER_RESTRICTED", times=1))
        events = await link.open(timeout=TIMEOUT)
        limited = kind_of(link.client.limit.request)
        await link.close(timeout=TIMEOUT)
    assert [type(event) for event in events] == [AccountLimited, Connected]
    assert limited == "GetState"


async def test_telethon_s_write_transaction_ends_within_a_moment(harness: DatacenterHarness) -> None:
    """Where Telethon keeps the session file locked for a minute, another program can soon write to it."""
    async with harness:
        account = harness.connector()
        link = await opened(account)
        await link.client.get_me()  # writes an entity, and leaves the transaction open

        async def write() -> None:
            with closing(sqlite3.connect(account.session, timeout=0, isolation_level=None)) as other:
                with anyio.fail_after(TIMEOUT):
                    while not other.in_transaction:
                        with suppress(sqlite3.OperationalError):
                            other.execute("BEGIN IMMEDIATE")
                        await anyio.sleep(0.05)
                other.execute("ROLLBACK")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loss, link)
            await write()
            assert link.client.is_connected()
            await link.client.end()


async def test_a_failed_attempt_leaves_asyncio_nothing_to_complain_of(
    harness: DatacenterHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """Telethon keeps the error of a failed connect in a future, too; asyncio must not complain that it is unread."""
    async with harness as dc:
        account = harness.connector()
        await dc.inject(Fault(FaultKind.ACCEPT_THEN_CLOSE, duration=60))
        for _ in range(3):
            await outcome(account)
            gc.collect()
    assert "never retrieved" not in caplog.text
