"""A day of proofs in virtual time, with a client's own count of updates: only numbers that stand still are reported."""

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from telethon._updates import EntityCache, MessageBox
from telethon._updates.entitycache import EntityType
from telethon._updates.session import ChannelState, Entity, SessionState
from telethon.tl import types
from telethon.tl.types.messages import PeerDialogs
from telethon.tl.types.updates import State

from adapters.telegram.inbox import Inbox
from adapters.telegram.telethon_log import TELETHON_LOGGER, OneLogger
from adapters.telegram.update_proof import ProofMemory, UpdateProof
from states import Event
from states.events import UpdatesConfirmed, UpdatesStalled
from tests.virtual_time import virtually

DAY = 24 * 3600.0
PROVE_EVERY = 60.0
CHANNELS = range(1, 8)


class Datacenter:
    """The numbers of one account and its channels, and the client that is pushed what happens there."""

    def __init__(self) -> None:
        self.box = MessageBox(OneLogger(TELETHON_LOGGER.name))
        cache = EntityCache()
        for channel in CHANNELS:
            cache.put(Entity(EntityType.CHANNEL, channel, 1))
        self.box.load(SessionState(0, 0, False, 1, 0, 1, 1, None), [ChannelState(each, 1) for each in CHANNELS])
        self.numbers = dict.fromkeys((0, *CHANNELS), 1)
        self.told: list[Event] = []
        self.asked = 0
        client: Any = SimpleNamespace(
            _message_box=self.box, _mb_entity_cache=cache, inbox=Inbox(), differences=None,
            session=SimpleNamespace(login=""),
        )  # fmt: skip
        self.proof = UpdateProof(
            client, 1, "A", ProofMemory(), self.told.append, self._answer, lambda kind: kind == "GetDialogs"
        )

    async def post(self, box: int, delay: float) -> None:
        """Let something happen, of which the client hears a while later."""
        self.numbers[box] += 1
        await anyio.sleep(delay)
        entry = next(each for each in self.box.map if each == box or (box == 0 and not isinstance(each, int)))
        self.box.map[entry].pts += 1

    async def prove(self) -> None:
        """Prove the link once; the answer takes a moment."""
        self.proof.begin()
        number = self.numbers[0]
        await anyio.sleep(0.1)
        self.proof.take(State(number, 0, None, 1, 0))

    def _answer(self, request: Any) -> "asyncio.Future[Any]":
        self.asked += 1
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        channels = [each.peer.channel_id for each in request.peers]
        dialogs = [
            types.Dialog(
                types.PeerChannel(each), 1, 1, 1, 0, 0, 0, 0, types.PeerNotifySettings(), pts=self.numbers[each]
            )
            for each in channels
        ]
        found = PeerDialogs(dialogs, [], [], [], State(1, 0, None, 1, 0))
        loop.call_later(0.2, lambda: None if answer.done() else answer.set_result(found))
        return answer


async def a_day(datacenter: Datacenter, rng: random.Random | None) -> None:
    """Let a day pass: with messages at random, or without any."""
    async with anyio.create_task_group() as tasks:

        async def talk() -> None:
            while rng is not None:
                await anyio.sleep(rng.expovariate(1 / 20))
                tasks.start_soon(datacenter.post, rng.choice((0, *CHANNELS)), rng.choice((0.0, 0.3, 9.0)))

        tasks.start_soon(talk)
        while anyio.current_time() < DAY:
            await datacenter.prove()
            await anyio.sleep(PROVE_EVERY)
        tasks.cancel_scope.cancel()
    datacenter.proof.close()


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_day_without_a_stall_accuses_nobody(seed: int | None) -> None:
    """Of silence, and of messages that are under way when the datacenter is asked; channels are asked once a minute."""

    async def main() -> Datacenter:
        datacenter = Datacenter()
        await a_day(datacenter, None if seed is None else random.Random(seed))
        return datacenter

    datacenter = virtually(main)
    assert [type(event) for event in datacenter.told] == [UpdatesConfirmed]
    assert DAY / 60 * 0.95 < datacenter.asked <= DAY / 55


@pytest.mark.parametrize("box", [0, 3])
def test_what_stands_still_is_noticed_within_ninety_seconds(box: int) -> None:
    """By default, whenever it began between two proofs."""

    async def main(after: float) -> float:
        datacenter = Datacenter()
        async with anyio.create_task_group() as tasks:

            async def prove() -> None:
                while True:
                    await datacenter.prove()
                    await anyio.sleep(PROVE_EVERY)

            tasks.start_soon(prove)
            await anyio.sleep(300.0 + after)
            datacenter.numbers[box] += 1
            began = anyio.current_time()
            while not any(isinstance(event, UpdatesStalled) for event in datacenter.told):
                await anyio.sleep(0.1)
            tasks.cancel_scope.cancel()
        datacenter.proof.close()
        return anyio.current_time() - began

    for after in range(0, 60, 7):
        assert virtually(lambda after=after: main(after)) <= 90.0  # type: ignore[misc]
