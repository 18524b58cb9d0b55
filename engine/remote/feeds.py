"""The updates of accounts for other programs: stored until each program that wants them has acknowledged them.

An update counts as handled by the engine when it is durable here. What a program has not acknowledged within the
bounds of the config falls out, and the program is told how many those were.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Final, Protocol
from uuid import uuid4

import anyio
import structlog
from attrs import define, field

from engine.config.remote import RemoteSection
from engine.remote.programs import Programs
from engine.wakeup import Wakeup

MAX_MARKS: Final = 2000
"""Updates of an account that are known again if the datacenter sends them once more."""
KEEP_ACKNOWLEDGED: Final = 300.0
"""Seconds that an update stays although all have acknowledged it: after a crash it is known again by it."""
PRUNE_EVERY: Final = 30.0
"""Seconds between two looks for what falls out."""
MAX_STEP: Final = 500
"""Updates that one statement deletes."""
NO_ROOM_PAUSE: Final = 0.1
"""Seconds between two tries to store an update while the file takes nothing."""
MEGABYTE: Final = 1_000_000
UNNUMBERED: Final = "unnumbered "
"""What the mark of an update begins with that has no number: two that are equal may be two changes (blocked, and
blocked again)."""
REPEATED_WITHIN: Final = 60.0
"""Seconds before the last update of an earlier engine from which on the datacenter may send one without a number once
more: what it was told of them is at most some seconds old."""

log = structlog.get_logger("holdfast.remote")


class UpdateStore(Protocol):
    """Where updates and cursors are stored, see ``adapters/sqlite/remote.py`` and ``adapters/postgres/remote.py``."""

    async def load(self, accounts: Collection[str] | None = None) -> tuple[list[Any], dict[str, Any]]:
        """Return the cursors of these accounts (None: all of this engine), and where each one's numbers go on."""

    def add(self, account: str, number: int, *, at: float, place: int, mark: str, body: bytes) -> bool:
        """Queue an update; return False if there is no room for it now."""

    async def flush(self) -> None:
        """Return when what was written before is durable."""

    async def after(self, account: str, number: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the first updates after this number."""

    async def first_kept(self, account: str, at: float, place: int) -> int | None:
        """Return the number of the first update that is neither older nor before this place."""

    async def prune(self, account: str, number: int) -> None:
        """Delete an account's updates up to this number."""

    def save(self, account: str, program: str, feed: str, acknowledged: int, at: float) -> bool:
        """Queue a cursor; return False if there is no room for it now."""

    async def begin(self, account: str, program: str, feed: str, acknowledged: int, at: float) -> None:
        """Store a cursor, durably."""

    async def forget(self, account: str, program: str) -> None:
        """Delete a cursor."""


@define(eq=False)
class ProgramCursor:
    """How far one program has acknowledged the updates of one account."""

    program: str
    acknowledged: int
    unsaved: bool = False
    reader: object | None = None
    """The connection that has the updates now."""
    told: int = 0
    """Up to which number the log has said that updates fell out."""
    stored: bool = True
    """Whether the file has it."""


@define(eq=False)
class Feed:
    """The updates of one account, numbered one after the other."""

    account: str
    name: str
    """What the numbers belong to."""
    last: int = 0
    size: int = 0
    """Bytes of all updates so far."""
    durable: int = 0
    """All updates up to this number are in the file."""
    pruned: int = 0
    """Up to this number they are not there any more."""
    cursors: dict[str, ProgramCursor] = field(factory=dict, init=False)
    marks: "OrderedDict[str, None]" = field(factory=OrderedDict, init=False)
    """What the latest updates are known again by."""
    order: anyio.Lock = field(factory=anyio.Lock, init=False)
    """Held by the update that is numbered next."""
    repeated: "OrderedDict[str, None]" = field(factory=OrderedDict, init=False)
    """Marks without a number that may come once more, each only once."""
    changed: Wakeup = field(factory=Wakeup, init=False)

    def note(self, mark: str, *, may_repeat: bool = False) -> None:
        """Remember what an update is known by; one without a number only if it may come once more."""
        if mark.startswith(UNNUMBERED) and not may_repeat:
            return
        marks = self.repeated if mark.startswith(UNNUMBERED) else self.marks
        marks[mark] = None
        while len(marks) > MAX_MARKS:
            marks.popitem(last=False)

    def knows(self, mark: str) -> bool:
        """Return whether an update has come before; of one without a number that is so only once."""
        return mark in self.marks or self.repeated.pop(mark, True) is None


@define(eq=False)
class Feeds:
    """The feeds of all accounts that a program has subscribed to."""

    store: UpdateStore
    programs: Programs
    section: Callable[[], RemoteSection]
    names: Callable[[], Iterable[str]]
    """Returns the names of the engine's accounts."""
    begun: Callable[[str], None] = lambda account: None
    """Called when an account's updates are wanted, and were not before."""
    now: Callable[[], float] = time.time
    """What the age of an update is measured by (Unix seconds)."""
    wall: Callable[[], float] = time.time
    feeds: dict[str, Feed] = field(factory=dict, init=False)

    async def load(self, accounts: Collection[str] | None = None) -> None:
        """Go on where the store is: with all accounts, or with these, which have come to this engine."""
        cursors, stored = await self.store.load(accounts)
        for account in accounts or ():
            self.leave(account)  # what was known when it was here before
        for each in cursors:
            known = stored.get(each.account)
            feed = self.feeds.get(each.account)
            if feed is None:
                feed = self.feeds[each.account] = Feed(each.account, each.feed)
                if known is not None:
                    feed.last, feed.size, feed.pruned = known.last, known.size, known.first - 1
                    for mark, at in known.marks:
                        feed.note(mark, may_repeat=at >= known.marks[-1][1] - REPEATED_WITHIN)
            feed.cursors[each.program] = ProgramCursor(each.program, each.acknowledged)
            feed.last = feed.durable = max(feed.last, each.acknowledged)
        for account in stored.keys() - self.feeds.keys():  # nobody wants them any more; the numbers go on
            known = stored[account]
            self.feeds[account] = Feed(account, uuid4().hex, known.last, known.size, known.last, known.first - 1)
        await self.check()

    def leave(self, account: str) -> None:
        """Forget an account that has gone to another engine; what is stored of it is that one's now."""
        if (feed := self.feeds.pop(account, None)) is not None:
            feed.cursors.clear()
            feed.changed.notify()

    def wants(self, account: str) -> bool:
        """Return whether a program wants the updates of an account."""
        feed = self.feeds.get(account)
        return feed is not None and bool(feed.cursors)

    async def subscribe(self, account: str, program: str) -> tuple[Feed, ProgramCursor]:
        """Return an account's feed and a program's cursor in it, which is durable; a new one is at the end."""
        feed = self.feeds.get(account)
        if feed is None:
            feed = self.feeds[account] = Feed(account, uuid4().hex)
        if (cursor := feed.cursors.get(program)) is None:
            first = not feed.cursors
            cursor = feed.cursors[program] = ProgramCursor(program, feed.last, stored=False)
            if first:
                self.begun(account)
        if not cursor.stored:
            await self.store.begin(account, program, feed.name, cursor.acknowledged, self.wall())
            cursor.stored = True
        return feed, cursor

    async def add(
        self, account: str, mark: str, encode: Callable[[], Awaitable[bytes]], *, numbered: bool = True
    ) -> None:
        """Store an update, in the order of the calls; return when it is durable. One that is known is not stored again.

        ``numbered``: no other update has this mark.
        """
        feed = self.feeds.get(account)
        if feed is None or not feed.cursors:
            return
        mark = mark if numbered else UNNUMBERED + mark
        async with feed.order:
            if not feed.knows(mark):
                await self._queue(feed, mark, await encode())
            written = feed.last
        try:
            await self.store.flush()
        except BaseException:  # the same one is handed over again
            feed.note(mark, may_repeat=True)
            raise
        if written > feed.durable:
            feed.durable = written
            feed.changed.notify()

    async def _queue(self, feed: Feed, mark: str, body: bytes) -> None:
        number = feed.last + 1
        while True:
            if self.store.add(feed.account, number, at=self.now(), place=feed.size, mark=mark, body=body):
                break
            await anyio.sleep(NO_ROOM_PAUSE)
        feed.last, feed.size = number, feed.size + len(body)
        feed.note(mark)

    def acknowledge(self, feed: Feed, cursor: ProgramCursor, number: int) -> None:
        """Note that a program has handled all updates up to a number, which were sent to it."""
        if number > cursor.acknowledged:
            cursor.acknowledged = number
            self._save(feed, cursor)
            feed.changed.notify()

    def _save(self, feed: Feed, cursor: ProgramCursor) -> bool:
        saved = self.store.save(feed.account, cursor.program, feed.name, cursor.acknowledged, self.wall())
        cursor.unsaved = not saved
        return saved

    # --- what falls out ---

    async def run(self) -> None:
        """Delete what all have acknowledged, and what falls out, until cancelled."""
        while True:
            await anyio.sleep(PRUNE_EVERY)
            for feed in list(self.feeds.values()):
                await self.prune(feed)

    async def prune(self, feed: Feed) -> None:
        """Delete what nobody needs of an account's updates, and what is too old or too much."""
        section, now = self.section(), self.now()
        for cursor in feed.cursors.values():
            if cursor.unsaved:
                self._save(feed, cursor)
        aged = await self._before(feed, now - section.keep_for, feed.size - section.keep_megabytes * MEGABYTE)
        # The last one stays: a later engine goes on after its number, and a program sees by that what fell out.
        out = min(max(feed.last - section.keep_updates, aged), feed.last - 1)
        done = min((cursor.acknowledged for cursor in feed.cursors.values()), default=feed.durable)
        done = min(done, await self._before(feed, now - KEEP_ACKNOWLEDGED, 0))
        for cursor in feed.cursors.values():
            if out > max(cursor.acknowledged, cursor.told):
                lost = out - max(cursor.acknowledged, cursor.told)
                cursor.told = out
                log.warning("remote_updates_dropped", program=cursor.program, account=feed.account, updates=lost)
        upto = min(max(out, done), feed.durable, feed.last - 1)
        while feed.pruned < upto:
            feed.pruned = min(upto, feed.pruned + MAX_STEP)
            await self.store.prune(feed.account, feed.pruned)
        await self.store.flush()

    async def _before(self, feed: Feed, at: float, place: int) -> int:
        """Return the number before the first update that is neither older nor before this place."""
        first = await self.store.first_kept(feed.account, at, place)
        return feed.durable if first is None else first - 1

    # --- who wants what ---

    async def check(self) -> None:
        """Forget the cursors of programs that may have no updates any more."""
        names = list(self.names())
        for feed in list(self.feeds.values()):
            for program in list(feed.cursors):
                if not self.programs.may_have_updates(program, feed.account, names):
                    del feed.cursors[program]
                    feed.changed.notify()
                    await self.store.forget(feed.account, program)

    def rename(self, renamed: Mapping[str, str]) -> None:
        """Give accounts other names, as the file has done."""
        moved = {name: feed for former, name in renamed.items() if (feed := self.feeds.pop(former, None)) is not None}
        for name, feed in moved.items():
            feed.account = name
        self.feeds.update(moved)
        for feed in moved.values():
            feed.changed.notify()  # who has its updates by the former name has them no more

    @property
    def lines(self) -> list[tuple[str, str, bool, int, int]]:
        """Each cursor: program, account, whether it is connected, how far it is, how many updates it is behind."""
        return [
            (
                cursor.program,
                feed.account,
                cursor.reader is not None,
                cursor.acknowledged,
                feed.last - cursor.acknowledged,
            )
            for feed in self.feeds.values()
            for cursor in feed.cursors.values()
        ]
