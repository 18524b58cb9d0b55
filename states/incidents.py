"""The law of incidents: when a trouble becomes an incident, who is in it, and when it is over. Pure, like ``step``.

A *member* is an account, or a part of the engine, in one *slot*: its connection, what a person must do, its file, a
limit, its updates; the journal's file, the jobs of a kind, a channel. A member has at most one trouble in a slot, and
so is in at most one open incident for it.

    situation                                             decision
    ----------------------------------------------------  -------------------------------------------------------------
    in trouble for less than ``after``, then well         none; but a fall within ``calm`` continues the same trouble
    in trouble for ``after`` without a break              opens an incident, or joins the one of what it shares
    a reason that is ``at_once`` (a person is needed)     opens or joins now
    ``FALLS`` falls, never well for ``calm`` between      flapping: one incident, however often it falls then
    open, and the reason changes to another error         goes on: one outage has many errors
    open, and a person must do something else now         the old one is over, a new one opens
    well for less than ``calm``, then in trouble          goes on
    well for ``calm``                                     leaves its incident, which is over when the last has left
    neither well nor in trouble                           nothing is counted until it is one of the two
    paused, removed; another slot tells of it             leaves at once
    called otherwise                                      goes on under the new name
    the reason is certainly shared (api_id, disk)         one incident of the fleet for all that have it
    many on one way to Telegram are in trouble            one incident of the fleet; those that opened alone just before
                                                          go on in it
    all but one have left an incident of one way          it is over; the one that is left has an incident of its own
    the clock was set; the machine slept                  all times move with it; a sleep counts neither way
    the clock goes back unnoticed                         time stands still until it is there again
    ``Elapsed`` comes late, or is told too often          as if it had come in time; nothing
    acknowledged                                          noted once; it decides nothing
    an earlier life of the engine has left it open        ``restore``: its members are unsettled until they are seen

How many are many: ``enough``. What is unusual (an unknown number, a member that nobody knows) changes nothing. Every
event is defined in every book, and no decision raises.
"""

from collections.abc import Iterable
from typing import Final

from states.incident import Incident, IncidentKind, Severity
from states.incident_book import (
    ACCOUNT_SLOTS,
    CALM,
    FALLS,
    AccountGone,
    AccountSeen,
    AccountsRenamed,
    Acked,
    Acknowledged,
    Book,
    Change,
    ClockMoved,
    Closed,
    Elapsed,
    IncidentEvent,
    IncidentPolicy,
    IncidentReason,
    Joined,
    Left,
    Member,
    Opened,
    PartSeen,
    Sign,
    Slot,
    Track,
)
from states.incident_draft import OF_WAY, BookDraft, enough, group_of

__all__ = [
    "ACCOUNT_SLOTS",
    "CALM",
    "FALLS",
    "AccountGone",
    "AccountSeen",
    "AccountsRenamed",
    "Acked",
    "Acknowledged",
    "Book",
    "Change",
    "ClockMoved",
    "Closed",
    "Elapsed",
    "Incident",
    "IncidentEvent",
    "IncidentKind",
    "IncidentPolicy",
    "IncidentReason",
    "Joined",
    "Left",
    "Member",
    "Opened",
    "PartSeen",
    "Severity",
    "Sign",
    "Slot",
    "Track",
    "decide",
    "enough",
    "restore",
]

_SLOTS: Final = {
    IncidentKind.NEEDS_PERSON: Slot.PERSON,
    IncidentKind.OUTAGE: Slot.CONNECTION,
    IncidentKind.FLAPPING: Slot.CONNECTION,
    IncidentKind.STORAGE: Slot.FILE,
    IncidentKind.LIMITED: Slot.LIMIT,
    IncidentKind.STALLED: Slot.UPDATES,
    IncidentKind.JOB_FAILED: Slot.JOBS,
    IncidentKind.CHANNEL: Slot.CHANNEL,
}


def decide(
    book: Book, event: IncidentEvent, now: float, policy: IncidentPolicy
) -> tuple[Book, tuple[Change, ...], float | None]:
    """Return the book after an event, what has changed, and when ``Elapsed`` must be told at the latest.

    ``now`` is in Unix seconds; what is no time, or before the last decision, counts as the time of that.
    """
    draft = BookDraft.of(book, now, policy)
    match event:
        case AccountSeen():
            draft.see_account(event)
        case AccountGone(account):
            draft.forget_account(account)
        case AccountsRenamed(names):
            draft.rename(names)
        case PartSeen(slot=slot, name=name, found=found):
            draft.see((slot, name), found)
        case ClockMoved(shift, slept):
            draft.move(shift, slept)
        case Acknowledged(number):
            draft.acknowledge(number)
        case Elapsed():
            pass
    after = draft.finish()
    return after, tuple(draft.changes), after.due


def restore(incidents: Iterable[Incident], members: Iterable[tuple[int, Member]], next_id: int, now: float) -> Book:
    """Return the book of an engine that begins: ``incidents`` are open, and ``members`` were in them at the end.

    A member is unsettled until it is seen. An incident without any is over when nothing is heard of it for ``calm``.
    """
    found = {each.id: each for each in incidents if each.is_open}
    tracks: dict[Member, Track] = {}
    sizes = dict.fromkeys(found, 0)
    for number, member in members:
        incident = found.get(number)
        if incident is None or member in tracks:
            continue
        kind = group_of(incident.kind)
        shared = incident.cause if incident.fleet and kind not in OF_WAY else None
        reason = IncidentReason(kind=kind, cause=incident.cause, detail=incident.detail, shared=shared)
        tracks[member] = Track(reason=reason, since=incident.since, fell=None, incident=number)
        sizes[number] += 1
    for number, incident in found.items():
        if not sizes[number]:  # nobody is known to be in it: a member of its own ends it
            member = (_SLOTS[incident.kind], incident.accounts[0] if incident.accounts else incident.cause)
            reason = IncidentReason(kind=incident.kind, cause=incident.cause)
            if member not in tracks:
                tracks[member] = Track(reason=reason, since=incident.since, fell=None, well=now, incident=number)
                sizes[number] = 1
    known = {number: incident for number, incident in found.items() if sizes[number]}
    shared_ones = {(group_of(each.kind), each.cause): number for number, each in known.items() if each.fleet}
    return Book(
        now=now,
        next_id=max([next_id, *(number + 1 for number in found)]),
        open=known,
        tracks=tracks,
        sizes={number: sizes[number] for number in known},
        shared=shared_ones,
        due=now,
    )
