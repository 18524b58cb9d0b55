"""The state of every account as a table, as text and as JSON."""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

from attrs import frozen
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.console.format import date_and_time, iso, moment, of_day, whole_seconds
from engine.console.safe_text import one_line, plain
from states import Snapshot, State
from states.snapshot import ADVICE

SEVERITY = (
    State.AUTH_FAILED,
    State.BACKOFF,
    State.TIMEOUT,
    State.RECONNECTING,
    State.CONNECTING,
    State.SHUTTING_DOWN,
    State.HEALTHY,
)
"""Worst first."""

STATE_STYLES: dict[State, tuple[str, str]] = {
    State.AUTH_FAILED: ("🔑", "bold red"),
    State.BACKOFF: ("🔌", "red"),
    State.TIMEOUT: ("⏱️", "yellow"),
    State.RECONNECTING: ("🔄", "cyan"),
    State.CONNECTING: ("🔄", "cyan"),
    State.SHUTTING_DOWN: ("🔍", "dim"),
    State.HEALTHY: ("✅", "green"),
}
"""Icon and colour of each state."""


REMARK_CHARACTERS = 400
"""Length of a remark: as much as a wide terminal shows."""


class ExitCode(IntEnum):
    """Exit codes of ``status``."""

    HEALTHY = 0
    TROUBLED = 1
    PERSON_NEEDED = 2
    NOT_RUNNING = 3


@frozen
class EngineInfo:
    """Whether an engine runs on this data, its process, and its start (Unix seconds)."""

    running: bool
    pid: int | None = None
    since: float | None = None


def worst_first(snapshots: Mapping[str, Snapshot]) -> list[tuple[str, Snapshot]]:
    """Return the accounts, worst first: those that need the operator come before those that the engine retries."""

    def rank(item: tuple[str, Snapshot]) -> tuple[bool, int, bool, str]:
        name, at = item
        return at.action is None, SEVERITY.index(at.state), at.database is None, name.casefold()

    return sorted(snapshots.items(), key=rank)


def cause_text(snapshot: Snapshot) -> str | None:
    """Return why the account is in its state; None if there is no particular cause."""
    cause = snapshot.cause or snapshot.limited
    if cause is None:
        return None
    return f"{cause.event}: {cause.detail}" if cause.detail else cause.event


def as_data(info: EngineInfo, snapshots: Mapping[str, Snapshot]) -> dict[str, Any]:
    """Return what ``status --json`` prints about the engine and its accounts."""
    return {
        "engine": {"running": info.running, "pid": info.pid, "since": iso(info.since)},
        "accounts": [
            {
                "name": name,
                "state": at.state.value,
                "since": iso(at.since),
                "attempt": at.attempt,
                "failures": at.failures,
                "reconnects": at.reconnects,
                "last_success": iso(at.last_success),
                "deadline": iso(at.deadline),
                "cause": cause_text(at),
                "action": at.action.value if at.action else None,
                "paused": at.paused,
                "database": _trouble_data(at),
                "holds": [{"request": hold.request, "until": iso(hold.until)} for hold in at.holds],
            }
            for name, at in worst_first(snapshots)
        ],
    }


def _trouble_data(at: Snapshot) -> dict[str, Any] | None:
    if (trouble := at.database) is None:
        return None
    return {"event": trouble.event, "detail": trouble.detail, "since": iso(trouble.since)}


def exit_code(info: EngineInfo, snapshots: Iterable[Snapshot]) -> ExitCode:
    """Return the exit code that sums up the fleet."""
    accounts = list(snapshots)
    if not info.running:
        return ExitCode.NOT_RUNNING
    if any(at.action for at in accounts):
        return ExitCode.PERSON_NEEDED
    return ExitCode.HEALTHY if all(at.state is State.HEALTHY for at in accounts) else ExitCode.TROUBLED


def situation(snapshot: Snapshot, now: float) -> str:
    """Return what the account does now, in a few words."""
    if snapshot.paused:
        return "paused; resume it to go on"
    if snapshot.action:
        return ADVICE[snapshot.action]
    if snapshot.waiting_for_turn:
        return "waiting for a turn"
    if snapshot.state is State.HEALTHY and snapshot.database:
        lasts = whole_seconds(now - snapshot.database.since)
        return f"session file not written for {lasts}: {snapshot.database.detail}"
    held = [hold for hold in snapshot.holds if hold.until > now]
    if snapshot.state is State.HEALTHY and held:
        return ", ".join(f"{hold.request} held until {moment(hold.until, now)}" for hold in held)
    if snapshot.deadline is None or snapshot.state is State.SHUTTING_DOWN:
        return ""
    left = snapshot.deadline - now
    match snapshot.state:
        case State.BACKOFF:
            return f"next attempt in {whole_seconds(left)}"
        case State.TIMEOUT:
            return f"asked again, {whole_seconds(left)} left"
        case _:
            return f"attempt {snapshot.attempt}, {whole_seconds(left)} left"


def remark(snapshot: Snapshot, now: float) -> str:
    """Return what the account does now, and why; empty if there is nothing special."""
    return "; ".join(part for part in (situation(snapshot, now), cause_text(snapshot)) if part)


def table(snapshots: Mapping[str, Snapshot], now: float) -> Table:
    """Return the accounts as a table that fits a terminal of 80 columns."""
    grid = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    grid.add_column("Account", no_wrap=True, overflow="ellipsis", max_width=24)
    grid.add_column("State", no_wrap=True)
    grid.add_column("For", no_wrap=True)
    grid.add_column("Remark", ratio=1, no_wrap=True, overflow="ellipsis")
    for title in ("Fails", "Reconn", "Last ok"):
        grid.add_column(title, justify="right", no_wrap=True)
    for name, at in worst_first(snapshots):
        icon, style = STATE_STYLES[at.state]
        grid.add_row(
            plain(name),
            Text(f"{icon} {at.state}", style=style),
            whole_seconds(now - at.since),
            plain(remark(at, now), "dim", REMARK_CHARACTERS),
            str(at.failures),
            str(at.reconnects),
            of_day(at.last_success) if at.last_success else "never",
        )
    return grid


def heading(info: EngineInfo, snapshots: Mapping[str, Snapshot], now: float) -> Text:
    """Return a line about the engine."""
    if not snapshots:
        return Text("Holdfast: starting", style="bold")
    healthy = sum(at.state is State.HEALTHY for at in snapshots.values())
    if not info.running:
        return Text("The engine is not running; this is where it left the accounts.", style="yellow")
    text = f"Holdfast: {healthy} of {len(snapshots)} healthy"
    since = f", running for {whole_seconds(now - info.since)}" if info.since else ""
    return Text(text + since + (f" (process {info.pid})" if info.pid else ""), style="bold")


def page(
    info: EngineInfo, snapshots: Mapping[str, Snapshot], now: float, more: Iterable[RenderableType] = ()
) -> RenderableType:
    """Return the whole status page, with ``more`` at the end."""
    return Group(heading(info, snapshots, now), "", table(snapshots, now), *more)


def block(snapshots: Mapping[str, Snapshot]) -> str:
    """Return the status block as the user's guide prints it."""
    rule = "=" * 60
    parts = [rule, "CONNECTION STATUS", rule, ""]
    for name, at in sorted(snapshots.items()):
        state = at.resumes if at.state is State.SHUTTING_DOWN and at.action else at.state
        parts += [
            f"{STATE_STYLES[state][0]} {one_line(name)}",
            f"  Status: {state}{', paused' if at.paused else ''}",
            f"  Failures: {at.failures}",
            f"  Reconnects: {at.reconnects}",
            f"  Last Success: {date_and_time(at.last_success) if at.last_success else 'never'}",
            "",
        ]
    return "\n".join([*parts[:-1], rule])
