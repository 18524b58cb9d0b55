"""The ledger, usernames and updates for programs of several nodes: what a former owner writes late changes nothing."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import psycopg
import pytest

from adapters.postgres import Fenced
from adapters.postgres.errors import AccountElsewhere
from adapters.postgres.ledger_statements import CUT, RENUMBER, compaction
from adapters.postgres.usernames import DROP_OLDEST_NAMES
from adapters.sqlite.usernames import StoredName
from engine.cli.prove import prove
from engine.cli.status import status
from states.ledger import HoleCause
from tests.postgres.support import connected, waits_for_lock
from tests.postgres.test_log import CONFIG
from tests.storage.part_stores import Parts, Source, intervals, row, store
from tests.storage.postgres_parts import PostgresParts

CHANNEL = 5
CHAT = -(10**12) - CHANNEL


@pytest.fixture
def fleet(store_url: str) -> PostgresParts:
    """Return an empty store for several nodes."""
    return PostgresParts(store_url)


@asynccontextmanager
async def moved(fleet: PostgresParts) -> AsyncIterator[tuple[Parts, Parts]]:
    """Run two nodes; account A was the first one's, and is the second one's now."""
    async with fleet.node("one", ("A",)) as former:
        await former.flush()
        async with fleet.node("two", ("A",)) as owner:
            yield former, owner


def die(fleet: PostgresParts, name: str) -> None:
    """Declare a node dead."""
    fleet.execute(f"UPDATE nodes SET state = 'dead' WHERE name = '{name}'")


# --- who may write ----------------------------------------------------------------------------------------------------


async def test_nothing_of_a_dead_life_is_stored(fleet: PostgresParts) -> None:
    """Whoever waits for it is told, and the ledger's rows are put back."""
    async with fleet.node("one", ("A",)) as node:
        die(fleet, "one")
        source = Source("A", [row(1, 2)])
        with pytest.raises(Fenced):
            await node.ledger.now(source)
        assert source.put_back_rows == [row(1, 2)]
        with pytest.raises(Fenced):
            await node.usernames.put_lookups("A", [1.0])
        node.usernames.put(StoredName("name", 1, "", 1.0))  # where Telethon reads what came in: it raises nothing
        with pytest.raises(Fenced):
            node.remote.add("A", 1, at=1.0, place=0, mark="m", body=b"x")
    with fleet.ledger() as ledger:
        assert (ledger.rows(5), ledger.users()) == ([], {})


async def test_a_former_owner_numbers_no_update(fleet: PostgresParts) -> None:
    """Neither is the new owner's overwritten or deleted, nor its cursor moved; the former one's own is not there."""
    async with moved(fleet) as (former, owner):
        assert owner.remote.add("A", 1, at=1.0, place=0, mark="new", body=b"new")
        await owner.remote.begin("A", "one", "feed", 1, 1.0)
        for number in (1, 2):
            assert former.remote.add("A", number, at=2.0, place=0, mark="old", body=b"old")
        assert former.remote.save("A", "one", "feed", 0, 2.0)
        await former.remote.forget("A", "one")
        await former.remote.prune("A", 1)
        await former.remote.flush()
        assert await owner.remote.after("A", 0, 9) == [(1, b"new")]
        cursors, _ = await owner.remote.load()
        assert [each.acknowledged for each in cursors] == [1]
        assert await former.remote.load() == ([], {})


async def test_a_program_is_not_told_that_a_former_owner_keeps_its_updates(fleet: PostgresParts) -> None:
    """A cursor that is not stored is an error, which says where to go."""
    async with moved(fleet) as (former, _):
        with pytest.raises(
            AccountElsewhere, match=r"does not own the account any more.*connect to the node that owns it"
        ):
            await former.remote.begin("A", "one", "feed", 0, 1.0)


async def test_a_former_owner_does_not_take_look_ups_back(fleet: PostgresParts) -> None:
    """It knows of fewer than the owner."""
    async with moved(fleet) as (former, owner):
        await owner.usernames.put_lookups("A", [1.0, 2.0])
        await former.usernames.put_lookups("A", [1.0])
        assert await owner.usernames.lookups("A") == [1.0, 2.0]


async def test_an_account_stays_until_what_was_written_of_it_is_stored(fleet: PostgresParts) -> None:
    """A release waits for the end of a transaction that has found the owner, so none is stored after it."""
    async with fleet.node("one", ("A",)) as node, connected(fleet.url) as other:
        async with await psycopg.AsyncConnection.connect(fleet.url) as holder, anyio.create_task_group() as tasks:
            await holder.execute(
                "INSERT INTO remote_updates SELECT id, 1, 0, 0, '', '' FROM accounts WHERE name = 'A'"
            )  # which nobody knows yet whether it stays
            assert node.remote.add("A", 1, at=1.0, place=0, mark="m", body=b"x")
            await waits_for_lock(other)
            tasks.start_soon(release, fleet)
            await waits_for_lock(other, 2)
            await holder.rollback()
        await node.remote.flush()
        assert await node.remote.after("A", 0, 9) == [(1, b"x")]


async def release(fleet: PostgresParts) -> None:
    """Free the account."""
    async with connected(fleet.url) as connection:
        await connection.execute("UPDATE accounts SET owner = NULL WHERE name = 'A'")


# --- the ledger of a fleet --------------------------------------------------------------------------------------------


async def test_another_node_goes_on_with_the_ledger(fleet: PostgresParts) -> None:
    """Of a user, whatever the account is called there: what the dead one has proven and what follows is one row."""
    async with fleet.node("one", ("A",)) as node:
        await store(node, row(0, 10, first_id=1, last_id=9))
        die(fleet, "one")
    async with fleet.node("two", ("B",)) as node:
        await store(node, row(10, 12, first_id=10, last_id=11), row(12, 20, box=6), account="B")
        with fleet.ledger() as ledger:
            assert ledger.rows(CHANNEL) == [row(0, 12, first_id=1, last_id=11)]
            assert ledger.users() == {"A": 7, "B": 7}


async def test_a_node_compacts_what_its_own_accounts_have(fleet: PostgresParts) -> None:
    """Those of others are left alone, however many there are: they are in use there."""
    async with fleet.node("one", ("A",)) as node:
        await store(node, row(0, 10))
        await store(node, row(10, 12))
        await store(node, row(0, 10, user=8), account="B")
        await store(node, row(10, 12, user=8), account="B")
        compactions = [each for batch in node.ledger._compactions() for each in batch]
        assert compactions == [*compaction(7), *compaction(8)]
    async with fleet.node("two", ("A",)) as node:
        await store(node, row(12, 13))
        with fleet.ledger() as ledger:
            assert intervals(ledger.rows(CHANNEL, [7])) == [(0, 13)]
            assert intervals(ledger.rows(CHANNEL, [8])) == [(0, 10), (10, 12)]


async def test_joining_revives_nothing_that_another_node_has_given_up(fleet: PostgresParts) -> None:
    """Rows that somebody cuts at the same time are joined as they are after that."""
    async with fleet.node("one", ("A",)) as node, connected(fleet.url) as other:
        await store(node, row(0, 10))
        await store(node, row(10, 20), row(20, 30))
        async with await psycopg.AsyncConnection.connect(fleet.url) as holder, anyio.create_task_group() as tasks:
            for statement in (CUT, RENUMBER):
                for text, values in statement.calls([(7, CHANNEL, 25)]):
                    await holder.execute(text.encode(), values)
            tasks.start_soon(node.ledger._compact)
            await waits_for_lock(other)
            await holder.commit()
        await node.flush()
        with fleet.ledger() as ledger:
            assert intervals(ledger.rows(CHANNEL)) == [(0, 25)]


# --- usernames of a fleet ---------------------------------------------------------------------------------------------


async def test_names_that_nobody_forgets_are_bounded(fleet: PostgresParts) -> None:
    """The oldest go first."""
    async with fleet.node("one", ()) as node:
        for number in range(5):
            node.usernames.put(StoredName(f"n{number}", number + 1, "", float(number)))
        node.usernames._offer(DROP_OLDEST_NAMES, (2,))
        await node.flush()
        assert [each.name for each in (await node.usernames.load()).names] == ["n3", "n4"]


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def config(fleet: PostgresParts, tmp_path: Path) -> Path:
    """Return a config of the store: account a has seen a channel up to now, but for what was lost."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(url=fleet.url), "utf-8")
    now = time.time()
    async with fleet.node("one", ("a", "b")) as node:
        await store(node, row(1, 4, since=now - 50, until=now - 40), row(6, 9, since=now - 20, until=now), account="a")
        await store(node, row(4, 6, cause=HoleCause.TOO_LONG, since=now - 40, until=now - 20), account="a")
        await store(node, row(1, 9, box=0, since=now - 50, until=now), account="a")
        await node.remote.begin("a", "shop", "feed", 3, now)
    fleet.execute(
        "INSERT INTO sessions (account, dc_id, key, login) SELECT id, 2, '', '' FROM accounts WHERE name IN ('a', 'b')"
    )
    fleet.execute(
        f"INSERT INTO session_entities (account, id, hash, username) SELECT id, {CHAT}, 1, 'news' FROM accounts "
        "WHERE name = 'b'"
    )
    fleet.execute(
        "INSERT INTO session_entities (account, id, hash) SELECT id, 777000, 1 FROM accounts WHERE name = 'a'"
    )
    return path


def proof(config: Path, capsys: pytest.CaptureFixture[str], chat: str, account: str | None = None) -> tuple[int, str]:
    """Return how ``prove`` ends, and what it prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        prove(config, chat=chat, account=account, as_json=True)
    assert isinstance(ended.value.code, int)
    out, err = capsys.readouterr()
    return ended.value.code, out or err


@pytest.mark.parametrize("chat", ["@news", "@News", str(CHAT)])
def test_prove_reads_by_the_config(config: Path, capsys: pytest.CaptureFixture[str], chat: str) -> None:
    """What any node has stored, of a chat that any account's session in the database knows by its name."""
    code, out = proof(config, capsys, chat)
    told = json.loads(out)
    assert (code, told["chat"], told["accounts"]) == (1, CHAT, ["a"])
    (hole,) = told["holes"]
    assert hole["cause"] == "too_long"


def test_prove_finds_whose_private_chat_it_is(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The account whose session in the database knows it; of a chat that nobody knows the account must be named."""
    code, out = proof(config, capsys, "777000")
    assert (code, json.loads(out)["accounts"]) == (0, ["a"])
    assert proof(config, capsys, "4444")[0] == proof(config, capsys, "@nobody")[0] == 2
    assert proof(config, capsys, "4444", account="a")[0] == 0


def test_status_says_what_was_missed_and_how_far_programs_are(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the database, with the ledger if that is asked for."""
    with pytest.raises(SystemExit):
        status(str(config), as_json=True, verbose=True)
    told = json.loads(capsys.readouterr().out)
    (hole,) = told["holes"]
    assert (hole["chat"], hole["holes"]) == (CHAT, 1)
    (program,) = told["programs"]
    assert (program["name"], program["account"]) == ("shop", "a")
    ledgers = {each["name"]: each["ledger"] for each in told["accounts"]}
    assert ledgers["a"]["open_holes"] == 1
    assert ledgers["b"] is None
