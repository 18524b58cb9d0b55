"""Another config's channels while the engine runs: nobody hears twice, nothing on its way is cut or doubled."""

from collections.abc import Mapping

import anyio
import pytest
from attrs import evolve

from engine.alerts.delivery import AlertOutlet
from states.alerts import About, ChannelRule, MessageKind
from tests.engine.alerts.support import Desk, FakeChannel, LoopClock, incident

pytestmark = pytest.mark.virtual


def outlets(channels: Mapping[str, FakeChannel], **rule: object) -> dict[str, AlertOutlet]:
    values = {"kinds": frozenset({"outage", "needs_person"}), "after": 0.0} | rule
    return {
        name: AlertOutlet(rule=ChannelRule(channel=name, **values), label=f"alerts[9] ({name})", channel=channel)  # type: ignore[arg-type]
        for name, channel in channels.items()
    }


async def use(desk: Desk, channels: Mapping[str, FakeChannel], *incidents: About, **rule: object) -> None:
    """Have the delivery use these channels, as a reload has: each is made anew."""
    await desk.storage.save(desk.delivery.use(outlets(channels, **rule), incidents), 0)


async def test_a_new_channel_hears_of_what_is_open_and_the_others_do_not_again() -> None:
    """With the end of the incident both are told of it."""
    desk, new = Desk("a"), FakeChannel()
    async with desk.runs():
        told = await desk.open()
        await anyio.sleep(1)
        await use(desk, {"a": FakeChannel(), "new": new}, told)
        await anyio.sleep(1)
        assert (len(desk.channel.got), len(new.got)) == (1, 1)
        await desk.close(told)
        await anyio.sleep(1)
        assert (len(desk.channel.got), len(new.got)) == (2, 2)


async def test_a_message_on_its_way_is_neither_cut_nor_sent_again() -> None:
    """However long it takes, and whatever else is new."""
    desk = Desk("a")
    desk.channel.takes = 20.0
    async with desk.runs():
        told = await desk.open()
        await anyio.sleep(1)
        for number in range(5):
            await use(desk, {"a": FakeChannel(), f"b{number}": FakeChannel()}, told)
            await anyio.sleep(2)
        await anyio.sleep(3600)
        assert desk.channel.tries == len(desk.channel.got) == 1
        assert desk.storage.alerts[1, "a"].messages == 1


async def test_a_removed_channel_is_told_nothing_more() -> None:
    """The message that is on its way ends, its failure is no news, and what was left is over."""
    desk = Desk("a", "b")
    desk.channels["a"].takes, desk.channels["a"].fails = 2.0, RuntimeError("x")
    async with desk.runs():
        told = await desk.open()
        await anyio.sleep(1)
        await use(desk, {"b": FakeChannel()}, told)
        await anyio.sleep(3600)
        await desk.close(told)
        await anyio.sleep(1)
        assert desk.channels["a"].tries == 1
        assert [name for name, why in desk.troubles if why] == []
        assert desk.storage.alerts[1, "a"].over
        assert len(desk.channels["b"].got) == 2


async def test_an_end_that_the_reload_overtakes_is_told() -> None:
    """The incident is no open one any more, and its end has not come through the file yet."""
    desk, new = Desk("a"), FakeChannel()
    async with desk.runs():
        told = await desk.open()
        await anyio.sleep(1)
        await use(desk, {"a": FakeChannel(), "new": new})
        await desk.close(told)
        await anyio.sleep(1)
        assert desk.channel.subjects[1].startswith("✅ Over")


async def test_a_channel_that_failed_is_tried_at_once() -> None:
    """Who reloads has mended something; the wait of many minutes ends."""
    desk = Desk("a")
    desk.channel.fails = RuntimeError("x")
    async with desk.runs():
        told = await desk.open()
        await anyio.sleep(1800)
        desk.channel.fails = None
        await use(desk, {"a": FakeChannel()}, told)
        await anyio.sleep(1)
        assert len(desk.channel.got) == 1
        assert desk.troubles[-1] == ("a", None)


async def test_another_rule_counts_at_once() -> None:
    """A kind that is not wanted any more is told no more, and a shorter wait is waited."""
    desk = Desk("a", after=7200.0)
    async with desk.runs():
        first = await desk.open(1, since=LoopClock().now() - 600)
        second = await desk.open(2, kind="flapping")
        await use(desk, {"a": FakeChannel()}, first, second, after=60.0)
        await anyio.sleep(1)
        assert desk.channel.subjects == ["⚠️ Account 1 has no connection"]
        assert desk.storage.alerts[2, "a"].over
        await use(desk, {"a": FakeChannel()}, first, second, after=60.0, repeat=None)
        await anyio.sleep(48 * 3600)
        assert len(desk.channel.got) == 1


async def test_channels_that_come_go_and_come_again_are_served_once() -> None:
    """Each has one task, however fast the reloads follow each other."""
    desk = Desk("a")
    async with desk.runs():
        for _ in range(5):
            await use(desk, {})
            await use(desk, {"a": desk.channel})
        await desk.storage.save(desk.delivery.opened(incident()), 0)
        await anyio.sleep(1)
        assert len(desk.channel.got) == 1


async def test_the_end_of_the_engine_after_a_reload_lets_a_message_arrive() -> None:
    """As without one."""
    desk, new = Desk("a"), FakeChannel()
    new.takes = 2.0
    async with desk.runs():
        told = await desk.open()
        await anyio.sleep(1)
        await use(desk, {"a": FakeChannel(), "new": new}, told)
        await anyio.sleep(1)
    assert desk.storage.alerts[1, "new"].messages == 1


async def test_what_was_missed_is_said_at_the_end() -> None:
    """It is asked for when the message goes; whoever knows nothing in time, or fails, does not hold it up."""
    desk = Desk("a")
    answers = iter(["5 updates", "", None])

    async def missed(about: About) -> str:
        if (answer := next(answers)) is None:
            await anyio.sleep_forever()
        assert about.closed is not None
        return answer or ""

    desk.delivery.missed = missed
    async with desk.runs():
        for number in range(1, 4):
            told = await desk.open(number)
            await anyio.sleep(1)
            await desk.close(told)
            await anyio.sleep(400)
        bodies = [body for _, _, body in desk.channel.got if "What was missed" in body]
        assert ["5 updates" in body for body in bodies] == [True, False, False]
        assert ["nothing is known to be missing" in body for body in bodies] == [False, True, True]


async def test_an_alert_that_is_stored_late_is_stored_as_it_is_then() -> None:
    """What was sent meanwhile is not marked as unsent again; what is over meanwhile was stored with its end."""
    desk = Desk("a")
    told = incident()
    (alert,) = desk.delivery.opened(told)
    (acked,) = desk.delivery.acked(evolve(told, acked=told.since))
    assert desk.delivery.as_it_is(alert) == acked != alert
    (dropped,) = desk.delivery.use({}, [told])
    assert dropped.message is not MessageKind.OPENED
    assert desk.delivery.as_it_is(dropped) == dropped
    assert desk.delivery.as_it_is(alert) is None
