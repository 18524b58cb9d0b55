"""Incidents and alerts that several nodes see: one row, one message, and none that is forgotten."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import anyio.to_thread
import pytest
from attrs import evolve

from adapters.postgres import Fenced
from adapters.postgres.incident_statements import RANGE
from adapters.postgres.outbox import ORPHANED
from adapters.stores.alerts import ASK_AGAIN
from adapters.system import SystemClock
from engine.alerts.delivery import AlertOutlet, Delivery
from states.alerts import KINDS, ChannelAlert, ChannelRule, MessageKind, about
from states.incident import Incident, Severity
from states.incidents import AccountGone, Closed, Elapsed, Opened
from tests.engine.alerts.support import FakeChannel
from tests.postgres.support import connected, waits_for_lock
from tests.states.incident_support import BEGIN, Told, down, journal, names, needs, person, well
from tests.states.incident_support import full as full_disk
from tests.storage.incident_stores import stored_incidents
from tests.storage.postgres_incidents import NodeParts, PostgresIncidentDatabase
from tests.timeouts import TIMEOUT

CHANNEL = "json-1"


@pytest.fixture
def fleet(store_url: str) -> PostgresIncidentDatabase:
    """Return an empty store for several nodes."""
    return PostgresIncidentDatabase(store_url)


@asynccontextmanager
async def nodes(fleet: PostgresIncidentDatabase, *of: str) -> AsyncIterator[list[tuple[NodeParts, Told]]]:
    """Run nodes of these names, each with the book with which it begins."""
    async with AsyncExitStack() as stack:
        found = []
        for name in of:
            node = await stack.enter_async_context(fleet.engine(name))
            found.append((node, Told(book=await node.incidents.restore(BEGIN))))
        yield found


def cut(law: Told, accounts: list[str]) -> Incident:
    """Let all these accounts lose their proxy; return the incident that this is."""
    law.tell(*map(down, accounts))
    law.wait(130)
    (incident,) = law.open
    assert incident.fleet
    return incident


def alert_of(incident: Incident) -> ChannelAlert:
    """Return what a channel is to be told of an incident that has begun."""
    return ChannelAlert(
        channel=CHANNEL, about=about(incident), message=MessageKind.OPENED, due=incident.opened, told=None
    )


async def keep(node: NodeParts, law: Told, alert: ChannelAlert | None = None, seen: int = 0) -> None:
    """Store what a law has said since then, and an alert with it."""
    also = [] if alert is None else [node.outbox.row_of(alert, law.now)]
    await node.incidents.keep(law.changes[seen:], also)
    await node.incidents.flush()


# --- incidents -------------------------------------------------------------------------------------------------------


async def test_each_node_has_numbers_of_its_own(fleet: PostgresIncidentDatabase) -> None:
    """Also of those that begin at the same time; a node that begins anew goes on with its own."""
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(fleet.engine(f"node {number}")) for number in range(4)]
        books = await asyncio.gather(*(node.incidents.restore(BEGIN) for node in running))
        assert sorted(book.next_id for book in books) == [number * RANGE + 1 for number in range(4)]
        law = Told(book=books[2])
        law.tell(needs("A"), needs("B"))
        await keep(running[2], law)
    async with fleet.engine("node 2") as again:
        assert (await again.incidents.restore(BEGIN)).next_id == law.book.next_id


async def test_a_node_that_has_given_half_of_its_numbers_gets_others(fleet: PostgresIncidentDatabase) -> None:
    """So that no life of it can come to the numbers of another node."""
    async with nodes(fleet, "one", "two"):
        fleet.execute(f"UPDATE incident_ranges SET last = first + {RANGE // 2} WHERE node = 'one'")
    async with fleet.engine("one") as node:
        assert (await node.incidents.restore(BEGIN)).next_id == 2 * RANGE + 1


async def test_a_way_that_many_nodes_have_lost_is_one_incident(fleet: PostgresIncidentDatabase) -> None:
    """With the accounts of all, from the first trouble on, until the last node has its accounts back."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        second.now += 30
        mine, other = cut(first, names(12)), cut(second, ["X", "Y", "Z"])
        await keep(two, second)
        await keep(one, first)
        (row,) = stored_incidents(fleet)
        assert (row.id, row.accounts) == (other.id, (*names(12), "X", "Y", "Z"))
        assert (row.since, row.opened, row.closed) == (mine.since, mine.opened, None)
        seen = len(second.changes)
        second.tell(*map(well, ["X", "Y", "Z"]))
        second.wait(400)
        await keep(two, second, seen=seen)
        assert second.open == []
        assert [each.is_open for each in stored_incidents(fleet)] == [True]
        seen = len(first.changes)
        first.tell(*map(well, names(12)))
        first.wait(1000)
        await keep(one, first, seen=seen)
        (row,) = stored_incidents(fleet)
        assert row.closed == max(each.closed or 0.0 for each in (*first.closed, *second.closed))
        with fleet.reader() as reader:
            assert reader.left(row.id).keys() == set(row.accounts)
            assert reader.inside() == []


async def test_nodes_that_see_it_at_the_same_time_make_one_incident(fleet: PostgresIncidentDatabase) -> None:
    """Whoever is first: each waits for the others that store an incident."""
    async with nodes(fleet, *"abcdef") as running:
        for _, law in running:
            cut(law, names(5))
        # All of them have looked for an incident before one can store its own.
        async with connected(fleet.url) as other, anyio.create_task_group() as tasks, other.transaction():
            await other.execute("LOCK TABLE incidents IN SHARE ROW EXCLUSIVE MODE")
            for node, law in running:
                tasks.start_soon(keep, node, law)
            await waits_for_lock(other, len(running))
        assert len(stored_incidents(fleet)) == 1
        assert fleet.rows("SELECT count(*), count(DISTINCT life) FROM incident_parts") == [(6, 6)]


async def test_any_of_its_numbers_acknowledges_it_for_all_nodes(fleet: PostgresIncidentDatabase) -> None:
    """A message of one node names the number that this node knows."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        mine, other = cut(first, names(12)), cut(second, names(12))
        await keep(one, first)
        await keep(two, second)
        incident, noted = fleet.acknowledge(other.id, 5.0)
        assert incident is not None
        assert (incident.id, incident.acked, noted) == (mine.id, 5.0, True)
        assert await one.incidents.acknowledged() == {mine.id}
        assert await two.incidents.acknowledged() == {other.id}
        await one.incidents.keep_all(first.book)
        await one.incidents.flush()
        assert stored_incidents(fleet)[0].acked == 5.0


async def test_what_opened_alone_goes_on_in_the_incident_of_the_fleet(fleet: PostgresIncidentDatabase) -> None:
    """A node that finds later that its account shares the trouble of another node's."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        shared = cut(first, names(12))
        await keep(one, first)
        second.tell(*map(well, ["X", "Y", "Z"]))
        second.tell(down("X"))
        second.wait(130)
        (alone,) = second.open
        await keep(two, second, alert_of(alone))
        assert [each.id for each in stored_incidents(fleet, open_only=True)] == [shared.id, alone.id]
        seen = len(second.changes)
        second.tell(down("Y"), down("Z"))
        second.wait(130)
        assert [(each.id, each.fleet) for each in second.open] == [(alone.id, True)]
        await keep(two, second, seen=seen)
        (row,) = stored_incidents(fleet, open_only=True)
        assert (row.id, row.accounts) == (shared.id, (*names(12), "X", "Y", "Z"))
        assert [each.is_open for each in stored_incidents(fleet)] == [True, False]
        with fleet.reader() as reader:
            assert reader.incident(alone.id) == row
        assert fleet.rows(f"SELECT over FROM alerts WHERE incident = {alone.id}") == [(True,)]


@pytest.mark.parametrize("fleet_wide", [False, True])
async def test_other_troubles_are_other_incidents(fleet: PostgresIncidentDatabase, fleet_wide: bool) -> None:
    """Of another account, for another reason, of another way."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        if fleet_wide:
            cut(first, names(12))
            second.tell(*(down(each, scopes=("the proxy b", "the network")) for each in names(12)))
            second.wait(130)
        else:
            first.tell(needs("A"), needs("B"))
            second.tell(needs("A", person("pay")), needs("C"))
        await keep(one, first)
        await keep(two, second)
        assert len(stored_incidents(fleet)) == len(first.open) + len(second.open)


async def test_a_part_of_the_engine_is_one_incident_too(fleet: PostgresIncidentDatabase) -> None:
    """A trouble of no account, which two nodes have, such as jobs of a kind that fail."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        for node, law in ((one, first), (two, second)):
            law.tell(journal(full_disk()))
            law.wait(130)
            await keep(node, law)
        (row,) = stored_incidents(fleet)
        assert (row.accounts, row.severity) == ((), Severity.CRITICAL)


async def test_an_account_takes_its_incident_along(fleet: PostgresIncidentDatabase) -> None:
    """Its next owner finds the same trouble: one incident, which stays acknowledged, and ends with that owner."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        first.tell(needs("A"))
        await keep(one, first)
        fleet.acknowledge(1, 5.0)
        fleet.die(one.life)
        second.now += 60
        second.tell(needs("A"))
        await keep(two, second)
        assert await two.incidents.acknowledged() == {RANGE + 1}
        (row,) = stored_incidents(fleet, open_only=True)
        assert (row.id, row.acked, row.accounts) == (1, 5.0, ("A",))
        seen = len(second.changes)
        second.tell(AccountGone("A"))
        await keep(two, second, seen=seen)
        assert [each.is_open for each in stored_incidents(fleet)] == [False]
        with fleet.reader() as reader:
            assert reader.inside() == []


async def test_what_nobody_goes_on_with_ends(fleet: PostgresIncidentDatabase) -> None:
    """Not before the next owners have had their time, and not while the node itself may come back to it."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        first.tell(needs("A"))
        await keep(one, first)
        await two.outbox.take_over([CHANNEL], second.now)
        fleet.die(one.life, ORPHANED - 60)
        await two.outbox.take_over([CHANNEL], second.now)
        assert [each.is_open for each in stored_incidents(fleet)] == [True]
        fleet.die(one.life, ORPHANED + 1)
        await two.outbox.take_over([CHANNEL], second.now + 50)
        assert [each.closed for each in stored_incidents(fleet)] == [second.now + 50]


async def test_a_node_that_comes_back_goes_on_with_its_own(fleet: PostgresIncidentDatabase) -> None:
    """And with those of no other node."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        first.tell(needs("A"))
        second.tell(needs("B"))
        await keep(one, first)
        await keep(two, second)
    async with fleet.engine("one") as again:
        book = await again.incidents.restore(BEGIN)
        assert [each.accounts for each in book.open.values()] == [("A",)]
        law = Told(book=book)
        law.tell(Elapsed(), AccountGone("A"))
        await keep(again, law)
    assert [each.is_open for each in stored_incidents(fleet)] == [False, True]


async def test_a_dead_node_changes_nothing(fleet: PostgresIncidentDatabase) -> None:
    """Neither incidents nor alerts, from the moment that others have declared it dead."""
    async with nodes(fleet, "one") as [(one, law)]:
        law.tell(needs("A"))
        fleet.die(one.life)
        await one.incidents.keep(law.changes)
        with pytest.raises(Fenced):
            await one.incidents.flush()
        with pytest.raises(Fenced):
            await one.outbox.claim([alert_of(law.open[0])], law.now)
        with pytest.raises(Fenced):
            await one.outbox.take_over([CHANNEL], law.now)
        with pytest.raises(Fenced):
            await one.incidents.restore(law.now)
    assert fleet.rows("SELECT (SELECT count(*) FROM incidents), (SELECT count(*) FROM alerts)") == [(0, 0)]


# --- alerts ----------------------------------------------------------------------------------------------------------


async def shared_alerts(one: NodeParts, first: Told, two: NodeParts, second: Told) -> tuple[ChannelAlert, ChannelAlert]:
    """Have two nodes store an incident of both, with its alert; return the alert as each of them knows it."""
    found = alert_of(cut(first, names(12))), alert_of(cut(second, names(12)))
    for node, law, alert in ((one, first, found[0]), (two, second, found[1])):
        await keep(node, law, alert)
    return found


async def test_one_node_sends(fleet: PostgresIncidentDatabase) -> None:
    """The other one asks again later, and hears then what was told."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        mine, other = await shared_alerts(one, first, two, second)
        now = first.now
        asked = [await two.outbox.claim([other], now), await one.outbox.claim([mine], now)]
        assert asked[0].mine == ()
        assert asked[0].others == (evolve(other, due=now + ASK_AGAIN),)
        assert asked[1].mine == (mine,)
        told = evolve(mine, message=MessageKind.REPEATED, due=now + 500, told=now, messages=1)
        await one.outbox.save([told], now)
        await one.outbox.flush()
        (known,) = (await two.outbox.claim([other], now)).others
        assert (known.told, known.messages, known.message) == (now, 1, MessageKind.OPENED)


async def test_of_nobody_s_message_one_node_is_the_sender(fleet: PostgresIncidentDatabase) -> None:
    """However many ask at the same time."""
    async with nodes(fleet, *"abcdef") as running:
        alerts = [alert_of(cut(law, names(5))) for _, law in running]
        for (node, law), alert in zip(running, alerts, strict=True):
            await keep(node, law, alert)
        fleet.execute("UPDATE alerts SET life = NULL")
        now = running[0][1].now
        claims = await asyncio.gather(
            *(node.outbox.claim([alert], now) for (node, _), alert in zip(running, alerts, strict=True))
        )
        assert sum(len(claim.mine) for claim in claims) == 1
        again = [await node.outbox.claim([alert], now) for (node, _), alert in zip(running, alerts, strict=True)]
        assert [len(claim.mine) for claim in again] == [len(claim.mine) for claim in claims]


async def test_a_dead_node_s_message_is_sent_by_another(fleet: PostgresIncidentDatabase) -> None:
    """Which begins where the dead one was: what was told is not told again before its time."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        _, other = await shared_alerts(one, first, two, second)
        now = first.now
        fleet.die(one.life)
        assert (await two.outbox.claim([other], now)).mine == (other,)
        fleet.execute(f"UPDATE alerts SET life = {one.life}, told = {now}, message = 'repeated', due = {now + 50}")
        claim = await two.outbox.claim([other], now)
        assert claim.mine == ()
        assert claim.others == (evolve(other, message=MessageKind.REPEATED, due=now + 50, told=now),)
        assert (await two.outbox.claim(claim.others, now + 50)).mine == claim.others
        fleet.execute(f"UPDATE alerts SET life = {one.life}, message = NULL, due = NULL")
        (known,) = (await two.outbox.claim([other], now)).others
        assert (known.message, known.told) == (None, now), "it was acknowledged, and is not to be repeated"


async def test_the_end_is_told_when_it_is_over_for_all(fleet: PostgresIncidentDatabase) -> None:
    """A node for which it is over first leaves the alert to the others, and says nothing."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        mine, other = await shared_alerts(one, first, two, second)
        told = evolve(mine, message=MessageKind.REPEATED, due=first.now + 500, told=first.now, messages=1)
        await one.outbox.save([told], first.now)
        await one.outbox.flush()
        (known,) = (await two.outbox.claim([other], first.now)).others
        seen = len(first.changes)
        first.tell(*map(well, names(12)))
        first.wait(400)
        (closed,) = [each.incident for each in first.changes[seen:] if isinstance(each, Closed)]
        end = evolve(told, about=about(closed), message=MessageKind.CLOSED, due=first.now)
        await keep(one, first, end, seen)
        early = await one.outbox.claim([end], first.now)
        assert early.mine == ()
        assert [each.over for each in early.others] == [True]
        assert fleet.rows("SELECT message, told, life FROM alerts") == [("repeated", told.told, None)]
        seen = len(second.changes)
        second.tell(*map(well, names(12)))
        second.wait(400)
        (closed,) = [each.incident for each in second.changes[seen:] if isinstance(each, Closed)]
        end = evolve(known, about=about(closed), message=MessageKind.CLOSED, due=second.now)
        await keep(two, second, end, seen)
        assert (await two.outbox.claim([end], second.now)).mine == (end,)
        over = evolve(end, message=None, due=None, messages=2)
        await two.outbox.save([over], second.now)
        await two.outbox.flush()
        assert fleet.rows("SELECT over, messages FROM alerts") == [(True, 2)]


@pytest.mark.parametrize("order", ["says so before", "says so after"])
async def test_a_claim_whose_answer_comes_too_late_loses_no_end(fleet: PostgresIncidentDatabase, order: str) -> None:
    """A node whose own incident ends meanwhile, of which nothing was told as far as it knows, hears what was told."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        mine, other = await shared_alerts(one, first, two, second)
        told = evolve(mine, message=MessageKind.REPEATED, due=first.now + 500, told=first.now, messages=1)
        await one.outbox.save([told], first.now)
        seen = len(first.changes)
        first.tell(*map(well, names(12)))
        first.wait(400)
        await keep(one, first, evolve(told, message=MessageKind.CLOSED, due=first.now), seen)
        second.tell(*map(well, names(12)))
        second.wait(400)
        (closed,) = [each.incident for each in second.changes if isinstance(each, Closed)]
        stale = evolve(other, about=about(closed), message=None, due=None)
        assert stale.over
        if order == "says so before":
            await keep(two, second, stale)
            await two.outbox.claim([other], second.now)  # the answer never arrives
        else:
            await two.outbox.claim([other], second.now)
            await keep(two, second, stale)
        await two.outbox.flush()
        assert fleet.rows("SELECT messages, over FROM alerts") == [(1, False)]
        knows = [(other.about.id, CHANNEL)]
        if order == "says so before":
            assert await two.outbox.take_over([CHANNEL], second.now, knows) == ()
        (found,) = await two.outbox.take_over([CHANNEL], second.now)
        assert (found.told, found.messages, found.about.closed is not None) == (told.told, 1, True)


async def test_what_a_node_has_taken_over_a_moment_ago_is_known_as_it_was_told(
    fleet: PostgresIncidentDatabase,
) -> None:
    """Its claim knows more than it does: the message that another node has sent is not sent again."""
    async with nodes(fleet, "one", "two") as [(one, first), (two, second)]:
        mine, other = await shared_alerts(one, first, two, second)
        told = evolve(mine, message=MessageKind.REPEATED, due=first.now + 500, told=first.now, messages=1)
        await one.outbox.save([told], first.now)
        await one.outbox.flush()
        fleet.die(one.life)
        assert len(await two.outbox.take_over([CHANNEL], first.now + 500)) == 1
        claim = await two.outbox.claim([other], second.now)
        assert claim.mine == ()
        assert [(each.message, each.told, each.messages) for each in claim.others] == [
            (MessageKind.REPEATED, told.told, 1)
        ]


async def test_a_message_of_which_no_other_node_knows_is_taken_over(fleet: PostgresIncidentDatabase) -> None:
    """When it is due, by one node; one that is not due yet stays."""
    async with nodes(fleet, "one", "two", "three") as [(one, law), (two, _), (three, _)]:
        law.tell(needs("A"), needs("B"))
        alerts = [alert_of(each) for each in law.open]
        later = evolve(alerts[1], due=law.now + 50)
        await one.incidents.keep(law.changes, [one.outbox.row_of(each, law.now) for each in (alerts[0], later)])
        await one.incidents.flush()
        assert await two.outbox.take_over([CHANNEL], law.now) == (), "its node lives"
        fleet.die(one.life)
        assert await two.outbox.take_over(["another"], law.now) == ()
        found = await asyncio.gather(*(node.outbox.take_over([CHANNEL], law.now) for node in (two, three)))
        assert sorted(found, key=len) == [(), (alerts[0],)]
        assert await two.outbox.take_over([CHANNEL], law.now + 50) == (later,)


async def test_the_end_of_a_dead_node_s_incident_is_told(fleet: PostgresIncidentDatabase) -> None:
    """What is taken over says that it is over."""
    async with nodes(fleet, "one", "two") as [(one, law), (two, _)]:
        law.tell(needs("A"))
        told = evolve(alert_of(law.open[0]), message=MessageKind.REPEATED, due=law.now + 5000, told=law.now)
        await keep(one, law, told)
        fleet.die(one.life, ORPHANED + 1)
        (found,) = await two.outbox.take_over([CHANNEL], law.now + 9)
        assert found == evolve(told, about=evolve(told.about, closed=law.now + 9))


async def test_a_node_that_comes_back_has_its_messages(fleet: PostgresIncidentDatabase) -> None:
    """What another one has taken over meanwhile is that one's."""
    async with nodes(fleet, "one", "two") as [(one, law), (two, _)]:
        law.tell(needs("A"), needs("B"))
        alerts = [alert_of(each) for each in law.open]
        late = evolve(alerts[1], due=law.now + 50)
        await one.incidents.keep(law.changes, [one.outbox.row_of(each, law.now) for each in (alerts[0], late)])
        await one.incidents.flush()
        fleet.die(one.life)
        assert await two.outbox.take_over([CHANNEL], law.now) == (alerts[0],)
        async with fleet.engine("one") as again:
            await again.incidents.restore(law.now)
            assert (await again.outbox.load(law.now)).alerts == (late,)


# --- two engines that send -------------------------------------------------------------------------------------------


class Sends:
    """A node's delivery, by a channel that all nodes have."""

    def __init__(self, node: NodeParts, law: Told, channel: FakeChannel) -> None:
        self.node, self.law = node, law
        rule = ChannelRule(channel=CHANNEL, kinds=frozenset(KINDS), after=0.0)
        outlet = AlertOutlet(rule=rule, label="alerts[0] (json)", channel=channel)
        self.delivery = Delivery(
            outlets={CHANNEL: outlet}, storage=node.outbox, clock=SystemClock(), claims=node.outbox
        )

    async def keep(self, seen: int = 0) -> None:
        """Store what the law has said since then, with what is to be told of it."""
        alerts: list[ChannelAlert] = []
        for change in self.law.changes[seen:]:
            match change:
                case Opened():
                    alerts += self.delivery.opened(about(change.incident))
                case Closed():
                    alerts += self.delivery.closed(about(change.incident))
        rows = [self.node.outbox.row_of(each, time.time()) for each in alerts]
        await self.node.incidents.keep(self.law.changes[seen:], rows)
        await self.node.incidents.flush()

    async def end(self, accounts: list[str]) -> None:
        """Let the incident be over for this node."""
        seen = len(self.law.changes)
        self.law.tell(*map(well, accounts))
        self.law.wait(400)
        await self.keep(seen)


@pytest.mark.parametrize("story", ["the sender ends first", "the sender ends last", "the sender dies"])
async def test_each_message_is_sent_once(
    fleet: PostgresIncidentDatabase, monkeypatch: pytest.MonkeyPatch, story: str
) -> None:
    """For two nodes with one incident, whichever ends it first, also when the one that has told of it dies."""
    monkeypatch.setattr("adapters.postgres.outbox.ASK_AGAIN", 0.02)
    monkeypatch.setattr("engine.alerts.delivery.ASK_EVERY", 0.02)
    channel, begin = FakeChannel(), time.time() - 600
    async with AsyncExitStack() as stack:
        both = []
        for name in ("one", "two"):
            node = await stack.enter_async_context(fleet.engine(name))
            law = Told(book=await node.incidents.restore(begin), now=begin)
            cut(law, names(12))
            both.append(Sends(node, law, channel))
        async with anyio.create_task_group() as tasks:
            for each in both:
                tasks.start_soon(each.delivery.run)
                await each.keep()
            await until(lambda: fleet.rows("SELECT messages FROM alerts") == [(1,)])
            if story == "the sender dies":
                fleet.die(both[0].node.life, ORPHANED + 1)
                await both[1].end(names(12))
            else:
                for each in both if story == "the sender ends first" else reversed(both):
                    await each.end(names(12))
            await until(lambda: fleet.rows("SELECT messages, over FROM alerts") == [(2, True)])
            tasks.cancel_scope.cancel()
    assert [subject.split(" ")[0] for subject in channel.subjects] == ["❌", "✅"]


async def until(condition: Callable[[], bool]) -> None:
    """Return when this is so."""
    with anyio.fail_after(TIMEOUT):
        while not await anyio.to_thread.run_sync(condition):
            await anyio.sleep(0.02)
