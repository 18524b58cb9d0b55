"""The screen: it reads its source, hears keys, and draws what has changed."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from engine.console.account_status import AccountStatus
from engine.console.cells import width_of
from engine.console.safe_text import one_line
from engine.console.status import SEVERITY
from engine.screen.layout import Scene, ScreenPicture, draw, whole
from engine.screen.model import Do, KeyRequest, Model, ScreenView, Seen, press, settle, shown
from engine.screen.source import Explained, JournalUnreadable, OpenedJournal, ScreenSource
from engine.screen.terminal import ScreenTerminal

REFRESH_INTERVAL: Final = 0.25
"""Seconds after which a change is on the terminal, at the latest; an answer to a key is there at once."""
CALM_LOOKS: Final = 4
"""While nothing changes, one look in so many draws: the times in the picture go on, second by second."""
RELOAD_INTERVAL: Final = 1.0
"""Seconds between two reads of the open account's journal, at least."""
ASKED: Final = {
    Do.PAUSE: "is asked to pause",
    Do.RESUME: "is asked to go on",
    Do.RETRY: "is asked to try again",
    Do.ACKNOWLEDGE: "is being acknowledged",
}


@define(eq=False)
class Screen:
    """Shows a source on a terminal. What the operator has chosen stays when ``run`` is called again."""

    source: ScreenSource
    terminal: ScreenTerminal
    model: Model = field(factory=Model, init=False)
    _seen: Seen = field(factory=Seen, init=False)
    _woken: anyio.Event = field(factory=anyio.Event, init=False)
    _over: bool = field(default=False, init=False)
    _tasks: TaskGroup | None = field(default=None, init=False)
    _opened: OpenedJournal | None = field(default=None, init=False)
    _opened_at: tuple[float, object] = field(default=(0.0, None), init=False)
    """When the journal was read last, and where its account was then."""
    _followed: str | None = field(default=None, init=False)
    """The account that was chosen when the last picture was drawn."""
    _open_at: AccountStatus | None = field(default=None, init=False)
    """Where it was when it was last seen."""
    _explained: Explained | None = field(default=None, init=False)
    _reading: set[str] = field(factory=set, init=False)
    _under_way: set[KeyRequest] = field(factory=set, init=False)
    _names: tuple[object, list[str]] = field(default=(None, []), init=False)
    """The accounts that pass the filters, after what they were found by."""
    _longest: tuple[object, int] = field(default=(None, 0), init=False)
    """The cells of the longest name, after what that was found by."""

    async def run(self) -> None:
        """Show the screen until it is left or cancelled."""
        self._reading, self._under_way = set(), set()
        with self.terminal.taken(self._tell):
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self.source.follow)
                self._tasks.start_soon(self.terminal.hear, self._press)
                self._tasks.start_soon(self._yield_at_suspension)
                await self._show()
                self._tasks.cancel_scope.cancel()

    def print_last(self) -> None:
        """Print what stays on the terminal: what was printed meanwhile, and the worst accounts, without a filter."""
        self.terminal.print_kept()
        names = [name for name, _ in self.source.ranking.ordered()]
        self.terminal.print(whole(self._all(time.time(), self.terminal.size, names)))

    async def _show(self) -> None:
        drawn: object = None
        looks = 0
        while not self._over:
            if (self._version() != drawn or looks >= CALM_LOOKS) and self.terminal.ready():
                picture = self.picture(time.time(), self.terminal.size)
                drawn, looks = self._version(), 0  # before the terminal has taken it: a key may come meanwhile
                await self.terminal.paint(picture.lines)
            with anyio.move_on_after(REFRESH_INTERVAL):
                await self._woken.wait()
                self._woken = anyio.Event()
            looks += 1
            if not self.terminal.ready():
                drawn = None

    def _version(self) -> Any:
        """Return what the picture is made of, as far as it can tell that there is another one to draw."""
        source = self.source
        log = tuple(source.lines)
        return (
            source.info,
            source.node,
            source.ranking,
            source.ranking.updates,
            source.jobs,
            tuple(source.incidents),
            log,
            self.terminal.size,
            self.model,
            self._opened,
            self._explained,
        )

    def picture(self, now: float, size: tuple[int, int]) -> ScreenPicture:
        """Return the picture of a moment (Unix seconds) for a size, and keep what keys need to know of it."""
        names, incidents = self._shown_names(), self.source.incidents
        self._follow_selected()
        self.model = settle(self.model, names)
        if self.model.incident is not None and all(each.id != self.model.incident for each in incidents):
            self.model = evolve(self.model, incident=None)
        self._read_what_is_open()
        picture = draw(self.model, self._all(now, size, names))
        if self.model.view is ScreenView.FLEET and picture.top != self.model.top:
            self.model = evolve(self.model, top=picture.top)
        entries: Sequence[Any] = self._opened.entries or () if self._opened is not None else ()
        self._seen = Seen(
            names=names,
            states=[state for state in SEVERITY if self.source.ranking.states[state]],
            records=[entry.seq for entry in entries],
            incidents={each.id: each.accounts for each in incidents},
            fits=picture.fits,
            lines=picture.total,
            quits=self.source.quits,
        )
        return picture

    def _follow_selected(self) -> None:
        """See where the chosen account is; one that there is no more, after a reload, is neither chosen nor open."""
        model, name = self.model, self.model.selected
        if name != self._followed:
            self._followed, self._open_at = name, None
        if name is None:
            return
        if name in self.source.ranking:
            self._open_at = self.source.ranking.status(name)
        elif model.view is ScreenView.FLEET or self._open_at is None or not self.source.knows(name):
            view = model.back if model.view in (ScreenView.ACCOUNT, ScreenView.RECORD) else model.view
            gone = f"{name} is not among the accounts any more" if view is not model.view else model.said
            self.model = evolve(model, view=view, beneath=ScreenView.FLEET, selected=None, record=None, said=gone)

    def _all(self, now: float, size: tuple[int, int], names: Sequence[str]) -> Scene:
        source, (width, height) = self.source, size
        return Scene(
            info=source.info,
            node=source.node,
            ranking=source.ranking,
            names=names,
            trouble_since=source.trouble_since,
            jobs=source.jobs,
            log=list(source.lines),
            incidents=source.incidents,
            opened=self._opened,
            explained=self._explained,
            open_at=self._open_at,
            now=now,
            width=width,
            height=height,
            longest=self._longest_name(),
            letters=self.terminal.letters,
            keys=self.terminal.keys,
            quits=source.quits,
        )

    def _shown_names(self) -> list[str]:
        """Return the accounts that pass the filters; found out anew only if an account or a filter has changed."""
        model, ranking = self.model, self.source.ranking
        key = (ranking, ranking.updates, model.state, model.name, model.hides_healthy)
        if self._names[0] != key:
            self._names = key, shown(ranking.ordered(), model)
        return self._names[1]

    def _longest_name(self) -> int:
        ranking = self.source.ranking
        if self._longest[0] != (ranking, ranking.roster):
            letters = self.terminal.letters
            cells = [width_of(letters(one_line(name))) for name, _ in ranking.ordered()]
            self._longest = (ranking, ranking.roster), max(cells, default=0)
        return self._longest[1]

    # --- keys and what they ask for ----------------------------------------------------------------------------------

    def _press(self, key: str) -> None:
        if key == "ctrl+l":
            self.terminal.repaint()
        self.model, request = press(settle(self.model, self._shown_names()), key, self._seen)
        if request is not None:
            self._do(request)
        self._woken.set()

    def _do(self, request: KeyRequest) -> None:
        if request.do is Do.QUIT:
            self._over = True
        elif request not in self._under_way and self._tasks is not None:
            self._under_way.add(request)
            whom = request.account or f"Incident {request.incident}"
            self.model = evolve(self.model, said=f"{whom} {ASKED[request.do]}")
            self._tasks.start_soon(self._perform, request)

    async def _perform(self, request: KeyRequest) -> None:
        try:
            if request.do is Do.ACKNOWLEDGE:
                said = await self.source.acknowledge(request.incident)
            else:
                said = await self.source.perform(request.do, request.account)
        finally:
            self._under_way.discard(request)
        self.model = evolve(self.model, said=said)
        self._woken.set()

    def _tell(self, level: int, line: str) -> None:
        self.source.tell(level, line)

    # --- what is read from the journal -------------------------------------------------------------------------------

    def _read_what_is_open(self) -> None:
        """Begin to read what the view needs and what is not there, or is older than the account's last change."""
        model = self.model
        if model.view not in (ScreenView.ACCOUNT, ScreenView.RECORD) or model.selected is None or self._tasks is None:
            return
        at = self._open_at
        other = self._opened is None or self._opened.account != model.selected
        due = at != self._opened_at[1] and anyio.current_time() >= self._opened_at[0] + RELOAD_INTERVAL
        if (other or due) and "journal" not in self._reading:
            if other:
                self._opened, self._explained = OpenedJournal(model.selected), None
            self._reading.add("journal")
            self._opened_at = anyio.current_time(), at
            self._tasks.start_soon(self._read_journal, model.selected)
        wanted = model.record if model.view is ScreenView.RECORD else None
        if wanted is not None and (self._explained is None or self._explained.seq != wanted):
            self._explained = Explained(wanted)
            self._tasks.start_soon(self._explain, wanted)

    async def _read_journal(self, account: str) -> None:
        try:
            found = OpenedJournal(account, await self.source.entries(account))
        except JournalUnreadable as exc:
            found = OpenedJournal(account, trouble=str(exc))
        finally:
            self._reading.discard("journal")
        if self._opened is not None and self._opened.account == account:
            self._opened = found
        self._woken.set()

    async def _explain(self, seq: int) -> None:
        try:
            found = Explained(seq, await self.source.explain(seq))
        except JournalUnreadable as exc:
            found = Explained(seq, trouble=str(exc))
        if self._explained is not None and self._explained.seq == seq:
            self._explained = found
        self._woken.set()

    # --- Ctrl+Z ------------------------------------------------------------------------------------------------------

    async def _yield_at_suspension(self) -> None:
        """Give the terminal back before the process stops; ``ready`` takes it again when it goes on."""
        if not self.terminal.keys or signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN:
            return
        with suppress(ValueError, RuntimeError), anyio.open_signal_receiver(signal.SIGTSTP) as signals:
            async for _ in signals:
                self.terminal.leave()
                os.kill(os.getpid(), signal.SIGSTOP)
                self._woken.set()
