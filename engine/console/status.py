"""The state of every account as a table, as text and as JSON."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from engine.console.account_status import PAUSED, UNKNOWN, AccountStatus, Statuses, status_of
from engine.console.format import date_and_time, iso, moment, whole_seconds
from engine.console.safe_text import one_line
from states import Snapshot, State
from states.incident import is_of_row
from states.limits import ACCOUNT, CAUSES
from states.names import name_key
from states.nodes import NodeRecord, NodeState
from states.snapshot import MISSING_UPDATES, Cause, advice_of
from states.waits import RequestWait

if TYPE_CHECKING:  # for pages alone; what prints JSON need not wait for it
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

SEVERITY = (
    State.AUTH_FAILED.value,
    State.BACKOFF.value,
    State.TIMEOUT.value,
    UNKNOWN,
    State.RECONNECTING.value,
    State.CONNECTING.value,
    State.SHUTTING_DOWN.value,
    State.HEALTHY.value,
    PAUSED,
)
"""Worst first."""
_RANKS: dict[str, int] = {state: rank for rank, state in enumerate(SEVERITY)}

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

STYLES: dict[str, tuple[str, str]] = {
    **{state.value: style for state, style in STATE_STYLES.items()},
    UNKNOWN: ("❔", "yellow"),
    PAUSED: ("⏸️", "dim"),
}
"""Icon and colour of all that an account's status can be."""


TITLES = ("Account", "State", "For", "Remark", "Fails", "Reconn", "Last ok")
"""The columns of the table."""
NAME_CELLS = 24
"""Width of the column of names."""
REMARK_CHARACTERS = 400
"""Length of a remark: as much as a wide terminal shows."""


MAX_NODES = 12
"""How many nodes ``status`` names; ``nodes`` lists all."""


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
    hangs: bool = False
    """Whether it does not answer: then nothing is known of its accounts."""
    unwritten: str | None = None
    """Why its database cannot be written: what was read from there is older than what the engine knows."""
    waits: Mapping[str, tuple[RequestWait, ...]] = field(factory=dict)
    """The requests that wait in place until a hold is over, by account."""
    nodes: Sequence[NodeRecord] | None = None
    """The nodes that share the accounts; None where the engine has them alone."""
    silent: Mapping[int, float] = field(factory=dict)
    """The lives of nodes that are taken for alive and do not beat, and for how many seconds, at least."""

    @property
    def works(self) -> bool:
        """Whether anybody has the accounts: the engine, or a node that the database takes for alive."""
        return self.running if self.nodes is None else any(node.lives for node in self.nodes)


Severity = tuple[bool, int, bool]
"""How bad it is, the worst first: whether nobody needs to act, the rank of the state, whether the database works."""


def severity_of(at: AccountStatus) -> Severity:
    """Return how bad an account's status is: those that need the operator come before those that the engine retries."""
    last = at.last
    calm = at.paused or last is None or last.action is None
    return calm, _RANKS[at.state], last is None or last.database is None


def worst_first(accounts: Statuses) -> list[tuple[str, AccountStatus]]:
    """Return the accounts, worst first."""
    known = ((name, status_of(at)) for name, at in accounts.items())
    return sorted(known, key=lambda item: (severity_of(item[1]), name_key(item[0])))


def cause_text(snapshot: Snapshot) -> str | None:
    """Return why the account is in its state; None if there is no particular cause."""
    cause = snapshot.cause or snapshot.limited
    if cause is None and (known := snapshot.restricted) is not None:
        cause = Cause(event=CAUSES.get(known.limit, known.limit), detail=known.detail)
    if cause is None and snapshot.stall is not None:
        cause = Cause(event=MISSING_UPDATES, detail=snapshot.stall.detail)
    if cause is None:
        return None
    return f"{cause.event}: {cause.detail}" if cause.detail else cause.event


def as_data(info: EngineInfo, accounts: Statuses) -> dict[str, Any]:
    """Return what ``status --json`` prints about the engine and its accounts."""
    return {
        "engine": {
            "running": info.running,
            "pid": info.pid or None,
            "since": iso(info.since or None),
            "answers": info.running and not info.hangs,
            "unwritten": info.unwritten,
        },
        "nodes": None if info.nodes is None else [_node_data(node, info) for node in info.nodes],
        "counts": _counts(count_states(accounts)),
        "accounts": [_account_data(name, at) for name, at in worst_first(accounts)],
    }


def count_states(accounts: Statuses) -> Counter[str]:
    """Return how many accounts are in each state, ``paused`` and ``unknown`` included."""
    return Counter(status_of(at).state for at in accounts.values())


def _counts(states: Counter[str]) -> dict[str, int]:
    """Return how many accounts there are, and how many are healthy, paused (counted apart) and unknown."""
    return {"accounts": states.total(), **{state: states[state] for state in (State.HEALTHY.value, PAUSED, UNKNOWN)}}


def _account_data(name: str, at: AccountStatus) -> dict[str, Any]:
    last, known, action = at.last or Snapshot(), at.known, None if at.last is None else at.last.action
    return {
        "name": name,
        "state": last.state.value if known else UNKNOWN,
        "known": known,
        "since": iso(last.since) if known else None,
        "last": None if known else _last_data(at),
        "attempt": last.attempt,
        "failures": last.failures,
        "reconnects": last.reconnects,
        "last_success": iso(last.last_success),
        "deadline": iso(last.deadline) if known else None,
        "cause": cause_text(last),
        "action": action.value if action else None,
        "limit": _limit_data(last),
        "paused": at.paused,
        "database": _trouble_data(last) if known else None,
        "missing_updates": _stall_data(last) if known else None,
        "holds": [{"request": hold.request, "until": iso(hold.until)} for hold in last.holds],
        "waiting": [{"request": each.request, "until": iso(each.until), "requests": each.count} for each in at.waits],
        **_place_data(at),
    }


def _node_data(node: NodeRecord, info: EngineInfo) -> dict[str, Any]:
    silent_for = info.silent.get(node.life)
    return {
        "name": node.name,
        "host": node.host,
        "state": node.state.value,
        "accounts": node.accounts,
        "accounts_at_most": node.accounts_at_most,
        "jobs_running": node.jobs,
        "silent_for": None if silent_for is None else round(silent_for, 1),
    }


def _place_data(at: AccountStatus) -> dict[str, Any]:
    place = at.place
    return {
        "node": place and place.node,
        "host": place and place.host,
        "move_to": place and place.move_to,
        "taken_to": place and place.taken_to,
    }


def _last_data(at: AccountStatus) -> dict[str, Any] | None:
    if at.last is None or (until := at.until) is None:
        return None
    since = iso(at.last.since)
    return {"state": at.last.state.value, "since": since, "until": since if until == at.last.since else iso(until)}


def _limit_data(at: Snapshot) -> dict[str, Any] | None:
    """Return what Telegram does not let the account do."""
    if (known := at.restricted) is None:
        return {"of": ACCOUNT, "deletion": None, "appeal": None} if at.limited else None
    return {"of": known.limit, "deletion": iso(known.deletion), "appeal": known.appeal or None}


def _trouble_data(at: Snapshot) -> dict[str, Any] | None:
    if (trouble := at.database) is None:
        return None
    return {"event": trouble.event, "detail": trouble.detail, "since": iso(trouble.since)}


def exit_code(info: EngineInfo, accounts: Iterable[AccountStatus | Snapshot]) -> ExitCode:
    """Return the exit code that sums up the fleet; paused accounts do not count."""
    if not info.works:
        return ExitCode.NOT_RUNNING
    counted = [at for account in accounts if not (at := status_of(account)).paused]
    if any(at.last is not None and at.last.action for at in counted):
        return ExitCode.PERSON_NEEDED
    healthy = info.unwritten is None and all(at.healthy for at in counted)
    return ExitCode.HEALTHY if healthy else ExitCode.TROUBLED


def _stall_data(at: Snapshot) -> dict[str, Any] | None:
    if (stall := at.stall) is None:
        return None
    return {"detail": stall.detail, "since": iso(stall.since), "fresh_clients": stall.clients, "told": stall.told}


def situation(snapshot: Snapshot, now: float) -> str:
    """Return what the account does now, in a few words."""
    if snapshot.paused:
        return "paused; resume it to go on"
    if snapshot.action:
        return advice_of(snapshot)
    if snapshot.waiting_for_turn:
        return "waiting for a turn"
    if snapshot.state is State.HEALTHY and snapshot.database:
        lasts = whole_seconds(now - snapshot.database.since)
        what = "session" if is_of_row(snapshot.database.detail) else "session file"
        return f"{what} not written for {lasts}: {snapshot.database.detail}"
    if snapshot.state is State.HEALTHY and snapshot.stall:
        return f"updates missing for {whole_seconds(now - snapshot.stall.since)}: {snapshot.stall.detail}"
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


def last_known(at: AccountStatus, now: float) -> str:
    """Return where an account was when it was last known, and what a person should do about it."""
    if (last := at.last) is None or (until := at.until) is None:
        return "has not run yet"
    if last.state is State.SHUTTING_DOWN:
        said = f"stopped at {moment(until, now)}"
    else:
        said = f"was {last.state} {'until' if until > last.since else 'at'} {moment(until, now)}"
    return f"{said}; {advice_of(last)}" if last.action else said


def waiting(at: AccountStatus) -> str:
    """Return which requests wait in place; empty if none does."""
    return ", ".join(f"{each.count} {each.request} waiting in place" for each in at.waits)


def remark(account: AccountStatus | Snapshot, now: float) -> str:
    """Return what the account does now, and why; empty if there is nothing special."""
    at = status_of(account)
    if not at.known or at.last is None:
        said = [last_known(at, now)]
    else:
        said = [situation(at.last, now), waiting(at), cause_text(at.last) or ""]
    return "; ".join(part for part in (_where(at), *said) if part)


def _where(at: AccountStatus) -> str:
    """Return which node has an account; empty where there are no nodes."""
    if (place := at.place) is None:
        return ""
    if place.taken_to is not None:
        return f"at no node, for its session was taken to {place.taken_to}"
    where = "at no node" if place.node is None else f"at {place.node}"
    return f"{where}, to go to {place.move_to}" if place.move_to not in (None, place.node) else where


def table(accounts: Iterable[tuple[str, AccountStatus]], now: float) -> "Table":
    """Return accounts, in the order in which they are given, as a table that fits a terminal of 80 columns."""
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415

    grid = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    account, state, since, remarks, *numbers = TITLES
    grid.add_column(account, no_wrap=True, overflow="ellipsis", max_width=NAME_CELLS)
    grid.add_column(state, no_wrap=True)
    grid.add_column(since, no_wrap=True)
    grid.add_column(remarks, ratio=1, no_wrap=True, overflow="ellipsis")
    for title in numbers:
        grid.add_column(title, justify="right", no_wrap=True)
    for name, at in accounts:
        called, state, since, said, *figures = row(name, at, now)
        grid.add_row(Text(called), Text(state, style=STYLES[at.state][1]), since, Text(said, style="dim"), *figures)
    return grid


def row(name: str, at: AccountStatus, now: float) -> tuple[str, ...]:
    """Return the texts of an account's row, by ``TITLES``; each is safe for a line."""
    last, state = at.last or Snapshot(), at.state
    return (
        one_line(name),
        f"{STYLES[state][0]} {state}",
        whole_seconds(now - last.since) if at.known else "–",
        one_line(remark(at, now), REMARK_CHARACTERS),
        str(last.failures),
        str(last.reconnects),
        moment(last.last_success, now) if last.last_success else "never",
    )


def heading(info: EngineInfo, states: Counter[str], now: float) -> "Text":
    """Return a line about the engine; ``states`` is how many accounts are in each state."""
    from rich.text import Text  # noqa: PLC0415 - as above

    text, style = heading_text(info, states, now)
    return Text(text, style=style)


def heading_text(info: EngineInfo, states: Counter[str], now: float) -> tuple[str, str]:
    """Return the line about the engine, and its style."""
    if not states.total():
        return "Holdfast: starting", "bold"
    if not info.works:
        who, it = ("The engine is not", "it") if info.nodes is None else ("No node is", "they")
        return f"{who} running; this is where {it} left the accounts.", "yellow"
    if info.hangs:
        process = f" (process {info.pid})" if info.pid else ""
        return f"The engine{process} does not answer; this is what was known last.", "bold red"
    if info.unwritten is not None:
        process = f" (process {info.pid})" if info.pid else ""
        why = one_line(info.unwritten, REMARK_CHARACTERS)
        return f"The engine{process} cannot write its database: {why}; this is older.", "bold red"
    counts = _counts(states)
    text = f"Holdfast: {counts['healthy']} of {counts['accounts'] - counts[PAUSED]} healthy"
    text += "".join(f", {counts[state]} {state}" for state in (PAUSED, UNKNOWN) if counts[state])
    if info.nodes is not None:
        count = sum(node.lives for node in info.nodes)
        text += f", at {count} {'node' if count == 1 else 'nodes'}"
        text += f", {len(info.silent)} silent" if info.silent else ""
        if not info.running:
            return text + ", none of them on this data", "bold"
    since = f", running for {whole_seconds(now - info.since)}" if info.since else ""
    return text + since + (f" (process {info.pid})" if info.pid else ""), "bold"


def page(info: EngineInfo, accounts: Statuses, now: float, more: "Iterable[RenderableType]" = ()) -> "RenderableType":
    """Return the whole status page, with ``more`` at the end."""
    from rich.console import Group  # noqa: PLC0415 - as above

    from engine.console.account_lines import AccountLines  # noqa: PLC0415 - it draws what is here

    states = count_states(accounts)
    return Group(heading(info, states, now), "", AccountLines(worst_first(accounts), now, whole=True), *more)


def node_lines(info: EngineInfo) -> list[str]:
    """Return what there is to say of the nodes, below the accounts."""
    if not info.nodes:
        return []
    said = [_node_text(node, silent=node.life in info.silent) for node in info.nodes[:MAX_NODES]]
    more = f", and {len(info.nodes) - MAX_NODES} more" if len(info.nodes) > MAX_NODES else ""
    return ["", one_line(f"Nodes: {', '.join(said)}{more}", REMARK_CHARACTERS)]


def _node_text(node: NodeRecord, *, silent: bool) -> str:
    if not node.lives:
        return f"{node.name} ({'stopped' if node.was_stopped else 'dead'})"
    has = f"{node.accounts:,} {'account' if node.accounts == 1 else 'accounts'}"
    quiet = ", silent" if silent else ""
    return f"{node.name} ({has}{quiet}{'' if node.state is NodeState.ALIVE else f', {node.state.value}'})"


def block(accounts: Statuses) -> str:
    """Return the status block as the user's guide prints it."""
    rule = "=" * 60
    parts = [rule, "CONNECTION STATUS", rule, ""]
    for name, given in sorted(accounts.items(), key=lambda item: name_key(item[0])):
        at = status_of(given)
        last = at.last or Snapshot()
        ended = at.known and not at.paused and last.state is State.SHUTTING_DOWN and last.action is not None
        state = last.resumes.value if ended else at.state
        parts += [
            f"{STYLES[state][0]} {one_line(name)}",
            f"  Status: {state}",
            f"  Failures: {last.failures}",
            f"  Reconnects: {last.reconnects}",
            f"  Last Success: {date_and_time(last.last_success) if last.last_success else 'never'}",
            "",
        ]
    return "\n".join([*parts[:-1], rule])
