"""The parts that each life of a node writes with, one life after another, in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest
from attrs import define, field

from adapters.sqlite.errors import StorageError
from engine.app.node_lives import NodeLives
from engine.app.node_stores import StoreParts

pytestmark = pytest.mark.virtual


@define(eq=False)
class FakeWork:
    """What the lives tell the accounts of."""

    said: list[str] = field(factory=list)

    def wait_for_life(self) -> None:
        self.said.append("wait")

    def go_on(self) -> None:
        self.said.append("go on")


@define(eq=False)
class Place:
    """Opens what lives write, and notes it; it fails as often as ``failures`` says."""

    done: list[str] = field(factory=list)
    failures: int = 0
    open_seconds: float = 0.0
    refused: dict[int, anyio.Event] = field(factory=dict)

    @asynccontextmanager
    async def opened(self, life: int) -> AsyncIterator[StoreParts]:
        await anyio.sleep(self.open_seconds)
        if self.failures:
            self.failures -= 1
            raise StorageError("the server does not answer")
        self.done.append(f"open {life}")
        self.refused[life] = anyio.Event()
        nothing = cast("Any", None)
        try:
            yield StoreParts(
                journal=life,  # type: ignore[arg-type]  # only who it is counts here
                jobs=nothing,
                usernames=nothing,
                ledger=nothing,
                incidents=nothing,
                outbox=nothing,
                claims=nothing,
                remote=nothing,
                refused=self.refused[life],
            )
        finally:
            self.done.append(f"close {life}")

    async def use(self, parts: StoreParts) -> None:
        self.done.append(f"use {parts.journal}")


@asynccontextmanager
async def running() -> AsyncIterator[tuple[NodeLives, FakeWork, Place]]:
    """Run the lives of a node whose first one has the number 1."""
    work, place = FakeWork(), Place()
    lives = NodeLives(cast("Any", work))
    lives.begun(1)
    async with lives.opened(place.opened), anyio.create_task_group() as tasks:
        tasks.start_soon(lives.run, place.use)
        await anyio.sleep(1)
        yield lives, work, place
        tasks.cancel_scope.cancel()


async def test_the_next_life_writes_into_parts_of_its_own() -> None:
    """They are used before those of the last one are closed, and accounts begin only then."""
    async with running() as (lives, work, place):
        lives.begun(2)
        assert work.said[-1] == "wait"
        assert lives.written == 1
        await anyio.sleep(1)
        assert place.done == ["open 1", "open 2", "use 2", "close 1"]
        assert (lives.written, work.said[-1]) == (2, "go on")
    assert place.done[-1] == "close 2"


async def test_a_store_that_is_silent_again_is_waited_for() -> None:
    """Accounts wait as long."""
    async with running() as (lives, work, place):
        place.failures = 3
        lives.begun(2)
        await anyio.sleep(2)
        assert (lives.written, work.said[-1]) == (1, "wait")
        await anyio.sleep(20)
        assert (lives.written, work.said[-1]) == (2, "go on")


async def test_a_life_that_ends_while_it_is_opened_begins_nothing() -> None:
    """The one after it is opened then, and what was opened in between is closed."""
    async with running() as (lives, work, place):
        place.open_seconds = 2.0
        lives.begun(2)
        await anyio.sleep(1)
        lives.begun(3)
        await anyio.sleep(2)
        assert (lives.written, work.said[-1]) == (2, "wait")
        await anyio.sleep(2)
        assert (lives.written, work.said[-1]) == (3, "go on")
        assert "close 2" in place.done


async def test_a_refusal_is_told_once_for_each_life() -> None:
    """The holder need not wait for its next beat."""
    async with running() as (lives, _, place):
        told: list[int] = []

        async def tell() -> None:
            while True:
                told.append(await lives.refused())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell)
            place.refused[1].set()
            await anyio.sleep(1)
            assert told == [1]
            lives.begun(2)
            await anyio.sleep(1)
            assert told == [1]
            place.refused[2].set()
            await anyio.sleep(1)
            assert told == [1, 2]
            tasks.cancel_scope.cancel()
