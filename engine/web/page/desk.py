"""What is kept of an engine between two pages, so that only what has changed is drawn again."""

import threading
from collections.abc import Sequence
from typing import Any, Final

from attrs import define, field
from markupsafe import Markup

from engine.web.page.fleet import PER_PAGE, Standing, both_bars, timeline, told_until_now
from engine.web.page.history import HALF_HOUR, Kind
from engine.web.page.render import Steady, render
from engine.web.page.source import Histories, PageSource, Viewer
from engine.web.page.words import account_words
from states.incident import Incident

OPEN_EVERY: Final = 60.0
"""Seconds after which bars in which something lasts are drawn again."""
NO_HISTORY: Final = Histories({}, complete=False, at=0.0)


@define(eq=False)
class Desk:
    """What is kept of one engine between two pages, so that only what has changed is written again."""

    standing: Standing = field(factory=Standing)
    histories: Histories = NO_HISTORY
    over: Sequence[Incident] = ()
    """The newest incidents that are over."""
    lock: threading.Lock = field(factory=threading.Lock)
    _rows: dict[tuple[str, Viewer], tuple[tuple[Any, ...], Markup]] = field(factory=dict)
    _bars: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = field(factory=dict)
    _timeline: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def bars(self, name: str, now: float) -> dict[str, Any]:
        """Return an account's bars, which are drawn again when half an hour, or what lasts, has become longer."""
        past = told_until_now(self.histories.past.get(name), self.standing.accounts[name])
        lasts = past is not None and past.open is not None and past.open.kind is not Kind.STOPPED
        key = (self.histories.past.get(name), past is None, now // (OPEN_EVERY if lasts else HALF_HOUR))
        kept = self._bars.get(name)
        if kept is None or kept[0][0] is not key[0] or kept[0] != key:
            kept = self._bars[name] = (key, both_bars(past, now))
        return kept[1]

    def row(self, source: PageSource, name: str, viewer: Viewer, now: float) -> Markup:
        """Return an account's row. One for the stream has no seconds that pass, and is written once for each change."""
        at, trouble, bars = self.standing.accounts[name], source.trouble_since(name), self.bars(name, now)
        key = (at, trouble, id(bars))
        mine = (name, viewer)
        found = self._rows.get(mine)
        if isinstance(now, Steady) and found is not None and found[0][0] is at and found[0] == key:
            return found[1]
        html = render("row.html", a=account_words(name, at, trouble, now), viewer=viewer, now=now, **bars)
        if isinstance(now, Steady):
            self._rows[mine] = (key, html)
        return html

    def timeline(self, source: PageSource, now: float) -> dict[str, Any]:
        """Return the timeline, which is drawn again each minute, and when something of it changes."""
        incidents = source.incidents()
        key = (self.histories, tuple((each.id, each.fleet) for each in incidents), self.over, now // OPEN_EVERY)
        if self._timeline is None or self._timeline[0][0] is not key[0] or self._timeline[0] != key:
            pasts = {
                name: told
                for name, at in self.standing.accounts.items()
                if (told := told_until_now(self.histories.past.get(name), at)) is not None
            }
            shown = (now // OPEN_EVERY + 1) * OPEN_EVERY  # the same for a minute, so that nothing is sent for seconds
            drawn = timeline(pasts, [*self.over, *incidents], shown)
            self._timeline = (key, {**drawn, "complete": self.histories.complete})
        return self._timeline[1]

    def forget(self) -> None:
        """Drop what was kept of accounts that are there no more, and of viewers whose token has changed."""
        if len(self._rows) > 4 * len(self.standing.accounts) + PER_PAGE:
            self._rows.clear()
        if len(self._bars) > len(self.standing.accounts):
            self._bars = {name: kept for name, kept in self._bars.items() if name in self.standing.accounts}
