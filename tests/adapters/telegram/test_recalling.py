"""A link's client knows the users and chats of its session file, however many, and asks the network for none."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from telethon.tl.types import Channel, ChatPhotoEmpty, InputPeerChannel, InputPeerUser, User

from adapters.sandbox import Sandbox
from adapters.session import contents
from adapters.session import file as files
from adapters.sqlite.errors import DatabaseUnusable
from adapters.telegram import recalling
from adapters.telegram.recalling import RecentEntities
from states.events import Connected
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT

CHANNEL = 77
MARKED = -1_000_000_000_000 - CHANNEL
LOOKUPS = {"users.getUsers", "channels.getChannels", "contacts.resolveUsername"}
"""The requests by which Telethon asks for a peer that it does not know."""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let five entities stay in memory."""
    for place in (contents, files):
        monkeypatch.setattr(place, "MAX_ENTITIES", 5)
    monkeypatch.setattr(contents, "_SLACK", 0)


def lookups(dc: Sandbox) -> dict[str, int]:
    """Return how often the datacenter was asked for a peer."""
    return {name: count for name, count in dc.stats()["requests"].items() if name in LOOKUPS}


def fill(path: Path) -> None:
    """Put a hundred users and a channel that has a count into a session file."""
    with closing(sqlite3.connect(path)) as database, database:
        rows = [(number, number * 7, f"user_{number}") for number in range(1000, 1100)]
        database.executemany("insert into entities (id, hash, username) values (?, ?, ?)", rows)
        database.execute("insert into entities (id, hash) values (?, 5)", (MARKED,))
        database.execute("insert into update_state values (?, 3, 0, 0, 0)", (CHANNEL,))


@pytest.mark.usefixtures("few")
async def test_a_peer_of_the_file_costs_no_request(harness: DatacenterHarness) -> None:
    """A client finds any of them by id and by username, and its channels are known as it begins."""
    async with harness as dc:
        connector = harness.connector()
        fill(connector.session)
        link = connector.link(1)
        assert isinstance((await link.open(timeout=TIMEOUT))[-1], Connected)
        before = lookups(dc)
        assert link.client._mb_entity_cache.get(CHANNEL).hash == 5
        for number in range(1000, 1100):
            assert await link.client.get_input_entity(number) == InputPeerUser(number, number * 7)
        assert await link.client.get_input_entity("user_1042") == InputPeerUser(1042, 7294)
        assert await link.client.get_input_entity(MARKED) == InputPeerChannel(CHANNEL, 5)
        assert lookups(dc) == before
        assert len(link.client.session._contents.entities) <= 10
        await link.close(timeout=TIMEOUT)
        await connector.settle()


@pytest.mark.usefixtures("few")
async def test_a_file_that_cannot_be_read_sends_nobody_to_the_network(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request that needs the peer fails with what is wrong with the file; nothing is sent."""
    async with harness as dc:
        connector = harness.connector()
        fill(connector.session)
        link = connector.link(1)
        assert isinstance((await link.open(timeout=TIMEOUT))[-1], Connected)
        before = lookups(dc)
        with closing(sqlite3.connect(connector.session, isolation_level=None)) as other:
            live = link.client.session._live
            with anyio.fail_after(TIMEOUT):
                await link.client.session.flush()
            live._disconnect()
            other.execute("pragma journal_mode = delete")
            other.execute("begin exclusive")
            monkeypatch.setattr("adapters.session.holdfast_session.READ_TIMEOUT", 0.1)
            with pytest.raises(DatabaseUnusable, match="locked"):
                await link.client.get_input_entity(1050)
            assert lookups(dc) == before
            other.execute("rollback")
        assert await link.client.get_input_entity(1050) == InputPeerUser(1050, 7350)
        await link.close(timeout=TIMEOUT)
        await connector.settle()


def test_telethon_s_cache_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays within its bound, and keeps the user, the channels that are counted, and what came last."""
    monkeypatch.setattr(recalling, "MAX_KNOWN", 100)
    cache = RecentEntities({CHANNEL: None})
    cache.set_self_user(1, False, 9)
    channel = Channel(id=CHANNEL, access_hash=5, title="c", photo=ChatPhotoEmpty(), date=None)
    cache.extend([], [channel])
    for number in range(1000, 2000):
        cache.extend([User(id=number, access_hash=number)], [])
        assert len(cache) <= 100
    assert {1, CHANNEL, *range(1930, 2000)} <= set(cache.hash_map)
