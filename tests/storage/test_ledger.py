"""The ledger of completeness in each store: what was handled is claimed, never more, and the next engine goes on."""

import anyio
import anyio.lowlevel
import attrs
import pytest

from adapters.sqlite.jobs import NewJob, ReadHistory
from adapters.sqlite.ledger_schema import MAX_ROWS
from states.completeness import ReadLater, assess
from states.ledger import HoleCause, Interval, LedgerRow, merge
from tests.storage.part_stores import PartsUnderTest, Source, intervals, row, running, store
from tests.timeouts import TIMEOUT

# --- what is stored ---------------------------------------------------------------------------------------------------


async def test_what_was_stored_is_read_as_it_was(parts: PartsUnderTest) -> None:
    """Durable when ``now`` returns: rows and holes, each with its times, and whose they are."""
    handled = row(3, 9, first_id=20, last_id=25)
    hole = row(9, 12, cause=HoleCause.TOO_LONG)
    own = row(1, 2, box=0, user=8, login="y")
    async with parts.node() as node:
        source = Source("A", [handled, hole])
        await node.ledger.now(source)
        await store(node, own, account="B")
        assert source.was_stored == [handled, hole]
        with parts.ledger() as ledger:
            assert ledger.users() == {"A": 7, "B": 8}
            assert ledger.rows(5) == [handled, attrs.evolve(hole, login="")]
            assert ledger.rows(0) == ledger.rows(0, [8, 9]) == [own]
            assert ledger.rows(0, [7]) == ledger.rows(0, []) == ledger.rows(77) == []
            assert ledger.boxes(7) == {5: ledger.rows(5)}
            assert ledger.boxes(8) == {0: [own]}
            assert ledger.boxes(9) == {}


async def test_an_empty_store_proves_nothing(parts: PartsUnderTest) -> None:
    """Nobody is known, and nothing is broken."""
    async with parts.node():
        pass
    with parts.ledger() as ledger:
        assert (ledger.users(), ledger.rows(5), ledger.boxes(7), ledger.broken(), ledger.fills(5)) == (
            {},
            [],
            {},
            [],
            [],
        )


async def test_a_chain_that_grows_is_one_row(parts: PartsUnderTest) -> None:
    """Later and earlier ones of the same beginning, also in one transaction; nothing becomes shorter."""
    async with parts.node() as node:
        await store(node, row(3, 9, first_id=20, last_id=25, since=50.0), row(3, 12, since=60.0))
        await store(node, row(3, 5, first_id=22, last_id=22, since=70.0, until=71.0))
        with parts.ledger() as ledger:
            (found,) = ledger.rows(5)
    assert found == row(3, 12, first_id=20, last_id=25, since=50.0, until=1012.0)


async def test_a_hole_that_grows_is_one_hole_for_each_cause(parts: PartsUnderTest) -> None:
    """It is as long as the longest, from when it was first noted."""
    async with parts.node() as node:
        await store(node, row(3, 9, cause=HoleCause.TOO_LONG), row(3, 7, cause=HoleCause.NOT_SUBSCRIBED))
        await store(node, row(3, 12, cause=HoleCause.TOO_LONG, since=5.0), row(3, 4, cause=HoleCause.TOO_LONG))
        with parts.ledger() as ledger:
            found = {each.cause: (each.interval, each.since, each.until) for each in ledger.rows(5)}
    assert found == {
        HoleCause.TOO_LONG: (Interval(3, 12), 5.0, 1012.0),
        HoleCause.NOT_SUBSCRIBED: (Interval(3, 7), 1003.0, 1007.0),
    }


async def test_a_box_that_is_set_back_forgets_what_was_beyond(parts: PartsUnderTest) -> None:
    """What ends before that stays, what reaches beyond ends there at the time of its beginning; other boxes stay."""
    async with parts.node() as node:
        await store(node, row(6, 12, user=8), account="B")
        await store(node, row(1, 4), row(6, 12, first_id=1, last_id=9), row(14, 20), row(6, 12, box=6))
        await store(node, row(9, 9, cause=HoleCause.RENUMBERED), row(9, 11))
        with parts.ledger() as ledger:
            mine = ledger.rows(5, [7])
            assert intervals(mine) == [(1, 4), (6, 9), (9, 11)]
            (cut,) = (each for each in mine if each.interval == Interval(6, 9))
            assert (cut.until, cut.first_id, cut.last_id) == (cut.since, 1, None)
            assert intervals(ledger.rows(6)) == intervals(ledger.rows(5, [8])) == [(6, 12)]


async def test_a_login_in_another_world_voids_what_was_proven_beyond(parts: PartsUnderTest) -> None:
    """A login that begins below what another one has proven: there the numbers mean other events."""
    async with parts.node() as node:
        await store(node, row(1, 4), row(6, 12), row(6, 12, box=6))
        await store(node, row(5, 6, login="y"), row(20, 21, box=6, login="y"))
        await store(node, row(2, 30, login="x"))  # its first row was long before: it is the same world
        with parts.ledger() as ledger:
            rows = ledger.rows(5)
            assert merge(each.interval for each in rows if each.login == "x") == [Interval(1, 30)]
            assert intervals(each for each in rows if each.login == "y") == [(5, 6)]
            assert intervals(ledger.rows(6)) == [(6, 12), (20, 21)]


async def test_the_login_of_an_account_is_the_last_that_has_stored(parts: PartsUnderTest) -> None:
    """``prove`` finds an account by it, also after the account was logged in as somebody else."""
    async with parts.node() as node:
        await store(node, row(1, 2))
        await store(node, row(1, 2, user=9, login="z"))
        with parts.ledger() as ledger:
            assert ledger.users() == {"A": 9}


# --- how it is stored -------------------------------------------------------------------------------------------------


async def test_rows_of_many_accounts_are_stored_while_it_runs(parts: PartsUnderTest) -> None:
    """``soon`` needs ``run`` only, and each account is told what of its own is durable."""
    async with parts.node() as node:
        first, last = Source("A", [row(1, 2)]), Source("B", [row(1, 3, user=8)])
        node.ledger.soon(first)
        await running(node, last)
        assert (first.was_stored, last.was_stored) == ([row(1, 2)], [row(1, 3, user=8)])
        with parts.ledger() as ledger:
            assert intervals(ledger.rows(5)) == [(1, 2), (1, 3)]


async def test_it_ends_with_its_writer_and_claims_nothing_more(parts: PartsUnderTest) -> None:
    """A node that has lost its lease closes it; the rows stay with their account, and that is no error."""
    async with parts.node() as node:
        source = Source("A", [row(1, 2)])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.ledger.run)
            await anyio.wait_all_tasks_blocked()
            await node.ledger.writer.aclose(TIMEOUT)
            node.ledger.soon(source)
        assert (source.put_back_rows, source.was_stored) == ([row(1, 2)], [])


async def test_the_next_engine_goes_on_in_the_chain(parts: PartsUnderTest) -> None:
    """Rows of an earlier one that touch become one; where nothing was handled a hole stays."""
    async with parts.node("one") as node:
        await store(node, row(0, 10), row(10, 20, first_id=3), row(15, 18), row(30, 40), row(20, 25, box=6))
        await store(node, row(40, 40, until=9000.0))  # known to have come no further
    async with parts.node("two") as node:
        await running(node, Source("A", [row(40, 41)]))
    with parts.ledger() as ledger:
        rows = ledger.rows(5)
        assert (0, 20) in intervals(rows)
        assert len(rows) <= 3
        assert merge(each.interval for each in rows) == [Interval(0, 20), Interval(30, 41)]
        proven = assess(rows)
        assert [hole.interval for hole in proven.holes] == [Interval(20, 30)]
        assert (proven.since, proven.until) == (1000.0, 9000.0)
        assert ledger.rows(6) == [row(20, 25, box=6)]


async def test_of_too_many_rows_the_oldest_go(parts: PartsUnderTest) -> None:
    """What is proven begins later then, and never has a hole more; of other boxes nothing goes."""
    many = [row(2 * number, 2 * number + 1) for number in range(MAX_ROWS + 3)]
    lost = [row(2 * number, 2 * number + 1, cause=HoleCause.UNREADABLE) for number in range(MAX_ROWS + 2)]
    async with parts.node("one") as node:
        await store(node, *many, *lost, row(1, 2, box=6))
    async with parts.node("two") as node:
        await running(node, Source("A", [row(1, 2, box=6)]))
    with parts.ledger() as ledger:
        rows = ledger.rows(5)
        assert intervals(rows) == [(each.interval.after, each.interval.upto) for each in many[3:]]
        holes = sorted(each.interval for each in rows if each.cause is not None)
        assert holes == [each.interval for each in lost[2:]]
        assert intervals(ledger.rows(6)) == [(1, 2)]


# --- what commands ask ------------------------------------------------------------------------------------------------


async def test_only_what_is_not_one_chain_is_looked_at(parts: PartsUnderTest) -> None:
    """``status`` asks for these boxes alone: holes, several rows of an account, a channel that several have seen."""
    async with parts.node() as node:
        await store(node, row(1, 2), row(1, 2, box=0), row(1, 2, box=6), row(4, 5, box=6), row(1, 2, box=9))
        await store(node, row(1, 2, box=0, user=8), row(4, 5, box=0, user=8), account="B")
        await store(node, row(2, 3, box=9, cause=HoleCause.TOO_LONG))
    with parts.ledger() as ledger:
        assert sorted(ledger.broken()) == [(7, 6), (7, 9), (8, 0)]


@pytest.mark.parametrize("user", [0, 7])
async def test_what_was_read_later_is_stored_with_its_job(parts: PartsUnderTest, user: int) -> None:
    """A history that was read twice is as long as both; it is that of one user, or of all."""
    async with parts.node() as node:
        await node.jobs.add([NewJob(kind="collect", data={})])
        job = await node.jobs.job(1)
        assert job is not None
        for after, at, from_at in ((20, 50.0, None), (10, 60.0, 5.0), (30, 70.0, 6.0)):
            await node.jobs.keep(job, history=ReadHistory(chat=5, after=after, at=at, from_at=from_at, user=user))
        await node.jobs.flush()
    with parts.ledger() as ledger:
        found = ReadLater(source="job 1", after_id=10, upto_id=None, at=70.0, from_at=5.0)
        assert ledger.fills(5, user) == [found]
        assert ledger.fills(5, 7 - user) == ledger.fills(6, user) == []


async def test_what_something_else_has_spoilt_proves_nothing(parts: PartsUnderTest) -> None:
    """A time that is none leaves the row out; a cause of a newer version is read as one."""
    async with parts.node() as node:
        await store(node, row(1, 2), row(5, 6), row(7, 8, cause=HoleCause.TOO_LONG))
    parts.execute("UPDATE ledger SET until = 1e300 WHERE after = 1")
    parts.execute("UPDATE ledger_holes SET cause = 'sunspots'")
    with parts.ledger() as ledger:
        found: list[LedgerRow] = ledger.rows(5)
    assert [(each.interval.after, each.cause) for each in found] == [(5, None), (7, HoleCause.NOT_RUNNING)]
