"""The picture: what the model wants to see, made to fit the terminal."""

from collections.abc import Callable, Sequence
from typing import Final

from attrs import evolve, field, frozen

from engine.console.account_status import AccountStatus
from engine.console.job_lines import page as job_lines
from engine.console.ranking import Ranking
from engine.console.safe_text import one_line
from engine.console.status import EngineInfo
from engine.screen.account import account_lines, journal_lines, record_lines
from engine.screen.fleet import AccountRow, Columns, columns_of, filter_line, header, row_lines, title_line
from engine.screen.incidents import AT_THE_END, incident_block, incident_count
from engine.screen.model import HINTS, Model, ScreenView, window
from engine.screen.pages import help_lines
from engine.screen.source import Explained, OpenedJournal
from engine.screen.text import ELLIPSIS, Letters, Line, as_many, cut, of_rich, paragraph, spelled
from states.incident import Incident
from states.jobs import JobSummary

LEAST_ROWS: Final = 5
"""Lines for accounts that jobs and log lines leave free."""
MOST_AT_THE_END: Final = 500
"""Accounts in the picture that stays on the terminal."""
LOG_STYLES: Final = ((40, "red"), (30, "yellow"), (0, "dim"))
"""The lowest level of a line of the log, and its style."""


@frozen(kw_only=True)
class Scene:
    """All that a picture is made of, besides the model."""

    info: EngineInfo
    ranking: Ranking
    names: Sequence[str]
    """The accounts that pass the filters, in order."""
    trouble_since: Callable[[str, AccountStatus], float | None]
    node: str = ""
    """What is to be said of the node; empty without one."""
    jobs: JobSummary = field(factory=JobSummary)
    incidents: Sequence[Incident] = ()
    """Those that are open, worst first."""
    log: Sequence[tuple[int, str]] = ()
    opened: OpenedJournal | None = None
    explained: Explained | None = None
    now: float
    """Unix seconds."""
    width: int
    height: int
    longest: int
    """Cells of the longest name."""
    letters: Letters = str
    keys: bool = True
    """Whether there is a keyboard."""
    quits: bool = False

    open_at: AccountStatus | None = None
    """Where the open account is; None: where the ranking has it."""

    def row(self, name: str, at: AccountStatus | None = None) -> AccountRow:
        """Return what there is to say of an account."""
        at = at or self.ranking.status(name)
        return AccountRow(name, at, self.trouble_since(name, at))


@frozen(kw_only=True)
class ScreenPicture:
    """What is on the terminal, and what the keys need to know of it."""

    lines: Sequence[Line]
    top: int = 0
    """Place of the first account in sight."""
    fits: int = 1
    """How many accounts, records, incidents or lines are in sight."""
    total: int = 0
    """How many lines an explanation or the help has."""


def draw(model: Model, shown: Scene) -> ScreenPicture:
    """Return the picture: exactly as many lines as the terminal has, none wider than it."""
    bottom = _bottom(model, shown)
    room = max(1, shown.height - len(bottom))
    match model.view:
        case ScreenView.FLEET:
            picture = _fleet(model, shown, room)
        case ScreenView.ACCOUNT:
            picture = _account(model, shown, room)
        case ScreenView.RECORD:
            picture = _page(model, record_lines(shown.explained, shown.width, shown.letters), room)
        case ScreenView.INCIDENTS:
            picture = _incidents(model, shown, room)
        case ScreenView.HELP:
            picture = _page(model, help_lines(shown.width, shown.letters, quits=shown.quits), room)
    lines = [*picture.lines[:room], *[()] * (room - len(picture.lines)), *bottom][: shown.height]
    return evolve(picture, lines=_fitting(lines, shown))


def whole(shown: Scene) -> list[Line]:
    """Return what stays on the terminal: the worst accounts, as many as anybody reads, jobs and the last log lines."""
    width, letters = shown.width, shown.letters
    lines = _header(shown)
    columns = columns_of(width, shown.longest)
    lines += [(), *([title_line(columns)] if columns is not None else [])]
    for name in shown.names[:MOST_AT_THE_END]:
        lines += row_lines(shown.row(name), columns, width, shown.now, letters, chosen=False)
    if len(shown.names) > MOST_AT_THE_END:
        lines.append(((f"and {len(shown.names) - MOST_AT_THE_END:,} more", "dim"),))
    lines += [*_last_incidents(shown), *_job_lines(shown), (), *_log_lines(shown, len(shown.log))]
    return _fitting(lines, shown)


def _header(shown: Scene) -> list[Line]:
    if shown.quits and shown.info.works and not len(shown.ranking):
        return paragraph("Holdfast: the accounts that were asked for are gone", shown.width, "bold")
    also = [incident_count(shown.incidents)] if shown.incidents else []
    lines = header(shown.info, shown.ranking, shown.now, shown.width, shown.letters, also=also)
    return [*lines, *paragraph(shown.letters(shown.node), shown.width, "dim")] if shown.node else lines


def _last_incidents(shown: Scene) -> list[Line]:
    """Return the worst incidents, for the picture that stays."""
    lines: list[Line] = [()] if shown.incidents else []
    for each in shown.incidents[:AT_THE_END]:
        lines += incident_block(each, shown.width, shown.now, shown.letters, chosen=False)
    if (more := len(shown.incidents) - AT_THE_END) > 0:
        lines.append(((f"and {more:,} more; see 'incidents --open'", "dim"),))
    return lines


def _fitting(lines: Sequence[Line], shown: Scene) -> list[Line]:
    """Return lines none of which is too long; where the terminal has no ellipsis, a full stop says what was cut."""
    lines = [cut(line, shown.width) for line in lines]
    if shown.letters(ELLIPSIS) == ELLIPSIS:
        return lines
    return [tuple((text.replace(ELLIPSIS, "."), style) for text, style in line) for line in lines]


def _fleet(model: Model, shown: Scene, room: int) -> ScreenPicture:
    width, letters = shown.width, shown.letters
    above = _header(shown)
    which = filter_line(model, len(shown.names), len(shown.ranking), letters, keys=shown.keys)
    columns = columns_of(width, shown.longest)
    above += [which or (), *([title_line(columns)] if columns is not None else [])]
    below = _beneath(shown, room - len(above))
    rows = _rows(model, shown, columns, room - len(above) - len(below))
    if not shown.names and len(shown.ranking):
        rows = evolve(rows, lines=[(("No account is like this; Esc shows all", "dim"),)])
    free = room - len(above) - len(below) - len(rows.lines)
    # What is below stays at the bottom, so that it does not jump with the number of accounts.
    return evolve(rows, lines=[*above, *rows.lines, *[()] * max(0, free), *below])


def _rows(model: Model, shown: Scene, columns: Columns | None, room: int) -> ScreenPicture:
    """Return the accounts in sight, and a line that says how many are not."""
    names, made = shown.names, dict[int, list[Line]]()

    def lines_of(place: int) -> list[Line]:
        if place not in made:
            chosen = names[place] == model.selected
            row = shown.row(names[place])
            made[place] = row_lines(row, columns, shown.width, shown.now, shown.letters, chosen=chosen)
        return made[place]

    selected = names.index(model.selected) if model.selected is not None and model.selected in names else None
    room = max(room, 2)
    top, end = window(lambda place: len(lines_of(place)), len(names), model.top, selected, room - 1)
    if (top, end) != (0, len(names)):
        more = [f"{count:,} {where}" for count, where in ((top, "above"), (len(names) - end, "below")) if count]
        last: list[Line] = [((f"and {', '.join(more)}", "dim"),)]
    else:
        last = []
    lines = [line for place in range(top, end) for line in lines_of(place)]
    return ScreenPicture(lines=[*lines[: room - len(last)], *last], top=top, fits=max(1, end - top))


def _beneath(shown: Scene, room: int) -> list[Line]:
    """Return the jobs and the last lines of the log, as far as there is room for them below the accounts."""
    spare = max(0, room - LEAST_ROWS)
    jobs = _job_lines(shown)[: spare // 2]
    log = _log_lines(shown, max(0, (spare - len(jobs)) // 2))
    return [*jobs, *([()] if log else []), *log]


def _job_lines(shown: Scene) -> list[Line]:
    made = job_lines(shown.jobs, engine_runs=shown.info.works)
    return [line for text in made for line in of_rich(spelled(text, shown.letters), shown.width, indent=4)]


def _log_lines(shown: Scene, most: int) -> list[Line]:
    """Return the last lines of the log; a traceback is several."""
    lines = [(level, line) for level, text in shown.log for line in text.split("\n")]
    styled: list[Line] = [((shown.letters(line), _log_style(level)),) for level, line in lines[-most:]] if most else []
    return [cut(line, shown.width) for line in styled]


def _log_style(level: int) -> str:
    return next(style for least, style in LOG_STYLES if level >= least)


def _account(model: Model, shown: Scene, room: int) -> ScreenPicture:
    name = model.selected
    assert name is not None, "an account is open"
    above = account_lines(shown.row(name, shown.open_at), shown.width, shown.now, shown.letters)
    above = [*above[: max(1, room - 2)], ()]
    opened = shown.opened if shown.opened is not None and shown.opened.account == name else OpenedJournal(name)
    journal = journal_lines(model, opened, shown.width, max(1, room - len(above)), shown.letters)
    return ScreenPicture(lines=[*above, *journal.lines], fits=journal.fits)


def _incidents(model: Model, shown: Scene, room: int) -> ScreenPicture:
    """Return the incidents in sight, and a line that says how many are not."""
    incidents = shown.incidents
    plural = "" if len(incidents) == 1 else "s"
    title: Line = ((f"{len(incidents):,} open incident{plural}" if incidents else "No incident is open", "bold"),)
    numbers = [each.id for each in incidents]
    chosen = numbers.index(model.incident) if model.incident in numbers else None
    made: dict[int, list[Line]] = {}

    def lines_of(place: int) -> list[Line]:
        if place not in made:
            block = incident_block(incidents[place], shown.width, shown.now, shown.letters, chosen=place == chosen)
            made[place] = [*block, ()]
        return made[place]

    left = max(1, room - 2)  # below the title and an empty line
    top, end = window(lambda place: len(lines_of(place)), len(incidents), 0, chosen, left)
    if end - top < len(incidents):
        which = f"{top + 1:,}" if end == top + 1 else f"{top + 1:,} to {end:,}"
        title = (*title, (f", {which} in sight", "dim"))
    lines = [line for place in range(top, end) for line in lines_of(place)]
    return ScreenPicture(lines=[title, (), *lines], top=top, fits=max(1, end - top))


def _page(model: Model, lines: Sequence[Line], room: int) -> ScreenPicture:
    offset = min(model.offset, max(0, len(lines) - room))
    return ScreenPicture(lines=lines[offset : offset + room], fits=room, total=len(lines))


def _bottom(model: Model, shown: Scene) -> list[Line]:
    """Return the last lines: the answer to the last key, all of it, and what keys there are."""
    lines = paragraph(shown.letters(one_line(model.said)), shown.width, "bold yellow") if model.said else []
    if not shown.keys:
        return lines
    keys = [hint for hint in HINTS[model.view] if shown.incidents or hint[0] != "i"]
    hints: list[Line] = [((shown.letters(key), "bold"), (f" {what}", "dim")) for key, what in keys]
    if model.typing:
        hints = [(("Enter", "bold"), (" keep", "dim")), (("Esc", "bold"), (" all names", "dim"))]
    leave: Line = (("q" if shown.quits else "Ctrl+C", "bold"), (" quit" if shown.quits else " stop", "dim"))
    return [*lines, as_many([hints[0], leave, *hints[1:]] if model.view is ScreenView.FLEET else hints, shown.width)]
