"""One incident at length, for ``incidents show``: who was in it and what each lost, what is known, what to do."""

from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from engine.console.format import date_and_time, iso, moment, whole_seconds
from engine.console.incident_lines import as_data, how_lines, icon_of
from engine.console.safe_text import one_line
from states.incident import Incident

MAX_ACCOUNTS: Final = 20
"""Accounts that the page shows; JSON has all of them."""
MAX_NAME: Final = 28
"""Characters of an account's name in the table."""
DAY: Final = 86_400.0
WEEK: Final = 7 * DAY


@frozen(kw_only=True)
class AccountLoss:
    """What an account lost in an incident."""

    account: str
    left: float | None
    """When it left the incident (Unix seconds); None if it is in it still, or was to its end."""
    away: float
    """Seconds in which it was not healthy while the engine ran, within the incident."""
    outages: int
    """How often it lost its connection within the incident, or could not make one."""
    fetched: int | None = None
    """Updates that came late; None if no link has said anything."""
    too_long: bool = False
    """Whether Telegram did not list all updates."""
    missing: tuple[str, ...] = ()
    """What is missing still."""


@frozen(kw_only=True)
class Frequency:
    """How often the same was the matter: in the last week until the incident's end (or now), and in that before."""

    count: int
    seconds: float
    before: int
    seconds_before: float
    known: bool
    """Whether the file reaches back over both weeks."""

    @property
    def verdict(self) -> str:
        """In a word, whether it is getting worse; empty if that cannot be said."""
        if not self.known:
            return ""
        if (self.count, self.before) == (1, 0):
            return "new"
        now, then = (self.count, self.seconds), (self.before, self.seconds_before)
        if now[0] >= then[0] and now[1] >= then[1] and now != then:
            return "worse"
        return "better" if now[0] <= then[0] and now[1] <= then[1] and now != then else "mixed"


_VERDICTS: Final = {
    "new": "it is the first time in two weeks",
    "worse": "it is getting worse",
    "better": "it is getting better",
    "mixed": "it is neither better nor worse",
    "": "the journal does not reach back two weeks",
}


def trend_of(incident: Incident, others: Sequence[Incident], now: float, begins: float | None) -> Frequency:
    """Return how often the same was the matter, by ``others``, which went on in the two weeks until its end.

    The same is one of the same kind that shares the cause, or an account. ``begins`` is where the records begin.
    """
    end = now if incident.closed is None else incident.closed
    alike = [each for each in others if each.id != incident.id and _is_same(each, incident)]
    this = [incident, *(each for each in alike if end - WEEK <= each.since <= end)]
    before = [each for each in alike if end - 2 * WEEK <= each.since < end - WEEK]
    return Frequency(
        count=len(this),
        seconds=sum(each.lasted(end) for each in this),
        before=len(before),
        seconds_before=sum(each.lasted(end) for each in before),
        known=begins is not None and begins <= end - 2 * WEEK,
    )


def _is_same(one: Incident, other: Incident) -> bool:
    if one.kind is not other.kind or one.fleet is not other.fleet:
        return False
    return one.cause == other.cause if one.fleet or not one.accounts else bool({*one.accounts} & {*other.accounts})


def worst_first(lost: Sequence[AccountLoss]) -> list[AccountLoss]:
    """Return accounts by what they lost."""
    return sorted(lost, key=lambda each: (-each.away, -each.outages, each.account.casefold()))


def show_data(
    incident: Incident, lost: Sequence[AccountLoss], trend: Frequency, missed: str | None, now: float
) -> dict[str, Any]:
    """Return what ``incidents show --json`` prints, without the records; times are seconds."""
    return {
        **as_data(incident),
        "lasted": incident.lasted(now),
        "missed": missed,
        "trend": {
            "verdict": trend.verdict or None,
            "week": {"incidents": trend.count, "seconds": trend.seconds},
            "week_before": {"incidents": trend.before, "seconds": trend.seconds_before},
        },
        "lost": [_lost_data(each) for each in worst_first(lost)],
    }


def _lost_data(of: AccountLoss) -> dict[str, Any]:
    return {
        "account": of.account,
        "left": iso(of.left),
        "away": of.away,
        "outages": of.outages,
        "fetched": of.fetched,
        "too_long": of.too_long,
        "missing": list(of.missing),
    }


def lines(
    incident: Incident,
    lost: Sequence[AccountLoss],
    trend: Frequency,
    missed: str | None,
    now: float,
    *,
    config: object = "",
) -> list[str]:
    """Return the lines above the records. ``missed`` is what was missed: empty if not known, None if it is not over.

    ``config`` is the path of the config as it is typed, for the commands.
    """
    severity = f"{incident.kind.value}, {incident.severity.value}"
    said = [f"{icon_of(incident)} incident {incident.id} ({severity}): {incident.meaning}", *_facts(incident, now)]
    said += how_lines(incident, config)
    if missed is not None:
        said.append(f"   what was missed: {missed or 'it is not known'}")
    said.append(f"   how often: {_how_often(trend)}")
    if lost:
        said += ["", *_table(incident, lost, now)]
    return list(map(one_line, said))


def _facts(incident: Incident, now: float) -> list[str]:
    lasted = whole_seconds(incident.lasted(now))
    since = date_and_time(incident.since)
    if incident.closed is None:
        said = [f"   since: {since}, for {lasted}"]
    else:
        said = [f"   when: from {since} to {moment(incident.closed, incident.since)}, {lasted} in all"]
    noticed = f"an incident from {moment(incident.opened, incident.since)} on"
    acked = f", acknowledged {moment(incident.acked, incident.since)}" if incident.acked is not None else ""
    said[0] += f" ({noticed}{acked})"
    if incident.detail:
        said.append(f"   heard first: {incident.detail}")
    said.append(f"   what to do: {incident.action if incident.is_open else 'nothing, it is over'}")
    return said


def _how_often(trend: Frequency) -> str:
    week = f"{trend.count} in a week, {whole_seconds(trend.seconds)} in all"
    before = f"{trend.before} in the week before, {whole_seconds(trend.seconds_before)} in all"
    return f"{week}; {before}; {_VERDICTS[trend.verdict]}"


def _table(incident: Incident, lost: Sequence[AccountLoss], now: float) -> list[str]:
    shown = worst_first(lost)[:MAX_ACCOUNTS]
    total = sum(each.away for each in lost)
    count = "1 account" if len(lost) == 1 else f"{len(lost):,} accounts, {whole_seconds(total)} together, worst first"
    width = max(len(_short(each.account)) for each in shown)
    said = [f"What it cost: {count}"]
    for each in shown:
        parts = [f"{whole_seconds(each.away)} away in {each.outages} outage{'' if each.outages == 1 else 's'}"]
        if each.fetched is not None:
            parts.append(f"{each.fetched:,} update{'' if each.fetched == 1 else 's'} came late")
        if each.too_long:
            parts.append("not all of them are listed by Telegram")
        if each.missing:
            parts.append(f"missing: {', '.join(each.missing)}")
        if each.left is not None:
            parts.append(f"well again, or taken out, at {moment(each.left, incident.since)}")
        said.append(f"   {_short(each.account):<{width}}  {', '.join(parts)}")
    if (more := len(lost) - len(shown)) > 0:
        said.append(f"   and {more:,} more (--json has all of them)")
    return said


def _short(name: str) -> str:
    safe = one_line(name)
    return safe if len(safe) <= MAX_NAME else safe[: MAX_NAME - 1] + "…"


def none_found(until: float | None, begins: float | None) -> str:
    """Return what is said where no incident was found until a time; ``begins`` is where the records begin."""
    if until is None or (begins is not None and begins < until):
        return "there were no incidents"
    if begins is None:
        return "nothing is known of that time: the journal is empty"
    return f"nothing is known of that time: the journal begins at {date_and_time(begins)}"


def summary(found: Sequence[Incident], now: float, begins: float | None) -> str:
    """Return in a line how much was the matter in the last day and in the day before, by what went on in both.

    An incident is counted in the day in which it began, and its length in those in which it went on. ``begins`` is
    where the records begin: where they do not reach back so far, the two days cannot be compared.
    """
    said = []
    for begin, name in ((now - DAY, "in the last 24 h"), (now - 2 * DAY, "in the 24 h before")):
        end = begin + DAY
        began = [each for each in found if begin <= each.since < end]
        ends = [(each.since, now if each.closed is None else each.closed) for each in found]
        spent = sum(max(0.0, min(end, over) - max(begin, since)) for since, over in ends)
        said.append(f"{name}: {len(began)} began, {whole_seconds(spent)} of trouble")
    if begins is not None and begins > now - 2 * DAY:
        said.append(f"the journal begins at {date_and_time(begins)}")
    return "; ".join(said)
