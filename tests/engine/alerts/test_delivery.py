"""The delivery of alerts: messages go once, failures wait and are told by the others, and nothing is lost by an end."""

import json

import anyio
import pytest
from attrs import evolve

from engine.alerts.delivery import DURABLE_WITHIN, SEND_TIMEOUT, STOP_TIMEOUT
from states import alerts as law
from states.alerts import MessageKind
from tests.engine.alerts.support import START, Desk, LoopClock, incident

pytestmark = pytest.mark.virtual


async def test_an_incident_is_told_once_and_its_end_once() -> None:
    """Each of them is marked in the storage after it was sent."""
    desk = Desk()
    async with desk.runs():
        told = await desk.open()
        await anyio.sleep(1)
        assert desk.channel.subjects == ["⚠️ Account 1 has no connection"]
        assert desk.storage.alerts[1, "c"].message is MessageKind.REPEATED
        await anyio.sleep(840)
        await desk.close(told, missed="nothing")
        await anyio.sleep(1)
        assert desk.channel.subjects[1:] == ["✅ Over: Account 1 had no connection (it lasted 14 min 1 s)"]
        assert desk.storage.alerts[1, "c"].over
        await anyio.sleep(80_000)
        assert len(desk.channel.got) == 2


async def test_a_message_waits_until_it_is_due() -> None:
    """The wait ends by itself, and a blip makes no message."""
    desk = Desk(after=120.0)
    async with desk.runs():
        first = await desk.open(1)
        await desk.open(2)
        await anyio.sleep(60)
        await desk.close(first)
        await anyio.sleep(59)
        assert desk.channel.got == []
        await anyio.sleep(2)
        assert [at for at, _, _ in desk.channel.got] == [pytest.approx(120, abs=1)]


async def test_an_incident_is_repeated_until_it_is_acknowledged() -> None:
    """Every six hours."""
    desk = Desk()
    async with desk.runs():
        told = await desk.open(kind="needs_person", action="log in again")
        await anyio.sleep(13 * 3600)
        assert desk.channel.subjects == [
            "❌ Account 1 needs you: log in again",
            "❌ Still: Account 1 needs you: log in again (for 6 h now)",
            "❌ Still: Account 1 needs you: log in again (for 12 h now)",
        ]
        await desk.storage.save(desk.delivery.acked(evolve(told, acked=LoopClock().now())), 0)
        await anyio.sleep(48 * 3600)
        assert len(desk.channel.got) == 3


async def test_a_flood_becomes_a_digest() -> None:
    """Thirty incidents at once are one message that names each of them."""
    desk = Desk()
    for number in range(30):
        await desk.open(number)
    async with desk.runs():
        await anyio.sleep(10)
        assert len(desk.channel.got) == 1
        found = json.loads(desk.channel.data[0])["incidents"]
        assert [each["id"] for each in found] == list(range(30))
        for number in range(30, 50):
            await desk.open(number)
            await anyio.sleep(1)
        assert len(desk.channel.got) <= law.AT_MOST
        await anyio.sleep(400)
        told = [each["id"] for data in desk.channel.data for each in json.loads(data)["incidents"]]
        assert sorted(told) == list(range(50))


async def test_a_channel_that_fails_is_tried_again_and_told_by_the_others() -> None:
    """The first failure and the first success are reported; the other channel gets its message meanwhile."""
    desk = Desk("a", "b")
    desk.channels["a"].fails = RuntimeError("no route to it")
    async with desk.runs():
        await desk.open()
        await anyio.sleep(1)
        assert ("a", "no route to it") in desk.troubles
        assert len(desk.channels["b"].got) == 1
        await desk.open(2, kind="channel", cause="a", detail="alerts[0] (a): no route to it", accounts_total=0)
        await anyio.sleep(1)
        assert desk.channels["b"].subjects[1:] == ["⚠️ alerts do not get through: alerts[0] (a): no route to it"]
        await anyio.sleep(3600)
        assert 5 < desk.channels["a"].tries < 15
        desk.channels["a"].fails = None
        await anyio.sleep(900)
        assert desk.channels["a"].subjects == ["⚠️ Account 1 has no connection"]
        assert desk.troubles[-1] == ("a", None)


async def test_a_channel_that_hangs_is_a_failure_in_time() -> None:
    """A channel that keeps no deadline of its own holds nobody up."""
    desk = Desk()
    desk.channel.takes = 1e6
    async with desk.runs():
        await desk.open()
        await anyio.sleep(SEND_TIMEOUT + 2)
        assert desk.troubles == [("c", f"no answer within {SEND_TIMEOUT:g} s")]


async def test_a_trouble_is_told_while_nothing_can_be_stored() -> None:
    """Of a disk that is full, somebody has to hear, too."""
    desk = Desk()
    desk.storage.flushes_in = 1e9
    async with desk.runs():
        await desk.open(kind="storage", cause="disk full")
        await anyio.sleep(DURABLE_WITHIN + 1)
        assert desk.channel.subjects == ["⚠️ the engine cannot store: disk full"]


async def test_a_trouble_is_told_when_the_storage_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that has stopped because of a bug keeps no message from going, nor lets it go twice."""
    desk = Desk()

    async def broken(*_: object) -> None:
        raise RuntimeError("the writer stopped")

    async with desk.runs():
        told = incident(kind="storage", cause="engine.db")
        desk.delivery.opened(told)
        monkeypatch.setattr(desk.storage, "save", broken)
        monkeypatch.setattr(desk.storage, "flush", broken)
        await anyio.sleep(600)
        assert desk.channel.subjects == ["⚠️ the engine cannot store: engine.db"]


async def test_the_end_of_the_engine_lets_a_message_arrive() -> None:
    """It is marked, too; a channel that takes too long is left, and its message goes again after the next start."""
    desk = Desk("a", "b")
    desk.channels["a"].takes, desk.channels["b"].takes = 2.0, 20.0
    async with desk.runs():
        await desk.open()
        await anyio.sleep(1)
    assert anyio.current_time() <= 1.5 + STOP_TIMEOUT
    assert desk.storage.alerts[1, "a"].messages == 1
    assert desk.storage.alerts[1, "b"].message is MessageKind.OPENED


async def test_a_restart_goes_on_where_the_engine_was() -> None:
    """What was told is not told again; what was not is; a channel that is gone is forgotten, a new one hears it all."""
    before = Desk("a", "gone")
    before.channels["gone"].fails = RuntimeError("x")
    async with before.runs():
        told = await before.open()
        await anyio.sleep(1)
    after = Desk("a", "new")
    changed = after.delivery.restore(before.storage.alerts.values(), {"a": (START + 1,)}, [told])
    assert {(each.channel, each.over) for each in changed} == {("gone", True), ("new", False)}
    async with after.runs():
        await anyio.sleep(10)
        assert after.channels["a"].got == []
        assert len(after.channels["new"].got) == 1


async def test_an_incident_that_was_lost_with_its_database_is_told_no_more() -> None:
    """Its alert is over at the next start."""
    before = Desk()
    await before.open()
    after = Desk()
    (changed,) = after.delivery.restore(before.storage.alerts.values(), {}, [])
    assert changed.over
    assert after.delivery.waiting == 0


async def test_a_week_without_a_channel_is_told_in_the_log_only(caplog: pytest.LogCaptureFixture) -> None:
    """Old messages are given up; those of an open incident are not."""
    desk = Desk()
    desk.channel.fails = RuntimeError("x")
    async with desk.runs():
        told = await desk.open(1)
        await desk.open(2)
        await anyio.sleep(1)
        await desk.close(told)
        await anyio.sleep(8 * 86_400)
        desk.channel.fails = None
        await anyio.sleep(1000)
        assert [json.loads(data)["incidents"][0]["id"] for data in desk.channel.data] == [2]


async def test_a_clock_that_was_set_delays_nothing() -> None:
    """What is left of a wait stays the same."""
    desk = Desk(after=120.0)
    await desk.open()
    (moved,) = desk.delivery.clock_jumped(-50.0)
    assert moved.due == START + 70


async def test_accounts_that_join_are_in_the_next_message() -> None:
    """Without a message of their own."""
    desk = Desk(after=60.0)
    async with desk.runs():
        told = await desk.open()
        assert desk.delivery.changed(evolve(told, accounts=("A", "B"), accounts_total=2)) == ()
        await anyio.sleep(100)
        assert desk.channel.subjects == ["⚠️ A and B have no connection"]


async def test_an_incident_that_goes_on_in_another_one_is_told_as_that() -> None:
    """Fifty incidents that turn out to be a proxy's are one message, and fifty ends are none."""
    desk = Desk()
    async with desk.runs():
        told = await desk.open(1)
        await anyio.sleep(1)
        assert all(each.over for each in desk.delivery.merged(evolve(told, closed=LoopClock().now())))
        await desk.open(2, fleet=True, accounts=("A", "B"), accounts_total=2)
        await anyio.sleep(3 * 3600)
        assert desk.channel.subjects == ["⚠️ Account 1 has no connection", "⚠️ 2 accounts have no connection"]


async def test_new_files_get_everything_that_is_not_over() -> None:
    """When a database is lost while the engine runs, its alerts are not."""
    desk = Desk()
    told = await desk.open(1)
    await desk.open(2)
    async with desk.runs():
        await anyio.sleep(1)
        await desk.close(told)
        await anyio.sleep(1)
        assert [alert.about.id for alert in desk.delivery.everything()] == [2]


async def test_a_new_incident_is_no_event_for_one_that_is_over() -> None:
    """Numbers tell incidents apart."""
    desk = Desk()
    assert desk.delivery.closed(evolve(incident(9), closed=START)) == ()
    assert desk.delivery.acked(incident(9)) == ()
