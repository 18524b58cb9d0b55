"""``Delivery`` on one of several nodes: which messages it sends, and when nobody says whose they are."""

from collections.abc import Collection, Sequence

import anyio
import pytest
from attrs import define, evolve, field

from engine.alerts.delivery import ASK_EVERY
from states.alerts import ChannelAlert, MessageKind
from tests.engine.alerts.support import Desk, incident

pytestmark = pytest.mark.virtual


@define
class Answer:
    mine: tuple[ChannelAlert, ...]
    others: tuple[ChannelAlert, ...] = ()


@define
class FakeClaims:
    """Another node has all that is not ``mine``; it is asked again after 10 s."""

    mine: bool = True
    fails: Exception | None = None
    left: list[ChannelAlert] = field(factory=list)
    """What a dead node has left."""
    told: float | None = None
    asked: int = 0

    async def claim(self, alerts: Sequence[ChannelAlert], now: float) -> Answer:
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        if self.mine:
            return Answer(tuple(alerts))
        return Answer((), tuple(evolve(each, due=now + 10, told=self.told) for each in alerts))

    async def take_over(
        self, channels: Collection[str], now: float, known: Collection[tuple[int, str]]
    ) -> Sequence[ChannelAlert]:
        if self.fails is not None:
            raise self.fails
        found, self.left = [each for each in self.left if each.channel in channels], []
        return found


def desk_with(claims: FakeClaims) -> Desk:
    desk = Desk()
    desk.delivery.claims = claims
    return desk


async def test_what_another_node_sends_is_not_sent() -> None:
    """It is asked for again, and sent when that node has not done it."""
    claims = FakeClaims(mine=False)
    desk = desk_with(claims)
    async with desk.runs():
        await desk.open()
        await anyio.sleep(35)
        assert (desk.channel.tries, claims.asked) == (0, 4)
        claims.mine = True
        await anyio.sleep(10)
        assert len(desk.channel.got) == 1


async def test_the_end_of_what_another_node_has_told_is_told() -> None:
    """By whoever is asked for it: this node knows that it was told."""
    claims = FakeClaims(mine=False, told=5.0)
    desk = desk_with(claims)
    async with desk.runs():
        told = await desk.open()
        await anyio.sleep(1)
        claims.mine = True
        await desk.close(told)
        await anyio.sleep(1)
        assert len(desk.channel.got) == 1
        assert desk.delivery.waiting == 0


async def test_a_store_that_does_not_answer_holds_all_but_what_tells_of_it() -> None:
    """Else each node would send each message; nothing is lost, and it is all sent when the store answers."""
    claims = FakeClaims(fails=OSError("no route to the store"))
    desk = desk_with(claims)
    async with desk.runs():
        await desk.open(1)
        await desk.open(2, kind="storage")
        await anyio.sleep(3 * ASK_EVERY)
        assert len(desk.channel.got) == 1
        claims.fails = None
        await anyio.sleep(ASK_EVERY + 1)
        assert len(desk.channel.got) == 2
        assert desk.troubles == [("c", None)] * 2


async def test_the_messages_of_a_dead_node_are_sent() -> None:
    """Each once, and what is over meanwhile is told as over if it was told at all."""
    claims = FakeClaims()
    desk = desk_with(claims)
    async with desk.runs():
        begun = incident(1)
        over = evolve(incident(2), closed=incident().since)
        unheard = evolve(incident(3, opened=incident().since), closed=incident().since)
        claims.left = [
            ChannelAlert(channel="c", about=begun, message=MessageKind.OPENED, due=begun.opened),
            ChannelAlert(
                channel="c", about=over, message=MessageKind.REPEATED, due=begun.opened + 9999, told=1.0, messages=1
            ),
            ChannelAlert(channel="c", about=unheard, message=MessageKind.OPENED, due=begun.opened + 60),
        ]
        await anyio.sleep(ASK_EVERY + 1)
        assert len(desk.channel.got) == 2
        assert {key: (each.messages, each.over) for key, each in desk.storage.alerts.items()} == {
            (1, "c"): (1, False),
            (2, "c"): (2, True),
            (3, "c"): (0, True),
        }
