"""Background work runs while its account is healthy, each time with the client of the moment; in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from attrs import define, field

from engine.work.background_tasks import BackgroundTasks
from tests.engine.work.blocking import Lines, said
from tests.engine.work.harness import classify_error

pytestmark = [pytest.mark.virtual, pytest.mark.usefixtures("lines")]


@define(eq=False)
class BackgroundHarness:
    """Background tasks that run, the clients of its accounts, and what its functions saw."""

    tasks: BackgroundTasks
    clients: dict[str, Any]
    seen: list[tuple[float, str, Any]] = field(factory=list)

    def note(self, what: str, client: Any) -> None:
        """Note that something happens now."""
        self.seen.append((round(anyio.current_time(), 2), what, client))

    def give(self, name: str, client: Any) -> None:
        """Give an account a client, or none."""
        self.clients[name] = client
        self.tasks.account_changed(name)

    async def stay(self, client: Any) -> None:
        """Stay until told to end."""
        self.note("began", client)
        try:
            await asyncio.sleep(1e6)
        finally:
            self.note("ended", client)

    def begins(self) -> list[float]:
        """Return when a function began."""
        return [at for at, what, _ in self.seen if what == "began"]


@asynccontextmanager
async def running(**clients: Any) -> AsyncIterator[BackgroundHarness]:
    """Run background tasks for the length of the block."""
    harness = BackgroundHarness(BackgroundTasks(clients.get, classify_error), clients)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(harness.tasks.run)
        try:
            yield harness
        finally:
            tasks.cancel_scope.cancel()


def added(harness: BackgroundHarness, name: str, function: Callable[[Any], Awaitable[None]]) -> None:
    """Add a background task to an account."""
    harness.tasks.add(name, function)
    harness.tasks.account_changed(name)


async def test_it_runs_while_there_is_a_client_and_anew_with_each() -> None:
    """It begins when its account is healthy, ends when it is not, and never keeps a client that is gone."""
    async with running(A=None, B="b") as harness:
        added(harness, "A", harness.stay)
        await anyio.sleep(5)
        harness.give("A", "one")
        await anyio.sleep(5)
        harness.give("A", None)
        await anyio.sleep(5)
        harness.give("A", "two")
        await anyio.sleep(5)
        harness.give("A", "three")
        await anyio.sleep(5)
    assert harness.seen == [
        *((5, "began", "one"), (10, "ended", "one"), (15, "began", "two"), (20, "ended", "two")),
        *((20, "began", "three"), (25, "ended", "three")),
    ]


async def test_a_task_that_ended_runs_again_with_the_next_client() -> None:
    """A function that returns has done its work for this connection: it is not started over and over."""
    async with running(A="one") as harness:

        async def once(client: Any) -> None:
            harness.note("began", client)

        added(harness, "A", once)
        await anyio.sleep(100)
        harness.give("A", "two")
        await anyio.sleep(100)
        harness.give("A", None)
        harness.give("A", "two")
        await anyio.sleep(100)
    assert harness.begins() == [0, 100]


async def test_failures_are_told_and_started_again_a_few_times(lines: Lines) -> None:
    """After 1, 2, 5 and 15 s; after the fifth failure in a row it is left, while others stand."""
    async with running(A="one") as harness:

        async def bad(client: Any) -> None:
            harness.note("began", client)
            raise ValueError("odd")

        added(harness, "A", bad)
        added(harness, "A", harness.stay)
        await anyio.sleep(100)
        harness.give("A", "two")
        await anyio.sleep(100)
        assert not harness.tasks.stuck
    assert harness.begins() == [0, 0, 1, 3, 8, 23, 100]
    told = said(lines, "bad of A failed")
    assert len(told) == 5
    assert "failed, 1 of 5 times in a row; it starts again in 1 s" in told[0]
    assert "it is not started again before the engine is" in told[-1]


async def test_a_task_that_lasted_begins_to_count_anew() -> None:
    """Failures a minute and more apart are never five in a row; nor is one after a long run that was told to end."""
    async with running(A=0) as harness:
        fails_at_once = [True] * 4 + [False] + [True] * 4

        async def mostly(client: Any) -> None:
            harness.note("began", client)
            if fails_at_once.pop(0):
                raise ValueError("odd")
            await asyncio.sleep(1e6)

        added(harness, "A", mostly)
        await anyio.sleep(200)  # four failures, and then a long run
        harness.give("A", None)
        await anyio.sleep(1)
        harness.give("A", 1)
        await anyio.sleep(10)
    assert len(harness.begins()) > 6


async def test_a_lost_connection_is_not_a_failure(lines: Lines) -> None:
    """It rests for a moment, until the account has heard of it, and nothing is counted."""
    async with running(A="one") as harness:

        async def drops(client: Any) -> None:
            harness.note("began", client)
            raise ConnectionError("reset")

        added(harness, "A", drops)
        await anyio.sleep(9.5)
        assert harness.begins() == list(range(10))
        harness.give("A", "two")
        await anyio.sleep(0.1)
        assert harness.begins()[-1] == 9.5
    assert not said(lines, "failed")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
async def test_whatever_it_raises_is_its_own(error: BaseException, lines: Lines) -> None:
    """No exception of background work ends the engine, and no cancellation that was not asked for."""
    async with running(A="one") as harness:

        async def ends(_: Any) -> None:
            raise error

        added(harness, "A", ends)
        added(harness, "A", harness.stay)
        await anyio.sleep(0.5)
        assert harness.seen == [(0, "began", "one")]
    assert len(said(lines, "failed, 1 of 5")) == 1


async def test_what_does_not_end_is_given_up_and_named(lines: Lines) -> None:
    """A task that does not end is given up after five seconds; it delays none, and is not started beside itself."""
    async with running(A="one") as harness:

        async def stubborn(client: Any) -> None:
            harness.note("began", client)
            while anyio.current_time() < 100:
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    continue

        added(harness, "A", stubborn)
        added(harness, "A", harness.stay)
        await anyio.sleep(10)
        harness.give("A", "two")
        await anyio.sleep(4)
        assert not harness.tasks.stuck
        await anyio.sleep(2)
        assert [post.label.split(".")[-1] for post in harness.tasks.stuck] == ["stubborn of A"]
        await anyio.sleep(100)
        assert not harness.tasks.stuck
    assert harness.begins() == [0, 0, 10]
    assert len(said(lines, "stubborn of A does not end although it was cancelled")) == 1


async def test_a_stop_ends_all_of_it_and_is_bounded(lines: Lines) -> None:
    """What tidies up is waited for, what does not end is left after five seconds; no other task is left."""
    let_go = False

    async def stubborn(_: Any) -> None:
        while not let_go and anyio.current_time() < 100:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                continue

    async def tidy(client: Any) -> None:
        try:
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(2)
            harness.note("tidied", client)

    async with running(A="one") as harness:
        for function in (stubborn, tidy, harness.stay):
            added(harness, "A", function)
        await anyio.sleep(10)
    assert 14.9 <= anyio.current_time() <= 16
    assert [what for _, what, _ in harness.seen] == ["began", "ended", "tidied"]
    assert len(asyncio.all_tasks()) == 2
    let_go = True
    await asyncio.sleep(2)
    assert len(said(lines, "does not end")) == 1


async def test_the_label_of_a_task_names_function_and_account() -> None:
    """Log lines of background work name its account; other tasks have no label."""
    labels: list[str | None] = []
    async with running(A="one") as harness:

        async def look(_: Any) -> None:
            task = asyncio.current_task()
            assert task is not None
            labels.append(harness.tasks.label_of(task))

        added(harness, "A", look)
        await anyio.sleep(1)
        task = asyncio.current_task()
        assert task is not None
        labels.append(harness.tasks.label_of(task))
    assert labels[0] is not None
    assert labels[0].endswith("look of A")
    assert labels[1] is None
