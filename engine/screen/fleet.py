"""The fleet as lines: how many accounts are in which state, and a row for each account, with what to do about it."""

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from engine.console.account_status import AccountStatus
from engine.console.cells import width_of, wrapped
from engine.console.format import local, whole_seconds
from engine.console.ranking import Ranking
from engine.console.safe_text import one_line
from engine.console.status import (
    NAME_CELLS,
    REMARK_CHARACTERS,
    SEVERITY,
    STYLES,
    EngineInfo,
    heading_text,
    last_known,
    remark,
    situation,
)
from engine.screen.model import Model
from engine.screen.text import Letters, Line, Span, fitted, flow, length_of, paragraph
from states import Snapshot

GAP: Final = "  "
STATE_CELLS: Final = 17
FOR_CELLS: Final = 11
TIME_CELLS: Final = 13
NARROW: Final = 60
"""Below this width an account is a paragraph, not a row."""
REMARK_CELLS: Final = 40
"""A column of remarks has at least this width; where there is less room, they get lines of their own."""
INDENT: Final = 3
"""Where an account's own lines begin."""
NEEDED: Final = "bold red"


@frozen
class AccountRow:
    """An account, where it is, and since when (Unix seconds) it is in trouble, if it is."""

    name: str
    at: AccountStatus
    trouble: float | None


@frozen
class Columns:
    """The widths of a row's columns; 0 for one that has no room."""

    name: int
    trouble: int = 0
    last_ok: int = 0
    fails: int = 0
    reconnects: int = 0
    remark: int = 0


# --- the header ------------------------------------------------------------------------------------------------------


def header(
    info: EngineInfo, ranking: Ranking, now: float, width: int, letters: Letters, *, also: Sequence[Line] = ()
) -> list[Line]:
    """Return the line of counts, ``24 ✅  4 🔌  2 🔄  1 needs you``, after what is to be said of the engine itself.

    ``also`` are other counts.
    """
    text, style = heading_text(info, ranking.states, now)
    if not ranking.states.total():
        return paragraph(text, width, style)
    silent = not info.works or info.hangs or info.unwritten is not None
    lines = paragraph(text, width, style) if silent else []
    counts: list[Line] = [(("Holdfast", "bold"),), *_counts(ranking, letters)]
    if ranking.needing:
        counts.append(((f"{ranking.needing} need{'s' if ranking.needing == 1 else ''} you", NEEDED),))
    lines += flow([*counts, *also], width)
    if not silent and info.since:
        process = f" (process {info.pid})" if info.pid else ""
        more = f"running for {whole_seconds(now - info.since)}{process}"
        if length_of(lines[-1]) + len(GAP) + len(more) <= width:
            lines[-1] = (*lines[-1], (GAP, ""), (more, "dim"))
    return lines


def _counts(ranking: Ranking, letters: Letters) -> list[Line]:
    """Return how many accounts there are of each icon, the healthy ones first; states that share one are together."""
    found: dict[str, int] = {STYLES["healthy"][0]: 0}
    for state in reversed(SEVERITY):
        icon = STYLES[state][0]
        if count := ranking.states[state]:
            found[icon] = found.get(icon, 0) + count
    styles = dict(STYLES.values())
    order = list(dict.fromkeys((STYLES["healthy"][0], *(STYLES[state][0] for state in SEVERITY))))
    return [((f"{found[icon]:,} {letters(icon)}", styles[icon]),) for icon in order if icon in found]


def filter_line(model: Model, count: int, total: int, letters: Letters, *, keys: bool) -> Line:
    """Return which accounts are shown; empty if all are."""
    if model.typing:
        return (
            ("Name: ", "bold"),
            (letters(one_line(model.name)), "bold"),
            ("_", "blink"),
            (f"  {count:,} of {total:,}", "dim"),
        )
    if not model.filtered:
        return ()
    parts = [f"state {model.state}"] if model.state is not None else []
    parts += [f"name {letters(one_line(model.name))!r}"] if model.name else []
    parts += ["no healthy ones"] if model.hides_healthy else []
    return (
        (f"{count:,} of {total:,} shown: {', '.join(parts)}", "bold"),
        *(((" (Esc shows all)", "dim"),) if keys else ()),
    )


# --- rows ------------------------------------------------------------------------------------------------------------


def columns_of(width: int, longest: int) -> Columns | None:
    """Return the columns for a width, where the longest name has so many cells; None if an account is a paragraph.

    Names and states are always there, and what is worth less gives way first.
    """
    if width < NARROW:
        return None
    name = max(len("Account"), min(longest, NAME_CELLS))
    left = width - name - STATE_CELLS - FOR_CELLS - 2 * len(GAP)
    widths = {"trouble": TIME_CELLS, "last_ok": TIME_CELLS, "fails": 5, "reconnects": 6}
    found = {}
    for column, cells in widths.items():
        if left >= cells + len(GAP):
            found[column] = cells
            left -= cells + len(GAP)
    room = left - len(GAP)
    return Columns(name, remark=room if room >= REMARK_CELLS else 0, **found)


def title_line(columns: Columns) -> Line:
    """Return the titles of the columns."""
    titles = [fitted("Account", columns.name), fitted("State", STATE_CELLS), fitted("For", FOR_CELLS)]
    titles += [fitted("Trouble since", columns.trouble)] if columns.trouble else []
    titles += [fitted("Remark", columns.remark)] if columns.remark else []
    titles += [f"{'Last ok':>{columns.last_ok}}"] if columns.last_ok else []
    titles += [f"{'Fails':>{columns.fails}}"] if columns.fails else []
    titles += [f"{'Reconn':>{columns.reconnects}}"] if columns.reconnects else []
    return ((GAP.join(titles).rstrip(), "bold"),)


def row_lines(
    row: AccountRow, columns: Columns | None, width: int, now: float, letters: Letters, *, chosen: bool
) -> list[Line]:
    """Return the lines of an account; all of what to do is on them, however narrow they are."""
    if columns is None:
        return _paragraphs(row, width, now, letters, chosen=chosen)
    at, last = row.at, row.at.last or Snapshot()
    style = STYLES[at.state][1]
    said = letters(one_line(remark(at, now), REMARK_CHARACTERS))
    beside = columns.remark > 0 and width_of(said) <= columns.remark
    spans: list[Span] = [
        (fitted(letters(one_line(row.name)), columns.name), ""),
        (fitted(state_text(at, letters), STATE_CELLS), style),
        (fitted(letters(whole_seconds(now - last.since) if at.known else "–"), FOR_CELLS), ""),
    ]
    if columns.trouble:
        spans.append((fitted(time_text(row.trouble, now) if row.trouble else "", columns.trouble), style))
    if columns.remark:
        spans.append((fitted(said if beside else "", columns.remark), "dim"))
    if columns.last_ok:
        spans.append((f"{time_text(last.last_success, now) if last.last_success else 'never':>{columns.last_ok}}", ""))
    if columns.fails:
        spans.append((f"{last.failures:>{columns.fails}}", ""))
    if columns.reconnects:
        spans.append((f"{last.reconnects:>{columns.reconnects}}", ""))
    first: list[Span] = [spans[0]]
    for span in spans[1:]:
        first += [(GAP, ""), span]
    line = highlighted(first, width) if chosen else tuple(first)
    return [line] if beside or not said else [line, *_remark_lines(at, now, width, letters)]


def highlighted(spans: Sequence[Span], width: int) -> Line:
    """Return a line that stands out, over the whole width."""
    text = "".join(text for text, _ in spans)
    return ((fitted(text, width), "reverse"),)


def state_text(at: AccountStatus, letters: Letters) -> str:
    """Return an account's state with its icon."""
    return f"{letters(STYLES[at.state][0])} {at.state}"


def _paragraphs(row: AccountRow, width: int, now: float, letters: Letters, *, chosen: bool) -> list[Line]:
    """Return an account as a name, and sentences below it."""
    at, icon, style = row.at, letters(STYLES[row.at.state][0]), STYLES[row.at.state][1]
    said = "" if at.paused else f"{at.state} "  # a remark says it
    parts = [f"{said}for {whole_seconds(now - at.last.since)}" if at.known and at.last else at.state]
    parts += [f"in trouble since {time_text(row.trouble, now)}"] if row.trouble else []
    lead = "; ".join(parts)
    name = f"{icon} {letters(one_line(row.name))}"
    if not remark(at, now) and width_of(name) + len(GAP) + len(lead) <= width:
        spans: list[Span] = [(name, "bold"), (GAP, ""), (lead, style)]
        return [highlighted(spans, width) if chosen else tuple(spans)]
    line: Line = highlighted([(name, "bold")], width) if chosen else ((fitted(name, width).rstrip(), "bold"),)
    return [line, *_remark_lines(at, now, width, letters, lead=lead)]


def _remark_lines(at: AccountStatus, now: float, width: int, letters: Letters, *, lead: str = "") -> list[Line]:
    """Return a remark after ``lead``: the whole of what happens next and what to do, and a line of the cause."""

    def joined(said: str) -> str:
        return "; ".join(part for part in (lead, letters(one_line(said, REMARK_CHARACTERS))) if part)

    must = joined(situation(at.last, now) if at.known and at.last else last_known(at, now))
    needed = len(wrapped(must, width - INDENT))
    style = NEEDED if at.last is not None and at.last.action and not at.paused else "dim"
    return paragraph(joined(remark(at, now)), width, style, indent=INDENT, most=needed + 1)


def time_text(at: float, now: float) -> str:
    """Return a time (Unix seconds) in at most 11 letters: the time of day, the day and the time, or the date."""
    found, today = local(at), local(now)
    if found is None or today is None:
        return "–"
    if found.date() == today.date():
        return f"{found:%H:%M:%S}"
    return f"{found:%b %d %H:%M}" if found.year == today.year else f"{found:%Y-%m-%d}"
