"""The page of all accounts: which are shown, in which order, and what is said of all of them together."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from attrs import define, evolve, field, frozen
from markupsafe import Markup

from engine.console.account_status import PAUSED, AccountStatus
from engine.console.format import local, whole_seconds
from engine.console.safe_text import one_line
from engine.console.status import SEVERITY, EngineInfo, Severity, severity_of
from engine.web.page.buckets import Shown, last_day, last_days
from engine.web.page.drawings import Times, bars, lane, percent, trend
from engine.web.page.history import (
    DAYS,
    HALF_HOUR,
    HALF_HOURS,
    KINDS,
    Kind,
    Past,
    Span,
    day_of,
    midnight,
)
from engine.web.page.words import ICONS, MAX_NAME, NEEDS, TROUBLED, path_of, word_of
from states import State
from states.incident import Incident
from states.names import name_key

PER_PAGE: Final = 200
"""Accounts on one page."""
MAX_LANES: Final = 24
HOUR: Final = 3600.0
TROUBLES: Final = (State.TIMEOUT, State.BACKOFF, State.RECONNECTING)
MAX_SEARCH: Final = 100
"""Characters of a name that is searched for."""
SORTS: Final = (("", "worst first"), ("name", "by name"), ("day", "most lost in 24 h"), ("days", "most lost in 90 d"))


@frozen
class Filter:
    """Which accounts are asked for."""

    text: str = ""
    state: str = ""
    sort: str = ""
    page: int = 1
    node: str = ""
    node_of: Callable[[str], str] = lambda _: ""
    """Returns the name of the node that has an account."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Filter":
        """Return the filter of an address; what makes no sense counts as not said."""
        state, sort = query.get("state", ""), query.get("sort", "")
        page = query.get("number", "1")
        return cls(
            text=query.get("q", "").strip()[:MAX_SEARCH],
            state=state if state in (NEEDS, TROUBLED, *SEVERITY) else "",
            sort=sort if sort in dict(SORTS) else "",
            page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 6 else 1,
            node=query.get("node", "")[:MAX_SEARCH],
        )

    @property
    def active(self) -> bool:
        """Whether not all accounts are shown."""
        return bool(self.text or self.state or self.node)

    @property
    def words(self) -> dict[str, str]:
        """What an address says of it; empty for what is not asked for."""
        page = str(self.page) if self.page > 1 else ""
        return {"q": self.text, "state": self.state, "sort": self.sort, "number": page, "node": self.node}

    def at(self, page: int) -> str:
        """Return the address of another page of the same."""
        words = {name: value for name, value in evolve(self, page=page).words.items() if value}
        return f"/?{urlencode(words, errors='backslashreplace')}" if words else "/"

    def admits(self, name: str, at: AccountStatus) -> bool:
        """Return whether an account is asked for."""
        if self.text and self.text.casefold() not in name.casefold():
            return False
        if self.node and self.node_of(name)[:MAX_SEARCH] != self.node:
            return False
        match self.state:
            case "":
                return True
            case "needs":
                return needs_person(at)
            case "troubled":
                return not at.healthy and not at.paused
            case state:
                return at.state == state


def needs_person(at: AccountStatus) -> bool:
    """Return whether an account needs a person."""
    return at.last is not None and at.last.action is not None and not at.paused


@define(eq=False)
class Standing:
    """All accounts, worst first, and how many are in each state; what has not changed is not looked at again."""

    accounts: Mapping[str, AccountStatus] = field(factory=dict)
    order: list[str] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)
    needing: int = 0
    troubled: int = 0
    """How many are known to have no connection that works, paused ones left out."""
    _keys: dict[str, tuple[Severity, tuple[str, str]]] = field(factory=dict)

    def update(self, accounts: Mapping[str, AccountStatus]) -> None:
        """Take where the accounts are now."""
        before, self.accounts = self.accounts, accounts
        changed = [name for name, at in accounts.items() if before.get(name) is not at]
        gone = self._keys.keys() - accounts.keys()
        if not changed and not gone:
            return
        for name in gone:
            del self._keys[name]
        for name in changed:
            self._keys[name] = (severity_of(accounts[name]), name_key(name))
        self.order = sorted(accounts, key=self._keys.__getitem__)
        self.counts = Counter(at.state for at in accounts.values())
        self.needing = sum(map(needs_person, accounts.values()))
        self.troubled = sum(self.counts[state.value] for state in (*TROUBLES, State.AUTH_FAILED))


def select(standing: Standing, pasts: Mapping[str, Past], chosen: Filter, now: float) -> list[str]:
    """Return the accounts that are asked for, in order."""
    accounts = standing.accounts
    names = standing.order
    if chosen.active:
        names = [name for name in names if chosen.admits(name, accounts[name])]
    match chosen.sort:
        case "name":
            return sorted(names, key=name_key)
        case "day" | "days":
            daily = chosen.sort == "days"
            return sorted(names, key=lambda name: -lost(pasts.get(name), now, daily=daily))
        case _:
            return names


def lost(past: Past | None, now: float, *, daily: bool) -> float:
    """Return how many seconds an account has lost in the last 24 hours, or in all days that are kept."""
    if past is None:
        return 0.0
    begin = midnight(day_of(now) - DAYS + 1) if daily else (now // HALF_HOUR - HALF_HOURS + 1) * HALF_HOUR
    first = day_of(begin) if daily else int(begin // HALF_HOUR)
    found = sum(tally.lost for place, tally in (past.days if daily else past.half_hours).items() if place >= first)
    if past.open is not None and past.open.kind is not Kind.STOPPED:
        found += max(0.0, now - max(past.open.begin, begin))
    return found


def told_until_now(past: Past | None, at: AccountStatus) -> Past | None:
    """Return a past that goes on to where the account is: the journal is read a moment after what it records.

    Nothing is added for an account that nobody runs, or that is healthy again by now.
    """
    lasts = None if past is None else past.open
    if not at.known or at.last is None:
        if past is not None and lasts is not None and lasts.kind is not Kind.STOPPED:
            return evolve(past, open=Span(max(lasts.begin, at.until or lasts.begin), None, Kind.STOPPED))
        return past
    kind, since = KINDS[at.last.state], at.last.since
    if at.paused or (lasts is None and kind is None) or (lasts is not None and lasts.kind is kind):
        return past
    if past is None or lasts is None:
        cause = "" if at.last.cause is None else at.last.cause.event
        begun = None if kind is None else Span(since, None, kind, cause)
        return Past(since, open=begun) if past is None else evolve(past, open=begun)
    if lasts.kind is Kind.STOPPED:  # it runs again, and the journal will say since when
        return past
    return evolve(past, open=evolve(lasts, end=max(lasts.begin, since)) if kind is None else evolve(lasts, kind=kind))


# --- what is said of all ---------------------------------------------------------------------------------------------


@frozen
class Tile:
    """How many accounts are in a state."""

    state: str
    icon: str
    word: str
    count: int
    chosen: bool


def tiles(standing: Standing, chosen: Filter) -> list[Tile]:
    """Return the counts, the worst first; the healthy accounts always have one."""
    found = [Tile(NEEDS, "person", "need you" if standing.needing != 1 else "needs you", standing.needing, False)]
    found = found if standing.needing else []
    for state in SEVERITY:
        if standing.counts[state] or state == State.HEALTHY.value:
            found.append(Tile(state, ICONS[state], word_of(state), standing.counts[state], False))
    return [evolve(tile, chosen=tile.state == chosen.state) for tile in found]


def heading(standing: Standing, info: EngineInfo) -> str:
    """Return how many accounts are healthy, or what is the matter with the engine."""
    if not info.running:
        return "The engine is not running; this is where it left the accounts"
    total = len(standing.accounts) - standing.counts[PAUSED]
    return f"{standing.counts[State.HEALTHY.value]:,} of {total:,} accounts healthy"


@frozen
class Bars:
    """The bars of an account, and the words beside them."""

    drawing: Markup
    share: str
    lost: str
    lived: float = field(eq=False)
    """Seconds in which the engine ran the account; it alone makes no bars different."""


def bars_of(shown: Shown, of: str) -> Bars:
    """Return the bars of a period."""
    said = whole_seconds(shown.lost) if shown.lost >= 0.5 else ""
    return Bars(bars(shown, of), percent(shown.availability), said, shown.lived)


def both_bars(past: Past | None, now: float) -> dict[str, Bars]:
    """Return the bars of the last 24 hours and of the last 90 days."""
    return {
        "day": bars_of(last_day(past, now), "24 hours"),
        "days": bars_of(last_days(past, now), f"{DAYS} days"),
    }


@frozen
class Lane:
    """An account of the timeline."""

    name: str
    path: Markup
    drawing: Markup


def timeline(pasts: Mapping[str, Past], incidents: Sequence[Incident], now: float) -> dict[str, Any]:
    """Return the lanes of the accounts that had trouble in the last 24 hours, those first in which it began first.

    If there are too many, those in which most was lost are shown.
    """
    end = (now // HOUR + 1) * HOUR
    begin = end - 24 * HOUR
    found: list[tuple[float, float, str, list[Span]]] = []
    for name, past in pasts.items():
        lasts = [past.open] if past.open is not None else []
        spans = [span for span in (*past.spans, *lasts) if span.end is None or span.end > begin]
        ill = [span for span in spans if span.kind in (Kind.TROUBLE, Kind.PERSON)]
        if ill:
            spent = sum((now if span.end is None else span.end) - max(span.begin, begin) for span in ill)
            found.append((spent, ill[0].begin, name, spans))
    found.sort(key=lambda each: (-each[0], each[2]))
    shown = sorted(found[:MAX_LANES], key=lambda each: (each[1], each[2]))
    shared = [
        (each.since, now if each.closed is None else each.closed)
        for each in incidents
        if each.fleet and (each.closed is None or each.closed > begin)
    ]
    times = Times(begin, now, end)
    ticks = [local(begin + 4 * HOUR * number) for number in range(7)]
    return {
        "lanes": [
            Lane(one_line(name, MAX_NAME), path_of(name), lane(one_line(name, MAX_NAME), spans, shared, times))
            for _, _, name, spans in shown
        ],
        "more": len(found) - len(shown),
        "ticks": ["" if tick is None else f"{tick:%H:%M}" for tick in ticks],
    }


@frozen
class Trend:
    """Whether it is getting worse."""

    drawing: Markup
    said: str
    tone: str
    icon: str
    most: int


def trend_of(pasts: Mapping[str, Past], now: float) -> Trend:
    """Return the outages of each of the last days, and how the last seven compare with the thirty before them."""
    today = day_of(now)
    totals: Counter[int] = Counter()
    for past in pasts.values():
        for day, tally in past.days.items():
            totals[day] += tally.outages
    known = min((day_of(past.known) for past in pasts.values()), default=today)
    counts = [(midnight(day), totals[day]) for day in range(today - DAYS + 1, today + 1)]
    recent = sum(totals[day] for day in range(today - 6, today + 1)) / min(7, today - known + 1)
    before_days = min(30, today - 7 - known + 1)
    if before_days < 3:
        said, tone, icon = f"{recent:,.1f} outages a day; too little is known of earlier days to compare", "", "unknown"
    else:
        before = sum(totals[day] for day in range(today - 6 - before_days, today - 6)) / before_days
        words = f"{recent:,.1f} outages a day in the last 7 days, {before:,.1f} in the {before_days} days before"
        if recent > 1.5 * before and recent - before > 0.5:
            said, tone, icon = f"It is getting worse: {words}", "worse", "warning"
        elif recent < before / 1.5 and before - recent > 0.5:
            said, tone, icon = f"It is getting better: {words}", "better", "healthy"
        else:
            said, tone, icon = f"It is about the same: {words}", "", "healthy"
    return Trend(trend(counts, said), said, tone, icon, max((count for _, count in counts), default=0))
