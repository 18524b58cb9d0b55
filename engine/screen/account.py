"""One account as lines, its journal below; and one record of the journal, explained."""

from attrs import frozen

from engine.console.format import moment, whole_seconds
from engine.console.journal_lines import as_text
from engine.console.safe_text import one_line
from engine.console.status import STYLES, cause_text, last_known, situation
from engine.journal.explain_page import as_text as explanation_text
from engine.screen.fleet import NEEDED, AccountRow, highlighted, state_text
from engine.screen.model import Model, window
from engine.screen.source import Explained, OpenedJournal
from engine.screen.text import Letters, Line, of_rich, paragraph, plain, spelled
from states import Entry, Snapshot

INDENT = 2
CAUSE_CHARACTERS = 1_000
HANGING = 9
"""Where a record's further lines begin: below its time."""


@frozen
class JournalPart:
    """The lines of a journal that are in sight, and how many records they are of."""

    lines: list[Line]
    fits: int


def account_lines(row: AccountRow, width: int, now: float, letters: Letters) -> list[Line]:
    """Return where an account is, since when, what to do, why, and what happens next; nothing of it is cut."""
    at, last = row.at, row.at.last or Snapshot()
    style = STYLES[at.state][1]
    lines = paragraph(f"{state_text(at, letters)}  {letters(one_line(row.name))}", width, f"bold {style}")
    said = [f"since {moment(last.since, now)}, for {whole_seconds(now - last.since)}"] if at.known else []
    if row.trouble:
        said.append(f"in trouble since {moment(row.trouble, now)}, for {whole_seconds(now - row.trouble)}")
    if said:
        lines += paragraph("; ".join(said), width, indent=INDENT)
    doing = situation(last, now) if at.known else last_known(at, now)
    if doing:
        needs = last.action is not None and not at.paused
        lead = "What to do: " if needs and at.known else ""
        lines += paragraph(f"{lead}{letters(one_line(doing))}", width, NEEDED if needs else "", indent=INDENT)
    if cause := cause_text(last):
        lines += paragraph(f"Why: {letters(one_line(cause, CAUSE_CHARACTERS))}", width, indent=INDENT)
    if at.last is None:
        return lines
    count = f"attempt {last.attempt}; failed in a row: {last.failures}; reconnects: {last.reconnects}"
    heard = f"; last sign of life {moment(last.last_success, now)}" if last.last_success else "; never connected"
    return lines + paragraph(count + heard, width, "dim", indent=INDENT)


def journal_lines(model: Model, opened: OpenedJournal, width: int, room: int, letters: Letters) -> JournalPart:
    """Return the newest records, or those around the highlighted one."""
    if opened.trouble:
        return JournalPart(paragraph(opened.trouble, width, "yellow"), 1)
    if opened.entries is None:
        return JournalPart([(("The journal is being read", "dim"),)], 1)
    entries = opened.entries
    if not entries:
        return JournalPart([(("The journal has nothing of this account yet", "dim"),)], 1)
    made: dict[int, list[Line]] = {}

    def lines_of(place: int) -> list[Line]:
        if place not in made:
            made[place] = _entry_lines(entries[place], width, letters)
        return made[place]

    count = len(entries)
    numbers = [entry.seq for entry in entries] if model.record is not None else []
    chosen = numbers.index(model.record) if model.record in numbers else count - 1
    # The newest one is at the bottom, until an older one is chosen.
    top, end = window(lambda place: len(lines_of(place)), count, chosen, chosen, room)
    lines = [
        highlighted([(plain(line), "")], width) if place == chosen else line
        for place in range(top, end)
        for line in lines_of(place)
    ]
    return JournalPart(lines, end - top)


def _entry_lines(entry: Entry, width: int, letters: Letters) -> list[Line]:
    return of_rich(spelled(as_text(entry), letters), width, indent=HANGING if width > 4 * HANGING else INDENT)


def record_lines(explained: Explained | None, width: int, letters: Letters) -> list[Line]:
    """Return the explanation of a record."""
    if explained is None or (explained.explanation is None and not explained.trouble):
        return [(("The record is being explained", "dim"),)]
    if explained.explanation is None:
        return paragraph(explained.trouble, width, "yellow")
    text = spelled(explanation_text(explained.explanation), letters)
    return of_rich(text, width, indent=11 if width > 4 * 11 else INDENT)
