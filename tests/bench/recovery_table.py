"""The recovery benchmark's table, its legend, and its judgement."""

from collections.abc import Mapping, Sequence
from math import isinf
from statistics import fmean

from attrs import asdict

from tests.bench.harness import Outcome, Outcomes, median
from tests.bench.programs import Bare, Holdfast
from tests.bench.recovery_faults import Row, Scale
from tests.bench.table import Target, ratio

OURS, THEIRS = Holdfast.__name__, Bare.__name__
EQUAL = 1.1
"""Up to this ratio two medians are called equal."""
HEAD = ("fault", "measured until", "engine", "bare Telethon", "ratio", "connections: engine", "bare Telethon", "ratio")
MEASURED = {
    "answered": "**answered**: from the end of the fault (from its beginning, if it lasts for no time or for ever)"
    " until an authorised request is answered.",
    "noticed": "**noticed**: from the fault until the program can tell without asking: the engine's `auth_failed`,"
    " Telethon's `client.disconnected`.",
    "heard": "**heard**: from the end of the outage until the NewMessage handler has the message, and how often."
    " Telethon asks for what it missed when the next message comes, or after 15 minutes without one.",
}


def seconds_of(outcomes: Sequence[Outcome]) -> float:
    """Return the median time."""
    return median(outcomes, lambda outcome: outcome.seconds)


def tries_of(outcomes: Sequence[Outcome]) -> float:
    """Return the median number of connections that were tried."""
    return median(outcomes, lambda outcome: outcome.tries)


def everything_of(outcomes: Sequence[Outcome]) -> float:
    """Return the median number of connections that were tried and of probes together."""
    return median(outcomes, lambda outcome: outcome.tries + outcome.probes)


def markdown(rows: Sequence[Row], found: Mapping[str, Outcomes], scale: Scale) -> list[str]:
    """Return the lines of the table."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * 2 + "|---:" * 6 + "|"]
    lines += ["| " + " | ".join(_cells(row, found[row.key], scale)) + " |" for row in rows]
    return lines


def legend(rows: Sequence[Row], found: Mapping[str, Outcomes], scale: Scale) -> list[str]:
    """Return what a reader must know to read the table."""
    lines = [
        "Figures are medians, with the least and the most in brackets. A ratio is Telethon's figure divided by the"
        " engine's, so more than 1 is better for the engine. Connections are those that were tried meanwhile. Probes"
        " are those of the network probe: a connection and one message that needs no account, once for all accounts on"
        " the same way. The last ratio is given without them and with them.",
        "",
        *(f"- {text}" for measured, text in MEASURED.items() if any(row.measured == measured for row in rows)),
        *(
            f"- **{row.fault.format(**asdict(scale))}**: few connections and probes are promised here, not the shortest"
            " time; the time is shown and not judged."
            for row in rows
            if row.paced
        ),
        "- **never**: the client had disconnected itself for good.",
        f"- **> {scale.bound:g} s**: the measurement ended then.",
        "",
    ]
    return lines


def behind(row: Row, outcomes: Outcomes) -> str | None:
    """Return in a sentence where the engine is slower or tries more often; None if it is ahead or equal.

    In a row that is paced, only that it gets there in time, and how many connections and probes it needs, counts.
    """
    if isinf(seconds_of(outcomes[OURS])):
        return f"{row.key}: the engine did not get there at all."
    if not row.paced and (slower := _slower(row, outcomes)):
        return slower
    theirs = seconds_of(outcomes[THEIRS])
    if not isinf(theirs) and everything_of(outcomes[OURS]) > tries_of(outcomes[THEIRS]):
        return f"{row.key}: the engine tries more often, its probes included."
    return None


def target(row: Row, outcomes: Outcomes, scale: Scale) -> Target:
    """Return the row's judgement with the figure that a reader wants first: how much sooner, or with how few tries."""
    fault = row.fault.format(**asdict(scale))
    if row.paced:
        what, of, why = f"{fault}; connections, times fewer", everything_of, "no more connections"
    else:
        what, of, why = f"{fault}; {row.measured}, times sooner", seconds_of, "as soon, no more connections"
        if row.slack:
            why = f"{why}; {row.slack * 1000:g} ms do not count"
    theirs, ours = of(outcomes[THEIRS]), of(outcomes[OURS])
    return Target(
        what,
        0.0 if isinf(ours) else ratio(theirs, ours),
        against="bare Telethon",
        why=why,
        headline=row.key == "half-open",
        verdict=behind(row, outcomes) is None,
    )


def _slower(row: Row, outcomes: Outcomes) -> str | None:
    ours, theirs = (seconds_of(outcomes[kind]) for kind in (OURS, THEIRS))
    if ours > theirs * EQUAL and ours > theirs + row.slack:
        return f"{row.key}: the engine needs {_time(ours)}, bare Telethon {_time(theirs)}."
    ours, theirs = (fmean(one.seconds for one in outcomes[kind]) for kind in (OURS, THEIRS))
    if ours > theirs * EQUAL and ours > theirs + row.slack:
        return f"{row.key}: the engine needs {_time(ours)} on average, bare Telethon {_time(theirs)}."
    return None


def _cells(row: Row, outcomes: Outcomes, scale: Scale) -> list[str]:
    ours, theirs = outcomes[OURS], outcomes[THEIRS]
    bound = row.bound(scale)
    return [
        row.fault.format(**asdict(scale)),
        row.measured,
        _spread(ours, bound) + _times(row, ours),
        _spread(theirs, bound) + _times(row, theirs),
        _ratio(seconds_of(theirs), seconds_of(ours)),
        f"{tries_of(ours):,.0f}" + _probes(ours),
        f"{tries_of(theirs):,.0f}",
        _ratios(ours, theirs),
    ]


def _spread(outcomes: Sequence[Outcome], bound: float) -> str:
    """Return the median with the least and the most."""
    middle = seconds_of(outcomes)
    if isinf(middle):
        return "never" if all(outcome.over for outcome in outcomes if isinf(outcome.seconds)) else f"> {bound:g} s"
    if len(outcomes) == 1:
        return _time(middle)
    times = [outcome.seconds for outcome in outcomes]
    return f"{_time(middle)} ({_time(min(times))}–{_time(max(times))})"


def _times(row: Row, outcomes: Sequence[Outcome]) -> str:
    """Return how often the message was heard, if it was."""
    often = sorted({outcome.times for outcome in outcomes})
    return "" if row.measured != "heard" or often == [0] else f", {'–'.join(map(str, often))}×"


def _probes(outcomes: Sequence[Outcome]) -> str:
    """Return how many probes there were, if any."""
    probes = median(outcomes, lambda outcome: outcome.probes)
    return f" + {probes:,.0f} probes" if probes else ""


def _ratios(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> str:
    """Return the ratio of the tries and, if there were probes, also that of everything that was sent out."""
    without = _ratio(tries_of(theirs), tries_of(ours))
    probes = median(ours, lambda outcome: outcome.probes)
    return f"{without}; {_ratio(tries_of(theirs), everything_of(ours))} with the probes" if probes else without


def _time(seconds: float) -> str:
    if isinf(seconds):
        return "never"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _ratio(theirs: float, ours: float) -> str:
    if isinf(ours) or (theirs == 0 and ours == 0):
        return "–"
    if isinf(theirs) or ours == 0:
        return "∞"
    ratio = theirs / ours
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2g}"
