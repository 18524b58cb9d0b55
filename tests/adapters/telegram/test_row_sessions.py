"""A real client of an account whose session is rows: it connects, moves to another node, and a former owner cannot."""

import asyncio
from typing import Any

import pytest
from attrs import define
from telethon.crypto import AuthKey

from adapters.telegram import TelegramConnector
from adapters.telegram.lent import LentClientError
from states.events import AuthRejected, DatabaseLocked
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.adapters.telegram.test_inbox import delivering, linked, listening, until
from tests.storage.session_stores import RowSessions
from tests.timeouts import TIMEOUT


@define
class Cluster:
    """One account in a database; each node that claims it is the next owner."""

    harness: DatacenterHarness
    account: RowSessions

    async def __aenter__(self) -> "Cluster":
        await self.harness.__aenter__()
        await self.log_in()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.harness.__aexit__(*exc)
        await asyncio.to_thread(self.account.close)

    async def log_in(self) -> None:
        """Store a login of the sandbox's."""
        key = self.harness.dc.authorize(PHONE)

        def store() -> None:
            session = self.account.open()
            session.set_dc(self.harness.dc.dc_id, "127.0.0.9", 443)  # nothing listens there
            session.auth_key = AuthKey(key)
            session.save().wait()
            session.close()

        await asyncio.to_thread(store)

    async def claim(self) -> TelegramConnector:
        """Let another node own the account; return its connector."""
        await asyncio.to_thread(self.account.move)
        rows = await asyncio.to_thread(self.account.store)
        return TelegramConnector(
            session=self.harness.directory / "unused.session",
            api_id=1,
            api_hash="0" * 32,
            datacenter=self.harness.datacenter(),
            name=self.account.name,
            place=rows.place(self.account.name, self.account.ownership),
        )


@pytest.fixture
def cluster(harness: DatacenterHarness, store_url: str) -> Cluster:
    """An account that has a login once the cluster is open."""
    return Cluster(harness, RowSessions(store_url))


async def test_updates_go_on_at_the_next_node(cluster: Cluster) -> None:
    """What came live is not heard twice and what came meanwhile is not missed; no file is written."""
    async with cluster:
        dc = cluster.harness.dc
        first = await cluster.claim()
        heard = listening(first)
        async with delivering(first):
            async with linked(first):
                await dc.push(PHONE, "one")
                await until(heard, 1)
            await first.settle()
        await dc.push(PHONE, "missed")
        second = await cluster.claim()
        heard = listening(second)
        async with delivering(second):
            async with linked(second):
                await until(heard, 1)
                await dc.push(PHONE, "three")
                await until(heard, 2)
            await second.settle()
        assert heard == ["missed", "three"]
        assert not list(cluster.harness.directory.iterdir())


async def test_a_database_without_the_login_is_said_to_be_so(cluster: Cluster) -> None:
    """It may be the wrong database, or a new one: there is no session file that somebody could look at."""
    async with cluster.harness:
        link = (await cluster.claim()).link(1)
        event = (await link.open(timeout=TIMEOUT))[-1]
        await link.close(timeout=TIMEOUT)
    await asyncio.to_thread(cluster.account.close)
    assert isinstance(event, AuthRejected), event
    assert (
        "there is no session in the database: bring this account's file with 'session bring', or mend" in event.detail
    )


async def test_a_former_owner_neither_writes_nor_connects_again(cluster: Cluster) -> None:
    """Its link that still stands brings nothing into the store, and its next one does not begin."""
    async with cluster:
        dc = cluster.harness.dc
        former = await cluster.claim()
        heard = listening(former)
        async with delivering(former):
            async with linked(former) as link:
                await dc.push(PHONE, "one")
                await until(heard, 1)
                link.client.session.write_soonest()
                await link.client.session.flush()
                stored = await asyncio.to_thread(cluster.account.execute, "SELECT pts FROM session_states WHERE id = 0")
                await cluster.claim()
                link.client.session._contents.put_entities([(5, 6, None, None, "late")], 1)
                link.client.session._touch()
                receipt = link.client.session.flush()
                with pytest.raises(Exception, match="does not own the account"):
                    await receipt
            again = await former.link(2).open(timeout=TIMEOUT)
        assert [type(event) for event in again] == [DatabaseLocked]
        assert "does not own the account" in again[0].detail
        assert await asyncio.to_thread(cluster.account.execute, "SELECT pts FROM session_states WHERE id = 0") == stored
        assert 5 not in await asyncio.to_thread(cluster.account.ids)
        await former.settle()


async def test_an_account_without_a_session_is_not_logged_in(harness: DatacenterHarness, store_url: str) -> None:
    """As without a file."""
    account = RowSessions(store_url)
    async with harness:
        connector = await Cluster(harness, account).claim()
        assert [type(event) for event in await connector.link(1).open(timeout=TIMEOUT)] == [AuthRejected]
        assert await connector.login() == ""
    await asyncio.to_thread(account.close)


async def test_a_running_session_keeps_its_login_in_the_store(cluster: Cluster) -> None:
    """Neither another key nor another datacenter gets there, and the redirection does not either."""
    async with cluster:
        connector = await cluster.claim()
        row = "SELECT dc_id, address, port, key FROM sessions"
        before = await asyncio.to_thread(cluster.account.execute, row)
        async with linked(connector) as link:
            with pytest.raises(LentClientError):
                link.client.session.auth_key = AuthKey(b"n" * 256)
            link.client.session.takeout_id = 8
            me = await link.client.get_me()
        await link.client.session.flush()  # with what the link stores at its end
        assert await asyncio.to_thread(cluster.account.execute, row) == before
        assert await asyncio.to_thread(cluster.account.execute, "SELECT takeout_id FROM sessions") == [(8,)]
        fingerprint, who = await asyncio.to_thread(connector.place.read_login)
        assert fingerprint == await connector.login() != ""
        assert who == me.id
        await connector.settle()


async def test_a_second_client_on_this_machine_is_refused(cluster: Cluster) -> None:
    """The claim of the login holds for rows as for files: a copy of it in a file is not used beside it."""
    async with cluster:
        connector = await cluster.claim()
        async with linked(connector):
            path = cluster.harness.directory / "copy.session"
            cluster.harness.write_session(path, bytes(cluster.account.key()))
            copy = TelegramConnector(session=path, api_id=1, api_hash="0" * 32, datacenter=cluster.harness.datacenter())
            [refused] = await copy.link(1).open(timeout=TIMEOUT)
            assert "uses the same login" in refused.detail
            assert cluster.account.name in refused.detail
            await copy.settle()
        await connector.settle()
