"""The holder of a lease, in virtual time: what it says to the store and when, and what it lets nothing outlive."""

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from engine.console.log_node import NODE
from engine.node.holder import END_SECONDS
from engine.node.ports import StoreSilent
from states.lease import HoldStanding
from tests.engine.node.fakes import AccountRow, FakeNode, FakeStore, Row, running, seen, times_of

pytestmark = pytest.mark.virtual


def with_accounts(count: int = 2) -> FakeNode:
    """Return a node whose store has some accounts, that it takes after its join delay."""
    store = FakeStore()
    store.add_accounts(count)
    return FakeNode(store)


async def test_it_beats_as_often_as_it_should() -> None:
    """At once, then every second, whatever an answer takes."""
    node = with_accounts()
    node.way.after = 0.5
    async with running(node):
        await anyio.sleep(5)
    assert times_of(node, "begin") == [0]
    assert times_of(node, "beat") == [0.5, 1.5, 2.5, 3.5, 4.5]


async def test_among_many_nodes_it_beats_less_often() -> None:
    """Of thirty each three seconds; but all of them each second when one may be dead soon."""
    node = with_accounts()
    node.store.rows |= {life: Row(life, f"other {life}") for life in range(1, 30)}
    async with running(node):
        await anyio.sleep(15)
    beats = times_of(node, "beat")
    assert beats[1:4] == [1.0, 4.0, 7.0]  # with the first one it does not know yet of the others
    assert beats[-3:] == pytest.approx([12.0, 13.0, 14.0], abs=0.1)


async def test_the_deadline_counts_from_before_the_question() -> None:
    """Not from the answer, which may be as late as it likes."""
    node = with_accounts()
    node.way.after = 2.5
    async with running(node):
        await anyio.sleep(14)
        asked = times_of(node, "beat")
    assert node.dead_man.armed[0] == pytest.approx(12)
    assert node.dead_man.armed[1:] == pytest.approx([at + 12 for at in asked[: len(node.dead_man.armed) - 1]])
    assert len(node.dead_man.armed) >= 3


async def test_links_are_aborted_at_their_deadline_while_a_beat_hangs() -> None:
    """By a timer of its own: ten seconds after the last beat that was confirmed was asked for."""
    node = with_accounts()
    async with running(node):
        await anyio.sleep(7)
        last = times_of(node, "beat")[-1]
        node.way.before = None
        await anyio.sleep_until(last + 9.99)
        assert len(node.work.acting) == 2
        await anyio.sleep_until(last + 10.01)
        assert seen(node, "abort") == [(last + 10, "*")]
        assert node.dead_man.disarmed == [pytest.approx(last + 10)]
        assert node.holder.hold.standing is HoldStanding.BEGINNING


async def test_a_lease_that_is_lost_is_told_with_the_cause() -> None:
    """That is what a person can mend; a store that has answered is not blamed."""
    node = with_accounts()
    [event] = [each for each in NODE if each.name == "node_life_over"]
    async with running(node):
        await anyio.sleep(7)
        node.way.before = None
        with capture_logs() as logs:
            await anyio.sleep(11)
        [lost] = [each for each in logs if each["event"] == event.name]
        assert "closes the connections of 2 accounts at once, for the store cannot be reached; it" in event.line(lost)
    assert "of 1 account at once; it goes on" in event.line({"life": 1, "accounts": 1, "detail": None})


async def test_the_kernel_ends_a_node_whose_links_do_not_close() -> None:
    """Its timer is disarmed when nothing acts any more, and not before."""
    node = with_accounts()
    async with running(node):
        await anyio.sleep(7)
        last = times_of(node, "beat")[-1]
        node.way.before, node.work.hangs = None, True
        await anyio.sleep_until(last + 11.99)
        assert not node.dead_man.disarmed
        assert not node.process.cancel_called
        await anyio.sleep_until(last + 12.01)
        assert node.process.cancel_called


async def test_a_life_past_its_deadline_never_beats_again() -> None:
    """When the store is back the node begins another one, which ends the old one with it, and claims again."""
    node = with_accounts()
    async with running(node):
        await anyio.sleep(7)
        node.way.before = None
        await anyio.sleep(13)
        assert node.holder.silence == "the store cannot be reached"
        beats = len(times_of(node, "beat"))
        node.way.before = 0.0
        back = anyio.current_time()
        await anyio.sleep(8)
        assert len(node.begun) == 2
        assert not node.holder.silence
        assert [row.alive for row in node.store.rows.values()] == [False, True]
        assert node.store.rows[node.begun[0]].beat <= beats
        assert len(node.work.acting) == 2
        assert min(at for at in times_of(node, "begin") if at > 0) >= back - 3


async def test_a_store_that_is_silent_is_told_of_until_it_answers() -> None:
    """Also when the lease is lost meanwhile: no row waits then that could tell of it."""
    node = with_accounts()
    told: list[tuple[float, str]] = []
    node.holder.silence_changed = lambda why: told.append((anyio.current_time(), why))
    async with running(node):
        await anyio.sleep(7)
        assert {why for _, why in told} == {""}
        node.way.before = None
        await anyio.sleep(6)
        node.way.before = 0.0
        await anyio.sleep(3)
        *silent, last = [why for at, why in told if at > 7]
        assert silent
        assert all(silent)
        assert last == ""
        assert len(node.begun) == 1
        told.clear()
        node.way.before = None
        await anyio.sleep(20)
        assert {why for _, why in told} == {"the store has not answered within 3 s", "the store cannot be reached"}
        node.way.before = 0.0
        await anyio.sleep(12)
        assert told[-1][1] == ""
        assert len(node.begun) == 2


async def test_each_cause_of_a_silence_is_told_once() -> None:
    """The first is often only that the connection was cut; a few are enough, and the next silence is told anew."""
    node = with_accounts()
    async with running(node):
        await anyio.sleep(7)
        for detail, told in (("cut", 1), ("cut", 0), ("refused", 1), ("cut", 0), ("1", 1), ("2", 1), ("3", 0)):
            with capture_logs() as logs:
                node.holder._lost(None, StoreSilent(detail))
            assert len([each for each in logs if each["event"] == "node_store_silent"]) == told, detail
        await anyio.sleep(4)
        assert not node.holder.silence
        with capture_logs() as logs:
            node.holder._lost(None, StoreSilent("cut"))
        assert [each["detail"] for each in logs] == ["cut"]


async def test_a_short_outage_costs_nothing() -> None:
    """A store that does not answer for six seconds: the links stay, and the beats go on over a new connection."""
    node = with_accounts()
    async with running(node):
        await anyio.sleep(7)
        node.way.before = None
        await anyio.sleep(6)
        node.way.before = 0.0
        await anyio.sleep(10)
        assert not seen(node, "abort")
        assert len(node.begun) == 1
        assert node.holder.may_act


async def test_an_account_that_a_beat_does_not_confirm_is_dropped_at_once() -> None:
    """The other ones stay."""
    node = with_accounts()
    async with running(node):
        await anyio.sleep(7)
        first, second = sorted(node.store.accounts)
        node.store.accounts[first].owner = None
        node.store.accounts[first].epoch += 1
        node.store.accounts[first].move_to = "elsewhere"
        await anyio.sleep(3)
        assert [account for _, account in seen(node, "abort")] == [first]
        assert set(node.work.acting) == {second}


async def test_another_epoch_is_another_owner() -> None:
    """Even if it is the same life: what was done for the old one may not go on beside the new one."""
    node = with_accounts(1)
    async with running(node):
        await anyio.sleep(7)
        (row,) = node.store.accounts.values()
        row.epoch += 1
        await anyio.sleep(3)
        assert len(seen(node, "abort")) == 1


async def test_a_node_that_was_declared_dead_closes_and_begins_anew() -> None:
    """At its next beat."""
    node = with_accounts()
    async with running(node):
        await anyio.sleep(7)
        node.store.kill(node.begun[0])
        await anyio.sleep(3)
        assert [account for _, account in seen(node, "abort")] == ["*"]
        await anyio.sleep(6)
        assert len(node.begun) == 2
        assert len(node.work.acting) == 2
        counts = node.holder.counts
        assert (counts.lives, counts.lost, counts.claimed, counts.dropped) == (2, 1, 4, 2)
        assert counts.beats == len(times_of(node, "beat")) - 1, "one was refused"
        node.holder.leave()
        await anyio.sleep(1)
        assert counts.given_up == 0, "a node that leaves frees all with its life"


async def test_a_life_is_asked_for_under_one_number_until_it_is_answered() -> None:
    """Its deadlines count from the first question: the store may have begun it then."""
    node = with_accounts()
    node.way.after = None
    async with running(node):
        await anyio.sleep(4)
        node.way.after = 0.0
        await anyio.sleep(4)
        assert len(times_of(node, "begin")) == 2
        assert len(node.store.rows) == 1
        assert node.dead_man.armed[0] == pytest.approx(12)


async def test_a_life_that_comes_too_late_is_ended_and_another_one_asked_for() -> None:
    """The others may have watched it since it was asked for."""
    node = with_accounts()
    node.way.after = None
    async with running(node):
        await anyio.sleep(11)
        node.way.after = 0.0
        await anyio.sleep(6)
        assert [row.alive for row in node.store.rows.values()] == [False, True]
        assert node.holder.hold.life == node.begun[-1]
        assert node.dead_man.armed[0] > 20


async def test_a_node_whose_end_nothing_would_bring_does_not_act() -> None:
    """It asks for other lives, one a second at most, until the timer works."""
    node = with_accounts()
    node.dead_man.broken = True
    async with running(node):
        await anyio.sleep(10)
        assert not seen(node, "take")
        assert not node.holder.may_act
        assert len(times_of(node, "begin")) <= 11
        node.dead_man.broken = False
        await anyio.sleep(10)
        assert node.work.acting


async def test_a_node_that_leaves_gives_all_up_and_ends_its_life() -> None:
    """In this order: links and jobs, the kernel's timer, the row. Then its holder returns."""
    node = with_accounts()
    node.work.close_seconds = 4
    async with running(node):
        await anyio.sleep(7)
        node.holder.leave()
        await anyio.sleep(3.9)
        assert node.store.rows[node.begun[0]].alive
        assert node.holder.may_act
        await anyio.sleep(0.2)
        assert not node.store.rows[node.begun[0]].alive
        assert node.holder.hold.standing is HoldStanding.LEFT
        assert [account for _, account in seen(node, "give up")] == sorted(node.store.accounts)
        assert node.dead_man.disarmed == [pytest.approx(11)]
        assert node.dead_man.closed


async def test_a_node_leaves_a_store_that_does_not_answer() -> None:
    """After a moment: the others wait for the length of the lease then."""
    node = with_accounts()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.run)
        await anyio.sleep(7)
        node.way.before = None
        node.holder.leave()
    assert anyio.current_time() <= 7 + 3 + END_SECONDS + 3
    assert not node.work.acting
    assert node.dead_man.closed


async def test_a_holder_that_is_cancelled_leaves_no_link_open() -> None:
    """Nor the kernel's timer, which would end a process that goes on without it."""
    node = with_accounts()
    async with running(node):
        await anyio.sleep(7)
        node.process.cancel()
        await anyio.sleep(0.1)
        assert not node.work.acting
        assert node.dead_man.closed


async def test_a_life_of_before_is_ended_by_the_next_one() -> None:
    """If its process is known to be gone, a node that starts again waits for nothing."""
    store = FakeStore({7: Row(7, "n1", beat=3)})
    node = FakeNode(store, former=7)
    async with running(node):
        await anyio.sleep(1)
        assert not store.rows[7].alive
        assert node.holder.may_act


async def test_a_life_of_before_that_is_silent_is_declared_dead() -> None:
    """After the length of the lease, if nobody knows more of it."""
    store = FakeStore({7: Row(7, "n1", beat=3)})
    node = FakeNode(store)
    async with running(node):
        await anyio.sleep(14.9)
        assert store.rows[7].alive
        await anyio.sleep(4)
        assert not store.rows[7].alive
        assert node.holder.may_act


async def test_a_life_of_before_is_watched_over_one_connection() -> None:
    """Whoever answers over another one may have forgotten a beat."""
    store = FakeStore({7: Row(7, "n1", beat=3)})
    node = FakeNode(store)
    async with running(node):
        await anyio.sleep(10)
        node.way.lose_lines()
        await anyio.sleep(14.9)
        assert store.rows[7].alive
        await anyio.sleep(10)
        assert node.holder.may_act


async def test_after_another_server_took_over_all_accounts_are_compared() -> None:
    """Count and sum of the epochs would be the same here, though the accounts are others."""
    node = with_accounts(2)
    async with running(node):
        await anyio.sleep(7)
        first, second = sorted(node.store.accounts)
        node.store.accounts[first] = AccountRow("nowhere")
        node.store.accounts["forgotten"] = AccountRow("nowhere", owner=node.begun[0], epoch=1)
        node.store.server = "b"
        await anyio.sleep(3)
        assert [account for _, account in seen(node, "abort")] == [first]
        assert set(node.work.acting) == {second}


async def test_what_was_given_up_during_a_beat_is_not_dropped() -> None:
    """The answer is about what the node acted for when it asked."""
    node = with_accounts(2)
    async with running(node):
        await anyio.sleep(7)
        node.way.before = 2.0
        await anyio.sleep(2.5)
        assert times_of(node, "beat")[-1] == 9
        first = sorted(node.store.accounts)[0]
        node.holder.forget([first])
        node.store.accounts[first] = AccountRow("nowhere")
        await anyio.sleep(5)
        assert not seen(node, "abort")


async def test_the_timer_of_the_kernel_stays_while_links_do_not_close() -> None:
    """Also when the holder has ended."""
    node = with_accounts()
    async with running(node):
        await anyio.sleep(7)
        node.work.hangs = True
        node.process.cancel()
        await anyio.sleep(40)
        assert not node.dead_man.closed
        assert not node.dead_man.disarmed


async def test_a_node_does_not_take_the_place_of_one_that_lives() -> None:
    """Two nodes with one name: the second waits for as long as the first one beats."""
    store = FakeStore()
    store.add_accounts(1)
    first, second = FakeNode(store), FakeNode(store, acting={})
    second._numbers = iter(range(10**6, 2 * 10**6))  # type: ignore[assignment]
    async with running(first):
        await anyio.sleep(5)
        async with running(second):
            await anyio.sleep(100)
            assert first.holder.may_act
            assert not second.begun
            assert not second.work.acting
