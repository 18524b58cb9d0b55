"""Seven days of a busy account in minutes, and whether memory stays as it is meanwhile.

    python -m tests.soak.busy_week [--updates N] [--users N] [--channels N] [--links N]

By default 5 million updates of 200,000 users in 500 channels and in private, over 100 links of a real client with a
real session file: Telethon counts each update, the inbox passes it to a handler, which asks now and then for somebody
whom it has not seen for long, and the file is written. Only the wire is left out: the updates are made here. It takes
about half an hour, prints what the process has in memory as it goes on, and ends with exit code 1 if it has grown since
the first tenth, in which everything has come to its size, or if anybody was not found.
"""

import argparse
import logging
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
from attrs import define, field, frozen
from telethon import events
from telethon._updates.messagebox import ENTRY_ACCOUNT
from telethon.tl import types

from adapters.telegram import TelegramLink
from states.events import CaughtUp, Connected
from tests.adapters.telegram.harness import DatacenterHarness

LOOKS: Final = 40
"""How often the process is looked at."""
ASK_EVERY: Final = 20
"""The handler asks for somebody at every so-manieth update."""
MAX_QUEUED: Final = 500
"""Updates that wait to be counted: more are not made meanwhile."""
MAX_BYTES_PER_UPDATE: Final = 4.0
"""By how much the process may grow with each update; 5 million that leave 64 bytes each would be 320 MB."""
ALLOWANCE: Final = 8_000_000
"""Bytes by which a process may differ between two looks, of which nothing stays."""
TIMEOUT_SECONDS: Final = 60.0
PHOTO: Final = types.ChatPhotoEmpty()
FIRST_USER: Final = 1_000_000
"""Above all channels: Telethon's cache has the numbers of both in one table."""
LONG_AGO: Final = datetime(2026, 1, 1, tzinfo=UTC)


@frozen
class WeekPlan:
    """How much happens."""

    updates: int = 5_000_000
    users: int = 200_000
    channels: int = 500
    links: int = 100
    seed: int = 1


@frozen
class MemoryLook:
    """What there was at one moment."""

    updates: int
    seconds: float
    resident: int
    """Bytes of the process that are in memory."""
    use: dict[str, Any]
    """What the account says that it has."""

    def row(self) -> str:
        """Return it as a line of the table."""
        use = self.use
        return (
            f"{self.updates:>11,}{self.seconds:>8.0f} s{self.resident / 1e6:>9.1f} MB{use['bytes'] / 1e6:>9.2f} MB"
            f"{use['entities']:>9,}{use['cached']:>8,}{use['waiting'] + use['running']:>8,}"
        )


HEAD: Final = f"{'updates':>11}{'time':>10}{'process':>12}{'account':>12}{'users':>9}{'cached':>8}{'waiting':>8}"


@frozen
class WeekFigures:
    """What came of it."""

    looks: list[MemoryLook]
    handled: int
    asked: int
    """How often somebody was asked for."""
    found: int
    """How often that was answered."""

    @property
    def first(self) -> MemoryLook:
        """The first look after the first tenth."""
        updates = self.looks[-1].updates
        return next(look for look in self.looks if look.updates * 10 >= updates)

    @property
    def growth(self) -> int:
        """Bytes by which the process has grown since then."""
        return self.looks[-1].resident - self.first.resident

    @property
    def flat(self) -> bool:
        """Whether memory has stayed as it is."""
        updates = self.looks[-1].updates - self.first.updates
        return self.growth <= ALLOWANCE + MAX_BYTES_PER_UPDATE * updates

    def lines(self) -> list[str]:
        """Return the verdict."""
        last, first = self.looks[-1], self.first
        updates = max(1, last.updates - first.updates)
        grown = f"{self.growth / 1e6:+.1f} MB, {self.growth / updates:+.2f} bytes for each update"
        return [
            f"first {first.resident / 1e6:.1f} MB, last {last.resident / 1e6:.1f} MB: {grown}",
            f"{self.handled:,} updates handled; of {self.asked:,} users who were asked for, {self.found:,} were found",
            "memory is flat" if self.flat else "MEMORY GROWS",
        ]


@define
class Week:
    """Makes the updates of one client, in the order in which Telegram counts them."""

    plan: WeekPlan
    chance: random.Random
    made: int = 0
    begun: int = 0
    handled: int = 0
    asked: int = 0
    found: int = 0
    _pts: dict[int, int] = field(factory=dict)

    async def handle(self, event: Any) -> None:
        """Be the program: count, and ask for somebody now and then."""
        self.begun += 1
        if self.begun % ASK_EVERY == 0:
            self.asked += 1
            peer = await event.client.get_input_entity(types.PeerUser(self._somebody()))
            self.found += isinstance(peer, types.InputPeerUser)
        self.handled += 1

    def begin(self, client: Any) -> None:
        """Go on from where this client counts."""
        box = client._message_box.map
        self._pts = {number: state.pts for number, state in box.items() if isinstance(number, int)}
        self._pts[0] = box[ENTRY_ACCOUNT].pts

    def _somebody(self) -> int:
        """Return one of those who were introduced; few write much, and most hardly ever."""
        seen = min(self.handled, self.plan.users)
        return FIRST_USER + int(seen * self.chance.random() ** 3)

    def update(self) -> types.Updates:
        """Return the next update: a message in private or in a channel, with its sender and its channel."""
        number = self.made + 1
        who = FIRST_USER + self.made if number <= self.plan.users else self._somebody()
        self.made = number
        user = types.User(
            who, access_hash=who * 7919 << 20, first_name=f"First {who}", last_name="Last", username=f"user_{who}"
        )
        place = self.chance.randrange(self.plan.channels + 1)
        pts = self._pts[place] = self._pts.get(place, 0) + 1
        if place == 0:
            message = types.Message(
                pts, types.PeerUser(who), LONG_AGO, f"message {number}", from_id=types.PeerUser(who)
            )
            return types.Updates([types.UpdateNewMessage(message, pts, 1)], [user], [], LONG_AGO, 0)
        peer = types.PeerChannel(place)
        message = types.Message(pts, peer, LONG_AGO, f"message {number}", from_id=types.PeerUser(who))
        channel = types.Channel(place, f"Channel {place}", PHOTO, LONG_AGO, access_hash=place << 30, megagroup=True)
        return types.Updates([types.UpdateNewChannelMessage(message, pts, 1)], [user], [channel], LONG_AGO, 0)

    def updates(self, count: int) -> Iterator[types.Updates]:
        """Yield so many updates."""
        return (self.update() for _ in range(count))


def resident_bytes() -> int:
    """Return how much of this process is in memory."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096


async def live(plan: WeekPlan, directory: Path, *, show: Any = lambda _: None) -> WeekFigures:
    """Live through it, and call ``show`` with each look."""
    week, harness, looks, began = (
        Week(plan, random.Random(plan.seed)),
        DatacenterHarness(directory),
        [],
        time.monotonic(),
    )
    async with harness:
        account = harness.connector()
        account.on(week.handle, events.NewMessage())
        every, look_every = max(1, plan.updates // plan.links), max(1, plan.updates // LOOKS)

        def look() -> None:
            looks.append(MemoryLook(week.made, time.monotonic() - began, resident_bytes(), account.memory_use()))
            show(looks[-1])

        async with anyio.create_task_group() as tasks:
            account.deliver(tasks.start_soon)
            number = 0
            while week.made < plan.updates:
                number += 1
                link = account.link(number)
                assert isinstance((await link.open(timeout=TIMEOUT_SECONDS))[-1], Connected)
                await _caught_up(link)
                week.begin(link.client)
                queue = link.client._updates_queue
                for update in week.updates(min(every, plan.updates - week.made)):
                    while queue.waiting >= MAX_QUEUED:
                        await anyio.lowlevel.checkpoint()
                    queue.put_nowait(update)
                    if week.made % look_every == 0:
                        await _handled(link, week)
                        look()
                await _handled(link, week)
                await link.close(timeout=TIMEOUT_SECONDS)
            assert account.memory.session is not None
            await account.memory.session.flush()  # whoever is not in the file yet stays in memory
            look()
            tasks.cancel_scope.cancel()
        account.deliver(None)
        await account.settle()
    return WeekFigures(looks, week.handled, week.asked, week.found)


async def _caught_up(link: TelegramLink) -> None:
    """Wait until the client has asked for what it missed, which is nothing."""
    caught_up = anyio.Event()
    link.watch(lambda event: caught_up.set() if isinstance(event, CaughtUp) else None)
    with anyio.fail_after(TIMEOUT_SECONDS):
        await caught_up.wait()


async def _handled(link: TelegramLink, week: Week) -> None:
    """Wait until every update was handled."""
    with anyio.fail_after(TIMEOUT_SECONDS):
        while week.handled < week.made or not link.client._updates_queue.empty():
            await anyio.sleep(0.01)


def main() -> int:
    """Do it, and say what came of it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    plan = WeekPlan()
    for name in ("updates", "users", "channels", "links", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(plan, name))
    plan = WeekPlan(**vars(parser.parse_args()))
    logging.disable(logging.CRITICAL)
    print(f"{plan.updates:,} updates, {plan.users:,} users, {plan.channels} channels, {plan.links} links\n\n{HEAD}")
    with tempfile.TemporaryDirectory(prefix="holdfast-week-") as directory:
        figures = anyio.run(lambda: live(plan, Path(directory), show=lambda look: print(look.row(), flush=True)))
    print("\n" + "\n".join(figures.lines()))
    return 0 if figures.flat and figures.found == figures.asked else 1


if __name__ == "__main__":
    sys.exit(main())
