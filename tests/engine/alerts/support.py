"""What the tests of alerts share: a channel and a storage in memory, a clock of the loop's, and incidents."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
from attrs import evolve

from engine.alerts.delivery import AlertOutlet, Delivery
from states.alerts import KINDS, About, ChannelAlert, ChannelRule

START = 1_700_000_000.0


class LoopClock:
    """The loop's time, as a time of day."""

    def now(self) -> float:
        return START + anyio.current_time()


class FakeChannel:
    """Keeps what it gets; fails, and takes its time, on request."""

    def __init__(self) -> None:
        self.got: list[tuple[float, str, str]] = []
        self.data: list[bytes] = []
        self.fails: BaseException | None = None
        self.tries = 0
        self.takes = 0.0

    async def send(self, *, key: str, subject: str, body: str, tone: str, data: bytes, timeout: float) -> None:
        self.tries += 1
        await anyio.sleep(self.takes)
        if self.fails is not None:
            raise self.fails
        self.got.append((anyio.current_time(), subject, body))
        self.data.append(data)

    @property
    def subjects(self) -> list[str]:
        return [subject for _, subject, _ in self.got]


class FakeStorage:
    """The last state of each alert, as a file would have it."""

    def __init__(self) -> None:
        self.alerts: dict[tuple[int, str], ChannelAlert] = {}
        self.flushes_in = 0.0

    async def save(self, alerts: Iterable[ChannelAlert], now: float) -> None:
        for alert in alerts:
            self.alerts[alert.key] = alert

    async def flush(self) -> None:
        await anyio.sleep(self.flushes_in)

    async def prune(self, now: float) -> None:
        pass


class Desk:
    """A delivery with one or more channels, and what was told of them."""

    def __init__(self, *names: str, **rule: Any) -> None:
        self.storage = FakeStorage()
        self.channels = {name: FakeChannel() for name in names or ("c",)}
        self.troubles: list[tuple[str, str | None]] = []
        values = {"kinds": frozenset(KINDS), "after": 0.0} | rule
        self.delivery = Delivery(
            outlets={
                name: AlertOutlet(
                    rule=ChannelRule(channel=name, **values), label=f"alerts[0] ({name})", channel=channel
                )
                for name, channel in self.channels.items()
            },
            storage=self.storage,
            clock=LoopClock(),
            config="config.yaml",
            on_channel=lambda name, label, why: self.troubles.append((name, why)),
        )

    @property
    def channel(self) -> FakeChannel:
        return next(iter(self.channels.values()))

    async def open(self, number: int = 1, **values: Any) -> About:
        """Open an incident, and store what it makes, as its owner does."""
        told = incident(number, **values)
        await self.storage.save(self.delivery.opened(told), 0)
        return told

    async def close(self, told: About, **values: Any) -> None:
        await self.storage.save(self.delivery.closed(evolve(told, closed=LoopClock().now(), **values)), 0)

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.delivery.run)
            await anyio.lowlevel.checkpoint()
            yield
            tasks.cancel_scope.cancel()


def incident(number: int = 1, *, kind: str = "outage", **values: Any) -> About:
    """Return an incident that begins now."""
    now = LoopClock().now()
    given = {"since": now, "opened": now, "accounts": ("Account 1",), "accounts_total": 1} | values
    given.setdefault("severity", "critical" if kind == "needs_person" else "warning")
    return About(id=number, kind=kind, **given)
