"""What is kept of an engine between two pages, so that only what has changed is drawn again."""

import threading
from collections.abc import Sequence
from typing import Any, Final

from attrs import define, field
from markupsafe import Markup

from engine.web.page.fleet import (
    MAX_LANES,
    PER_PAGE,
    Bars,
    Standing,
    Trend,
    both_bars,
    timeline,
    told_until_now,
    trend_of,
)
from engine.web.page.render import Steady, render
from engine.web.page.source import Histories, PageSource, Viewer
from engine.web.page.words import account_words
from states.incident import Incident

REDRAWN_EVERY: Final = 60.0
"""Seconds after which everything that follows the time is drawn again, also if nothing has happened."""
TREND_EVERY: Final = 15.0
"""Seconds after which outages are counted again: of ten thousand accounts and ninety days it takes a moment."""
NEW_EVERY: Final = 10.0
"""The same for the bars of an account of whose life little is known: there every second shows."""
NEW: Final = 300.0
"""Seconds of life up to which little is known."""
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
    _bars: dict[str, tuple[tuple[Any, ...], float, dict[str, Bars]]] = field(factory=dict)
    """By name: of what and when they were drawn, how often they are drawn again, and the bars."""
    _timeline: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    _trend: tuple[float, Trend] | None = None

    def bars(self, name: str, now: float) -> dict[str, Bars]:
        """Return an account's bars; those that look the same as before are the same object."""
        at, past = self.standing.accounts[name], self.histories.past.get(name)
        before = self._bars.get(name)
        pace = NEW_EVERY if before is None else before[1]
        key = (past, at.known, at.state, now // pace)
        if before is not None and before[0][0] is past and before[0][1:] == key[1:]:
            return before[2]
        drawn = both_bars(told_until_now(past, at), now)
        lived = drawn["days"].lived
        pace = NEW_EVERY if 0 < lived < NEW else REDRAWN_EVERY
        kept = before[2] if before is not None and before[2] == drawn else drawn
        self._bars[name] = ((*key[:3], now // pace), pace, kept)
        return kept

    def row(self, source: PageSource, name: str, viewer: Viewer, now: float) -> Markup:
        """Return an account's row. One for the stream has no seconds that pass, and is written once for each change."""
        at, trouble, bars = self.standing.accounts[name], source.trouble_since(name), self.bars(name, now)
        place = source.whereabouts(name)
        key = (at, trouble, id(bars), place)
        mine = (name, viewer)
        found = self._rows.get(mine)
        if isinstance(now, Steady) and found is not None and found[0][0] is at and found[0] == key:
            return found[1]
        words = account_words(name, at, trouble, now)
        html = render("row.html", a=words, place=place, viewer=viewer, now=now, **bars)
        if isinstance(now, Steady):
            self._rows[mine] = (key, html)
        return html

    def timeline(self, source: PageSource, now: float) -> dict[str, Any]:
        """Return the timeline, which is drawn again each minute, and when something of it changes."""
        incidents = source.incidents()
        ill = min(self.standing.troubled, MAX_LANES)  # the journal tells of each a moment later
        shared = tuple((each.id, each.fleet) for each in incidents)
        key = (self.histories, shared, self.over, now // REDRAWN_EVERY, ill)
        if self._timeline is None or self._timeline[0][0] is not key[0] or self._timeline[0] != key:
            pasts = {
                name: told
                for name, at in self.standing.accounts.items()
                if (told := told_until_now(self.histories.past.get(name), at)) is not None
            }
            shown = (
                now // REDRAWN_EVERY + 1
            ) * REDRAWN_EVERY  # the same for a minute, so that nothing is sent for seconds
            drawn = timeline(pasts, [*self.over, *incidents], shown)
            self._timeline = (key, {**drawn, "complete": self.histories.complete})
        return self._timeline[1]

    def trend(self, now: float) -> Trend:
        """Return the outages of each day, which are counted again every ``TREND_EVERY``."""
        key = now // TREND_EVERY
        if self._trend is None or self._trend[0] != key:
            self._trend = (key, trend_of(self.histories.past, now))
        return self._trend[1]

    def forget(self) -> None:
        """Drop what was kept of accounts that are there no more, and of viewers whose token has changed."""
        if len(self._rows) > 4 * len(self.standing.accounts) + PER_PAGE:
            self._rows.clear()
        if len(self._bars) > len(self.standing.accounts):
            self._bars = {name: kept for name, kept in self._bars.items() if name in self.standing.accounts}
