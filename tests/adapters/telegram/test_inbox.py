"""Every update reaches every handler once, whatever becomes of the clients that it came by."""

import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telethon import events
from telethon.tl.types.updates import State

from adapters.sandbox import Fault, FaultKind
from adapters.telegram import TelegramConnector, TelegramLink
from adapters.telegram.engine_session import MAX_CAPTURED, SessionMemory
from adapters.telegram.inbox import Inbox
from states.events import CaughtUp
from tests.adapters.telegram.harness import PHONE, DatacenterHarness, events_of
from tests.timeouts import TIMEOUT


@asynccontextmanager
async def delivering(connector: TelegramConnector) -> AsyncIterator[None]:
    """Let the handlers run for the length of the block."""
    async with anyio.create_task_group() as tasks:
        connector.deliver(tasks.start_soon)
        yield
        tasks.cancel_scope.cancel()
    connector.deliver(None)


@asynccontextmanager
async def linked(connector: TelegramConnector, number: int = 1) -> AsyncIterator[TelegramLink]:
    """Keep a link open, and read its events."""
    link = connector.link(number)

    async def read() -> None:
        async for _ in events_of(link):
            pass

    try:
        assert type((await link.open(timeout=TIMEOUT))[-1]).__name__ == "Connected"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            yield link
            tasks.cancel_scope.cancel()
    finally:
        await link.close(timeout=TIMEOUT)


async def until(seen: list[Any], count: int) -> None:
    """Wait until so much was seen."""
    with anyio.fail_after(TIMEOUT):
        while len(seen) < count:
            await anyio.sleep(0.01)


def listening(connector: TelegramConnector) -> list[str]:
    """Register a handler, and return the list of texts that it hears."""
    heard: list[str] = []

    async def note(event: Any) -> None:
        heard.append(event.raw_text)

    connector.on(note, events.NewMessage())
    return heard


class Handling:
    """A handler of an account that takes until the test lets it go."""

    def __init__(self, connector: TelegramConnector) -> None:
        self.begun, self.let_go = anyio.Event(), anyio.Event()
        self.calls: list[str] = []
        connector.on(self._handle, events.NewMessage())

    async def _handle(self, event: Any) -> None:
        self.calls.append(event.raw_text)
        self.begun.set()
        await self.let_go.wait()
        self.calls.append("done")

    async def begun_in_time(self) -> None:
        """Wait until it was called."""
        with anyio.fail_after(TIMEOUT):
            await self.begun.wait()


async def test_messages_of_an_outage_arrive_once_and_in_order(harness: DatacenterHarness) -> None:
    """What came live, while away, and after the return is heard once each, over three clients."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account):
            for number in range(3):
                async with linked(account, number + 1):
                    await dc.push(PHONE, f"live {number}")
                    await until(heard, 2 * number + 1)
                await dc.push(PHONE, f"away {number}")
            async with linked(account, 9):
                await until(heard, 6)
                await dc.push(PHONE, "the end")
                await until(heard, 7)
    assert heard == ["live 0", "away 0", "live 1", "away 1", "live 2", "away 2", "the end"]


async def test_a_reset_in_a_stream_of_messages_skips_and_repeats_none(harness: DatacenterHarness) -> None:
    """A link that is cut again and again while messages pour in costs none and doubles none."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        sent = 0
        async with delivering(account):
            for number in range(8):
                async with linked(account, number + 1):
                    for _ in range(5):
                        await dc.push(PHONE, str(sent))
                        sent += 1
                    await dc.inject(Fault(FaultKind.RESET))
            async with linked(account, 99):
                await until(heard, sent)
    assert sorted(heard, key=int) == [str(number) for number in range(sent)]


async def test_a_handler_outlives_the_client_it_began_with(harness: DatacenterHarness) -> None:
    """A handler that is in the middle of its work when the link goes is not cut off, and not called again."""
    async with harness as dc:
        account = harness.connector()
        handling = Handling(account)
        async with delivering(account):
            async with linked(account):
                await dc.push(PHONE, "one")
                await handling.begun_in_time()
            handling.let_go.set()
            async with linked(account, 2):
                await until(handling.calls, 2)
                await anyio.sleep(0.1)
    assert handling.calls == ["one", "done"]


async def test_what_was_not_handled_is_heard_again_after_a_restart(harness: DatacenterHarness) -> None:
    """A process that ends in the middle of a handler leaves the update to the next one; what was handled is over."""
    async with harness as dc:
        account = harness.connector()
        heard: list[str] = []

        async def stuck(event: Any) -> None:
            heard.append(event.raw_text)
            if event.raw_text == "second":
                await anyio.sleep_forever()

        account.on(stuck, events.NewMessage())
        async with delivering(account), linked(account):
            await dc.push(PHONE, "first")
            await until(heard, 1)
            await harness.pts_in_file(account, 2)  # the state of the first one reaches the file
            await dc.push(PHONE, "second")
            await until(heard, 2)
        await account.settle()
        after = harness.reopened(account)
        again = listening(after)
        async with delivering(after), linked(after):
            await until(again, 1)
    assert heard == ["first", "second"]
    assert again == ["second"]


async def test_the_file_is_at_most_a_moment_behind(harness: DatacenterHarness) -> None:
    """Without any end of the link, the update state of a handled message is in the session file within seconds."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)

        async with delivering(account), linked(account):
            await dc.push(PHONE, "one")
            await until(heard, 1)
            assert await harness.pts_in_file(account, 2) == 2


async def test_the_file_is_not_behind_in_an_outage(harness: DatacenterHarness) -> None:
    """A handler that ends while no client is connected counts in the file at once: a crash then repeats nothing."""
    async with harness as dc:
        account = harness.connector()
        handling = Handling(account)
        async with delivering(account):
            async with linked(account):
                await dc.push(PHONE, "one")
                await handling.begun_in_time()
            handling.let_go.set()
            assert await harness.pts_in_file(account, 2) == 2


async def test_a_handler_s_exception_is_its_own(harness: DatacenterHarness) -> None:
    """An exception in a handler is logged; the next message and the other handlers know nothing of it."""
    async with harness as dc:
        account = harness.connector()

        async def bad(_: Any) -> None:
            raise ZeroDivisionError("a bug")

        account.on(bad, events.NewMessage())
        heard = listening(account)
        async with delivering(account), linked(account) as link:
            await dc.push(PHONE, "one")
            await dc.push(PHONE, "two")
            await until(heard, 2)
            assert type((await link.probe(proof=False, timeout=TIMEOUT))[-1]).__name__ == "ProbeAnswered"
    assert sorted(heard) == ["one", "two"]


async def test_a_gap_is_told_with_what_was_recovered(harness: DatacenterHarness) -> None:
    """A link that caught up says how many updates it fetched."""
    async with harness as dc:
        account = harness.connector()
        listening(account)
        async with delivering(account), linked(account):
            pass
        for number in range(3):
            await dc.push(PHONE, str(number))
        link = account.link(2)
        await link.open(timeout=TIMEOUT)
        with anyio.fail_after(TIMEOUT):
            told = [event async for event in _first(link)]
        await link.close(timeout=TIMEOUT)
    assert told == [CaughtUp(link=2, recovered=3)]


async def _first(link: TelegramLink) -> AsyncIterator[Any]:
    async with contextlib.aclosing(events_of(link)) as found:
        async for event in found:
            yield event
            return


async def test_a_lost_difference_is_fetched_again(harness: DatacenterHarness) -> None:
    """A getDifference that a short silence swallows is asked for again by the deadline that requests have."""
    async with harness as dc:
        account = harness.connector(timeout=0.3)
        heard = listening(account)
        async with delivering(account), linked(account) as link:
            await dc.inject(Fault(FaultKind.BLACKHOLE))
            await link.client.catch_up()
            await anyio.wait_all_tasks_blocked()
            await dc.push(PHONE, "lost")
            await dc.clear()
            await until(heard, 1)
    assert heard == ["lost"]


class Slow:
    """A client whose dispatching takes as long as the test says."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.release = anyio.Event()

    async def _dispatch_update(self, update: int) -> None:
        await self.release.wait()
        self.seen.append(update)


class OneByOne:
    """A client whose dispatching of an update takes until the test lets it end."""

    def __init__(self) -> None:
        self.let_go = {number: anyio.Event() for number in range(1, 40)}

    async def _dispatch_update(self, update: int) -> None:
        await self.let_go[update].wait()


@pytest.mark.parametrize("count", [3, 30])
async def test_what_overlapping_handlers_have_handled_is_known(count: int) -> None:
    """While the last handler runs, the states are those up to it; of many, at least those of an earlier moment."""
    inbox, client, memory = Inbox(), OneByOne(), SessionMemory()
    inbox.use_client(client)
    async with anyio.create_task_group() as tasks:
        inbox.deliver(tasks.start_soon)
        for number in range(1, count + 1):
            inbox.add([number])
            memory.put_state(0, State(pts=number, qts=0, date=None, seq=0, unread_count=0))
            assert memory.handled_states(inbox) == {}
        found = 0
        for number in range(1, count):
            client.let_go[number].set()
            await anyio.wait_all_tasks_blocked()
            states = memory.handled_states(inbox)
            found = states[0].pts if states else found
            assert found == min(number, MAX_CAPTURED - 1)
        client.let_go[count].set()
        await anyio.wait_all_tasks_blocked()
        assert memory.handled_states(inbox)[0].pts == count


async def test_the_age_of_a_message_is_told_when_its_handlers_begin() -> None:
    """Once for each that has a date; an update without one, or from a clock that is ahead, tells nothing wrong."""
    inbox, ages = Inbox(), list[float]()
    inbox.observer = ages.append

    class AtOnce:
        async def _dispatch_update(self, update: object) -> None:
            pass

    inbox.use_client(AtOnce())
    async with anyio.create_task_group() as tasks:
        inbox.deliver(tasks.start_soon)
        for seconds in (3600.0, -3600.0):
            date = datetime.fromtimestamp(time.time() - seconds, UTC)
            inbox.add([SimpleNamespace(message=SimpleNamespace(date=date)), SimpleNamespace(message="no date")])
        await anyio.wait_all_tasks_blocked()
    assert ages == [pytest.approx(3600.0, abs=60.0), 0.0]


@settings(max_examples=30)
@given(st.lists(st.integers(1, 5), max_size=12))
def test_handled_means_that_nothing_before_is_open(batches: list[int]) -> None:
    """``handled`` is never true of a number while something up to it waits or runs."""

    async def main() -> None:
        inbox, client = Inbox(), Slow()
        async with anyio.create_task_group() as tasks:
            inbox.deliver(tasks.start_soon)
            for size in batches:
                inbox.add(range(size))
                assert not inbox.is_handled(inbox.last)
            inbox.use_client(client)
            await anyio.wait_all_tasks_blocked()
            assert inbox.is_handled(0)
            assert not batches or not inbox.is_handled(1)
            client.release.set()
            await anyio.wait_all_tasks_blocked()
            assert inbox.is_handled(inbox.last)
            assert len(client.seen) == sum(batches)
            tasks.cancel_scope.cancel()

    anyio.run(main)


async def test_a_session_file_of_another_login_starts_anew(harness: DatacenterHarness) -> None:
    """After new credentials took the file's place, nothing that was remembered of the old ones is used."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account), linked(account):
            await dc.push(PHONE, "one")
            await until(heard, 1)
        old = dict(account.memory.states)
        assert account.memory.session is not None
        await account.memory.session.flush()  # nothing is written any more where the other file is made
        account.session.unlink()
        harness.write_session(account.session, dc.authorize("+9996620002"))
        async with linked(account, 2):
            pass
    assert old[0].pts == 2
    assert account.memory.states[0].pts == 1


async def test_a_failed_attempt_between_two_links_costs_no_update(harness: DatacenterHarness) -> None:
    """A client that never connected knows of no update, and must not say so to the next one."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account):
            async with linked(account):
                await dc.push(PHONE, "first")
                await until(heard, 1)
            await dc.inject(Fault(FaultKind.REFUSE))
            await dc.push(PHONE, "missed")
            failed = account.link(2)
            assert type((await failed.open(timeout=TIMEOUT))[-1]).__name__ == "NetworkLost"
            await failed.close(timeout=TIMEOUT)
            await dc.clear()
            async with linked(account, 3):
                await until(heard, 2)
    assert heard == ["first", "missed"]


async def test_a_gap_that_is_too_long_says_so(harness: DatacenterHarness) -> None:
    """When the datacenter will not list what was missed, the event says that the chats must be read."""
    async with harness as dc:
        account = harness.connector()
        async with linked(account):
            pass
        await dc.push(PHONE, "missed")
        await dc.inject(Fault(FaultKind.TOO_LONG))
        link = account.link(2)
        await link.open(timeout=TIMEOUT)
        with anyio.fail_after(TIMEOUT):
            told = [event async for event in _first(link)]
        await link.close(timeout=TIMEOUT)
    assert told == [CaughtUp(link=2, recovered=0, too_long=True)]


def test_a_failed_handler_is_logged_under_the_account_s_name(tmp_path: Path) -> None:
    """The log calls an account as the config does, not by its session file."""
    connector = TelegramConnector(session=tmp_path / "a.session", api_id=1, api_hash="0" * 32, name="News 1")
    assert connector.inbox.account == "News 1"
