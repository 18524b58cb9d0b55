"""The start of a node in a database that others use: the accounts of all their configs are the same."""

from pathlib import Path

import anyio
import pytest
import structlog

from adapters.postgres.accounts import AccountRows
from adapters.postgres.address import StoreAddress
from adapters.postgres.errors import LeasesDiffer
from engine.app.database_store import AccountsDiffer, DatabaseStore, SessionsMissing, prepare
from engine.config import AccountConfig, Config, Telegram
from engine.config.node import NodeSection
from tests.postgres.support import Node, connected, node


def config_of(**hosts: str) -> Config:
    """Return the config of node ``one`` with these accounts, each with its pattern of hosts."""
    accounts = tuple(
        AccountConfig(name=name, session=Path(f"/{name}.session"), hosts=each) for name, each in hosts.items()
    )
    telegram = Telegram(api_id=1, api_hash="0" * 32)
    return Config(telegram=telegram, accounts=accounts, node=NodeSection(name="one"))


async def stored(url: str) -> dict[str, str]:
    """Return the accounts of the database."""
    async with connected(url) as connection:
        return await AccountRows(connection).listed()


async def test_the_first_start_makes_tables_and_accounts(empty_store_url: str) -> None:
    """The next one with another config has those of its own, as no other node lives."""
    address = StoreAddress.parse(empty_store_url)
    await prepare(address, config_of(A="*", B="eu-*"))
    assert await stored(empty_store_url) == {"A": "*", "B": "eu-*"}
    await prepare(address, config_of(A="us-1", C="*"))
    assert await stored(empty_store_url) == {"A": "us-1", "C": "*"}


async def test_accounts_whose_sessions_were_taken_away_are_told_of(store_url: str) -> None:
    """Nobody runs them, and a node that has nothing else to run would be silent about it."""
    address, config = StoreAddress.parse(store_url), config_of(A="*", B="*")
    with structlog.testing.capture_logs() as told:
        await prepare(address, config)
        async with connected(store_url) as connection:
            await connection.execute(
                """INSERT INTO sessions (account, dc_id, key, login, taken_to)
                    SELECT id, 2, '', '', '/b.session' FROM accounts WHERE name = 'B'"""
            )
        assert told == []
        await prepare(address, config)
    [line] = told
    assert line.items() >= {"event": "node_sessions_away", "count": 1, "accounts": 2, "account": "B"}.items()
    assert line["place"] == "/b.session"


async def test_a_database_without_a_session_of_any_account_is_refused(store_url: str) -> None:
    """Once for all, and the accounts of the fleet whose database it may be stay; one session makes it the right one."""
    address = StoreAddress.parse(store_url)
    await prepare(address, config_of(Other="*"))
    with pytest.raises(SessionsMissing, match=r"no account of this config has its session in .*'session bring'"):
        await DatabaseStore(address).prepare(config_of(A="*", B="*"))
    assert await stored(store_url) == {"Other": "*"}
    async with connected(store_url) as connection:
        await connection.execute(
            "INSERT INTO sessions (account, dc_id, key, login) SELECT id, 2, '', '' FROM accounts WHERE name = 'Other'"
        )
    await DatabaseStore(address).prepare(config_of(A="*", Other="*"))
    assert await stored(store_url) == {"A": "*", "Other": "*"}


async def test_an_account_with_another_name_is_told_of(store_url: str) -> None:
    """Its login stays under the former one, which nobody takes, also if the last life of this node has it still."""
    store = DatabaseStore(StoreAddress.parse(store_url))
    await prepare(store.address, config_of(A="*", B="*"))
    async with connected(store_url) as connection:
        await connection.execute("INSERT INTO sessions (account, dc_id, key, login) SELECT id, 2, '', '' FROM accounts")
    async with node(store_url, "one", lease=15.0) as last:
        assert len(await last.claim()) == 2
        with structlog.testing.capture_logs() as told:
            await store.prepare(config_of(New="*", B="*"))
        assert await stored(store_url) == {"B": "*", "New": "*"}
        await last.nodes.end(last.life, "the node was stopped")
        await last.accounts.free_accounts_of_the_dead()
        await last.begin()
        assert set(await last.claim()) == {"B", "New"}
    [line] = [each for each in told if each["event"] == "node_accounts_renamed"]
    assert line.items() >= {"account": "New", "former": "A", "count": 1}.items()
    with structlog.testing.capture_logs() as told:
        await store.prepare(config_of(B="*"))
    assert told == []


async def test_other_accounts_than_those_of_a_living_node_are_refused(store_url: str) -> None:
    """In a sentence with its name and the first account that differs; nothing is changed."""
    address = StoreAddress.parse(store_url)
    await prepare(address, config_of(A="*", B="*"))
    async with node(store_url, "two") as other, anyio.create_task_group() as tasks:
        tasks.start_soon(beat_on, other)
        await prepare(address, config_of(B="*", A="*"))
        with pytest.raises(AccountsDiffer, match=r"nodes that run \(two\): see 'B'; .*stop the other nodes first"):
            await prepare(address, config_of(A="*", B="eu-*"))
        tasks.cancel_scope.cancel()
    assert await stored(store_url) == {"A": "*", "B": "*"}


async def test_a_node_that_died_keeps_no_config_for_ever(store_url: str) -> None:
    """It is silent for the length of its lease; nobody need have declared it dead."""
    await prepare(StoreAddress.parse(store_url), config_of(A="*"))
    async with node(store_url, "two", lease=0.5):
        await prepare(StoreAddress.parse(store_url), config_of(A="*", B="*"))
    assert await stored(store_url) == {"A": "*", "B": "*"}


async def test_another_lease_than_that_of_a_living_node_is_refused(store_url: str) -> None:
    """The shorter one would end first: this node would take accounts whose connections are open."""
    config = config_of(A="*")
    async with node(store_url, "two", lease=45.0) as other, anyio.create_task_group() as tasks:
        tasks.start_soon(beat_on, other)
        with pytest.raises(LeasesDiffer, match=r"node.lease is 15 s here, and 45 s at the node two; .*stop the other"):
            await prepare(StoreAddress.parse(store_url), config)
        tasks.cancel_scope.cancel()


async def test_a_node_that_died_with_another_lease_is_declared_dead(store_url: str) -> None:
    """When it was silent for the length of its own: all nodes were killed, and start with another lease."""
    async with node(store_url, "two", lease=0.5) as other:
        await prepare(StoreAddress.parse(store_url), config_of(A="*"))
        assert await other.nodes.beat(other.life) is None


async def beat_on(other: Node) -> None:
    """Beat until cancelled."""
    while True:
        await other.beat()
        await anyio.sleep(0.05)
