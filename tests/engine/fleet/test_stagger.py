"""``fleet.stagger: auto``: accounts start as close together as the loop and the datacenter allow."""

import asyncio
import random
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from engine.config import load
from engine.fleet.connect_limiter import ConnectLimiter
from engine.fleet.stagger import LATE, LEAST, MOST, REFUSED, AutoStagger
from states import Policy, Snapshot, begin, step
from states.events import Started, TransportFlood, TurnGranted
from tests.engine.fakes import EPOCH
from tests.virtual_time import VirtualLoop


def note(stagger: AutoStagger, late: float, times: int) -> float:
    """Let the loop be so many seconds late at so many starts; return the distance then."""
    for _ in range(times):
        stagger.note_late(late)
    return float(stagger)


def refuse(stagger: AutoStagger) -> None:
    """Let an account be refused because there are too many connections."""
    at, rng, policy = begin(Snapshot(), now=EPOCH), random.Random(1), Policy()
    for event in (Started(credentials="key"), TurnGranted(generation=1, credentials="key"), TransportFlood(link=1)):
        decision = step(at, event, now=EPOCH, rng=rng, policy=policy)
        at = decision.snapshot
        stagger.observe("A", decision)


def test_a_late_loop_starts_fewer_and_one_in_time_more() -> None:
    """The distance grows while the loop is late, up to a bound, and shrinks again to its least."""
    stagger = AutoStagger()
    assert note(stagger, LATE * 2, times=50) == MOST
    assert note(stagger, 0.0, times=50) == LEAST


def test_a_refusal_of_the_transport_counts_for_more_and_wears_off() -> None:
    """After a refusal the next account waits a second, a late loop makes that no shorter, and it wears off."""
    stagger = AutoStagger()
    refuse(stagger)
    assert float(stagger) == REFUSED
    assert note(stagger, LATE * 2, times=1) == REFUSED
    assert note(stagger, 0.0, times=100) == LEAST


async def starts(count: int, busy: float) -> list[float]:
    """Return when so many accounts got their turn, on a loop that is busy for so many seconds after each start."""
    limiter, loop, seen = ConnectLimiter(count, AutoStagger()), asyncio.get_running_loop(), list[float]()
    assert isinstance(loop, VirtualLoop)

    async def start() -> None:
        async with limiter.turn():
            seen.append(anyio.current_time())
            loop._virtual += busy
            await anyio.sleep(60)

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(start)
    return seen


@pytest.mark.virtual
async def test_an_idle_loop_starts_all_at_once() -> None:
    """Where the loop is in time, accounts start at the least distance."""
    apart = [later - earlier for earlier, later in pairwise(await starts(60, busy=0.0))]
    assert max(apart) == pytest.approx(LEAST)


@pytest.mark.virtual
async def test_a_busy_loop_has_time_between_two_starts() -> None:
    """Where each start keeps the loop for long, the distance comes on top of that, up to its bound."""
    apart = [later - earlier for earlier, later in pairwise(await starts(60, busy=0.2))]
    assert apart[0] == pytest.approx(0.2)
    assert len(apart) == 59


def test_the_config_takes_auto(tmp_path: Path) -> None:
    """``stagger: auto`` is a value beside the durations."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\naccounts: [{name: A, session: a}]\n"
        "fleet: {stagger: auto}\n"
    )
    assert load(path).fleet.stagger == "auto"
