"""What an account's snapshot means for incidents: a trouble, health, or neither, in each of its slots. Pure.

    where the account is                      connection   person      file
    ----------------------------------------  -----------  ----------  ---------
    paused                                    it is gone, see ``AccountGone``
    stopping with the engine                  unsettled    unsettled   unsettled
    healthy                                   well         well        by itself
    in any state, and a person must act       left         trouble     by itself
    not connected because of its file         left         unsettled   trouble
    not connected, or suspect, with a cause   trouble      unsettled   by itself
    not connected, and nothing has failed     unsettled    unsettled   by itself

*By itself*, as a limit and missing updates are always: trouble while the snapshot says so; otherwise well if the
account is healthy, and unsettled if not.
"""

from typing import Final

from states.exhaustion import EXHAUSTED
from states.incident import IncidentKind
from states.incident_book import AccountGone, AccountSeen, IncidentReason, Sign
from states.limits import CAUSES, advice_for
from states.snapshot import MISSING_UPDATES, NETWORK_CAUSES, UNKNOWN_KEY, Action, Snapshot, State

PROCESS: Final = "the limits of this process"
"""What accounts share that cannot connect because the process may have no more files, threads or memory."""
OF_FILE: Final = ("DatabaseLocked", "DatabaseUnavailable")
OF_WAY: Final = (*NETWORK_CAUSES, UNKNOWN_KEY, "ServerFault", "TransportFlood", "ProtocolBroken")
"""Errors that whatever lies between the account and Telegram may have caused, or Telegram itself."""


def account_seen(
    account: str, at: Snapshot, *, scopes: tuple[str, ...] = (), disk: str | None = None
) -> AccountSeen | AccountGone:
    """Return what an account's snapshot says. ``disk`` is what files share that cannot be written together."""
    if at.paused:
        return AccountGone(account)
    if at.state is State.SHUTTING_DOWN:
        stopping = Sign.UNSETTLED
        return AccountSeen(
            account=account, connection=stopping, person=stopping, file=stopping, limit=stopping, updates=stopping
        )
    other = Sign.WELL if at.state is State.HEALTHY else Sign.UNSETTLED
    person = _person(at)
    file = _file(at, disk)
    connection: IncidentReason | Sign = other
    if person is not None or (file is not None and other is Sign.UNSETTLED and at.database is None):
        connection = Sign.LEFT
    elif other is Sign.UNSETTLED and at.cause is not None:
        connection = _connection(at)
    return AccountSeen(
        account=account,
        connection=connection,
        person=person or other,
        file=file or other,
        limit=_limit(at) or other,
        updates=_updates(at) or other,
        scopes=scopes,
    )


def _person(at: Snapshot) -> IncidentReason | None:
    action = at.action
    limited = at.limited is not None or at.restricted is not None
    if action is None or (limited and action is Action.APPEAL and at.state is not State.AUTH_FAILED):
        return None
    if action is Action.RETRY and not at.parked:
        return None  # updates are missing, which is told by itself
    detail = at.cause.detail if at.cause is not None else ""
    return IncidentReason(
        kind=IncidentKind.NEEDS_PERSON,
        cause=action.value,
        detail=detail,
        shared=action.value if at.stopped_with_all else None,
        at_once=True,
    )


def _file(at: Snapshot, disk: str | None) -> IncidentReason | None:
    """Return what is the matter with the session's file: while it is in use, or in an attempt that needs it."""
    found = at.database
    event, detail, since = ("", "", None) if found is None else (found.event, found.detail, found.since)
    if found is None and at.state is not State.HEALTHY and at.cause is not None and at.cause.event in OF_FILE:
        event, detail, since = at.cause.event, at.cause.detail, _since(at)
    if not event or detail.startswith(EXHAUSTED):
        return None
    shared = disk if event == "DatabaseUnavailable" else None
    return IncidentReason(kind=IncidentKind.STORAGE, cause=event, detail=detail, shared=shared, since=since)


def _limit(at: Snapshot) -> IncidentReason | None:
    if at.limited is None and at.restricted is not None:
        known = at.restricted
        more = advice_for(known.limit, known.deletion, known.appeal)
        detail = "; ".join(part for part in (known.detail, more) if part)
        return IncidentReason(kind=IncidentKind.LIMITED, cause=CAUSES[known.limit], detail=detail, at_once=True)
    if at.limited is None:
        return None
    return IncidentReason(kind=IncidentKind.LIMITED, cause=at.limited.event, detail=at.limited.detail, at_once=True)


def _updates(at: Snapshot) -> IncidentReason | None:
    """Return which updates are missing, once fresh clients did not get them either."""
    stall = at.stall
    if stall is None or not stall.told:
        return None
    return IncidentReason(
        kind=IncidentKind.STALLED, cause=MISSING_UPDATES, detail=stall.detail, at_once=True, since=stall.since
    )


def _connection(at: Snapshot) -> IncidentReason:
    assert at.cause is not None, "only a failure makes a trouble of it"
    return IncidentReason(
        kind=IncidentKind.OUTAGE,
        cause=at.cause.event,
        detail=at.cause.detail,
        shared=PROCESS if at.cause.detail.startswith(EXHAUSTED) else None,
        scoped=at.cause.event in OF_WAY,
        since=_since(at),
    )


def _since(at: Snapshot) -> float:
    """Return when a trouble began, as far as the snapshot knows: at the last sign of life."""
    return at.since if at.last_success is None else min(at.since, at.last_success)
