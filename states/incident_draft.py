"""The next book of incidents while a decision is made; see ``incidents`` for what is decided."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from attrs import define, evolve, field

from states.incident import MAX_DETAIL, Incident, IncidentKind, Severity
from states.incident_book import (
    ACCOUNT_SLOTS,
    FALLS,
    AccountSeen,
    Acked,
    Book,
    Change,
    Closed,
    IncidentPolicy,
    IncidentReason,
    Joined,
    Left,
    Member,
    Opened,
    Sign,
    Slot,
    Track,
)
from states.names import name_key

MIN_TOGETHER: Final = 2
"""The least accounts of an incident that is one of a way to Telegram."""
OF_WAY: Final = (IncidentKind.OUTAGE, IncidentKind.FLAPPING)


def enough(together: int, in_use: int) -> bool:
    """Return whether so many accounts in trouble, of so many on one way to Telegram, mean that it is the way.

    That is a tenth of them: three at least (two, if there are no more), and never more than ten.
    """
    return together >= max(MIN_TOGETHER, min(in_use, 10, max(3, math.ceil(in_use / 10))))


def group_of(kind: IncidentKind) -> IncidentKind:
    """Return the kind of reason from which incidents of a kind come: a way that flaps is a way that is lost."""
    return IncidentKind.OUTAGE if kind is IncidentKind.FLAPPING else kind


def severity_of(kind: IncidentKind, *, fleet: bool) -> Severity:
    """Return how grave an incident is."""
    grave = kind in (IncidentKind.NEEDS_PERSON, IncidentKind.STORAGE) or (fleet and kind in OF_WAY)
    return Severity.CRITICAL if grave else Severity.WARNING


def _due_of(track: Track, policy: IncidentPolicy) -> float | None:
    """Return when time alone decides something about a member; None if it never does."""
    if track.well is not None:
        return track.well + policy.calm
    if track.incident is not None or track.fell is None:
        return None
    if track.reason.at_once:
        return track.fell
    lasts = track.fell + policy.after
    if track.falls >= FALLS and track.reason.kind is IncidentKind.OUTAGE:
        return min(lasts, max(track.fell, track.since + policy.after))
    return lasts


def _earliest(times: Iterable[float | None]) -> float | None:
    return min((time for time in times if time is not None), default=None)


@define(kw_only=True)
class BookDraft:
    """The next book while a decision is made."""

    policy: IncidentPolicy
    now: float
    full: bool
    """Whether time may decide about members that the event does not name."""
    due: float | None
    next_id: int
    open: dict[int, Incident]
    tracks: dict[Member, Track]
    sizes: dict[int, int]
    shared: dict[tuple[IncidentKind, str], int]
    scopes: dict[str, tuple[str, ...]]
    changes: list[Change] = field(factory=list)
    touched: dict[Member, None] = field(factory=dict)

    @classmethod
    def of(cls, book: Book, now: float, policy: IncidentPolicy) -> "BookDraft":
        """Return a draft with what is in the book."""
        now = max(book.now, now) if math.isfinite(now) else book.now
        return cls(
            policy=policy,
            now=now,
            full=book.due is not None and book.due <= now,
            due=book.due,
            next_id=book.next_id,
            open=dict(book.open),
            tracks=dict(book.tracks),
            sizes=dict(book.sizes),
            shared=dict(book.shared),
            scopes=dict(book.scopes),
        )

    def finish(self) -> Book:
        """Decide what time decides by now, and return the book."""
        due_of = partial(_due_of, policy=self.policy)
        waiting = list(self.tracks) if self.full else list(self.touched)
        self.touched.clear()
        seen: dict[Member, None] = dict.fromkeys(waiting)
        while waiting:
            ripe = [
                (due, member)
                for member in waiting
                if (track := self.tracks.get(member)) is not None
                and (due := due_of(track)) is not None
                and due <= self.now
            ]
            for _, member in sorted(ripe):
                self._settle(member)
            waiting = list(self.touched)
            seen |= self.touched
            self.touched.clear()
        if self.full:
            due = _earliest(map(due_of, self.tracks.values()))
        else:
            due = _earliest([self.due, *(due_of(self.tracks[each]) for each in seen if each in self.tracks)])
        return Book(
            now=self.now, next_id=self.next_id, open=self.open, tracks=self.tracks, sizes=self.sizes,
            shared=self.shared, scopes=self.scopes, due=due,
        )  # fmt: skip

    # --- what is seen ------------------------------------------------------------------------------------------------

    def see_account(self, event: AccountSeen) -> None:
        """Take note of an account."""
        first = event.account not in self.scopes
        if event.connection is Sign.LEFT:
            self.scopes.pop(event.account, None)
        elif event.connection is not Sign.UNSETTLED:
            self.scopes[event.account] = event.scopes
        found = (event.connection, event.person, event.file, event.limit, event.updates)
        for slot, each in zip(ACCOUNT_SLOTS, found, strict=True):
            self.see((slot, event.account), each, first=first)

    def forget_account(self, account: str) -> None:
        """Let an account leave everything."""
        self.scopes.pop(account, None)
        for slot in ACCOUNT_SLOTS:
            self.see((slot, account), Sign.LEFT)

    def rename(self, names: Mapping[str, str]) -> None:
        """Call accounts otherwise; one that had a new name and is not renamed itself leaves everything."""
        moved = {former: name for former, name in names.items() if former != name}
        if len(set(moved.values())) != len(moved):
            return  # two cannot have one name
        for name in sorted({*moved.values()} - moved.keys()):
            self.forget_account(name)

        def renamed(member: Member) -> Member:
            slot, name = member
            return (slot, moved.get(name, name)) if slot in ACCOUNT_SLOTS else member

        self.tracks = {renamed(member): track for member, track in self.tracks.items()}
        self.touched = {renamed(member): None for member in self.touched}
        self.scopes = {moved.get(name, name): scopes for name, scopes in self.scopes.items()}
        for number, incident in self.open.items():
            if not moved.keys().isdisjoint(incident.accounts):
                accounts = tuple(sorted({moved.get(name, name) for name in incident.accounts}, key=name_key))
                self.open[number] = evolve(incident, accounts=accounts)
                members = [each for each, track in self.tracks.items() if track.incident == number]
                mine = tuple(each for each in members if each[1] in moved.values() and each[0] in ACCOUNT_SLOTS)
                self.changes.append(Joined(incident=self.open[number], members=mine))

    def see(self, member: Member, found: IncidentReason | Sign, *, first: bool = False) -> None:
        """Take note of a member; at the ``first`` sight of it, its trouble may have begun before."""
        track = self.tracks.get(member)
        if isinstance(found, IncidentReason):
            self._see_trouble(member, track, found, first=first)
        elif track is None:
            return
        elif found is Sign.LEFT:
            self._leave(member, self.now)
        elif found is Sign.UNSETTLED:
            self.tracks[member] = evolve(track, well=None)
        elif track.well is None:
            self.tracks[member] = evolve(track, fell=None, well=self.now)
        self.touched[member] = None

    def _see_trouble(self, member: Member, track: Track | None, reason: IncidentReason, *, first: bool) -> None:
        if track is not None and member[0] in (Slot.PERSON, Slot.LIMIT) and not _same(track.reason, reason):
            self._leave(member, self.now)
            track = None
        if track is None:
            known = first and reason.since is not None and 0 <= self.now - reason.since <= self.policy.after
            since = reason.since if known and reason.since is not None else self.now
            self.tracks[member] = Track(reason=reason, since=since, fell=since)
            return
        kept = track.reason if track.incident is not None else reason
        if track.fell is None:
            falls = track.falls + (track.well is not None)
            track = evolve(track, fell=self.now, well=None, falls=falls)
        self.tracks[member] = evolve(track, reason=kept)

    def move(self, shift: float, slept: float) -> None:
        """Move all times with a clock that was set, and what is counted also over a sleep."""
        if not (math.isfinite(shift) and math.isfinite(slept)):
            return
        counted = shift + max(0.0, slept)
        self.now += min(0.0, shift)

        def moved(time: float | None, by: float) -> float | None:
            """Return a time after the move; what began since the machine woke up began before now, too."""
            return None if time is None else min(time + by, self.now)

        for member, track in self.tracks.items():
            since, fell, well = track.since + shift, moved(track.fell, counted), moved(track.well, counted)
            self.tracks[member] = evolve(track, since=min(since, self.now), fell=fell, well=well)
        for number, each in self.open.items():
            opened = min(each.opened + shift, self.now)
            since, acked = min(each.since + shift, opened), moved(each.acked, shift)
            self.open[number] = evolve(each, since=since, opened=opened, acked=acked)
        self.full = True

    def acknowledge(self, number: int) -> None:
        """Note that a person knows of an open incident."""
        incident = self.open.get(number)
        if incident is not None and incident.acked is None:
            self.open[number] = evolve(incident, acked=self.now)
            self.changes.append(Acked(incident=self.open[number]))

    # --- what follows ------------------------------------------------------------------------------------------------

    def _settle(self, member: Member) -> None:
        """Do what time demands for a member; it may have been done with another one."""
        track = self.tracks.get(member)
        due = None if track is None else _due_of(track, self.policy)
        if track is None or due is None or due > self.now:
            return
        if track.well is not None:
            self._leave(member, track.well)
        else:
            self._open_or_join(member, track)

    def _leave(self, member: Member, at: float) -> None:
        """Take a member out of the book: it was well from ``at`` on, or nobody asks any more."""
        number = self.tracks.pop(member).incident
        if number is None:
            return
        self.sizes[number] -= 1
        incident = self.open[number]
        if not self.sizes[number]:
            self._close(number, at)
        elif self.sizes[number] < MIN_TOGETHER and incident.fleet and incident.kind in OF_WAY:
            rest = next(each for each, track in self.tracks.items() if track.incident == number)
            if self.tracks[rest].fell is None:
                self.changes.append(Left(incident=incident, member=member, at=at))
                return
            self.tracks[rest] = evolve(self.tracks[rest], incident=None)
            self.touched[rest] = None
            self._close(number, at)
        else:
            self.changes.append(Left(incident=incident, member=member, at=at))

    def _close(self, number: int, at: float, into: int | None = None) -> None:
        incident = self.open.pop(number)
        del self.sizes[number]
        if incident.fleet:
            self.shared.pop((group_of(incident.kind), incident.cause), None)
        self.changes.append(Closed(incident=evolve(incident, closed=max(at, incident.opened)), into=into))

    def _open_or_join(self, member: Member, track: Track) -> None:
        reason, account = track.reason, member[1]
        scopes = self.scopes.get(account, ()) if reason.scoped and member[0] is Slot.CONNECTION else ()
        labels = scopes if reason.shared is None else (reason.shared,)
        for label in labels:
            if (number := self.shared.get((reason.kind, label))) is not None:
                self._join(number, [member])
                return
        if reason.shared is not None:
            same = [each for each, other in self.tracks.items() if _waits_with(other, reason)]
            self._open(reason, reason.shared, list(dict.fromkeys([member, *same])), IncidentKind(reason.kind))
            return
        flaps = reason.kind is IncidentKind.OUTAGE and (track.fell or 0.0) + self.policy.after > self.now
        kind = IncidentKind.FLAPPING if flaps else reason.kind
        for number_of, scope in reversed(list(enumerate(scopes))):
            together = self._together(scope, flaps=flaps)
            if self._is_way(scope, together, wider=number_of > 0):
                self._open_for_way(kind, reason, scope, list(dict.fromkeys([member, *together])))
                return
        self._open(reason, None, [member], kind)

    def _together(self, scope: str, *, flaps: bool) -> list[Member]:
        """Return the accounts on a way that are in trouble: in no incident, or in one of their own since recently."""
        found = []
        for member, track in self.tracks.items():
            if member[0] is not Slot.CONNECTION or not track.reason.scoped:
                continue
            if scope not in self.scopes.get(member[1], ()):
                continue
            if track.fell is None and not (flaps and track.falls >= FALLS - 1):
                continue
            if track.incident is None or self._is_recent(track.incident):
                found.append(member)
        return found

    def _is_recent(self, number: int) -> bool:
        incident = self.open[number]
        return not incident.fleet and self.now - incident.opened <= self.policy.calm

    def _is_way(self, scope: str, together: list[Member], *, wider: bool) -> bool:
        """Return whether it is this way that is in trouble; a wider one only if half of all are, on several ways."""
        in_use = sum(1 for scopes in self.scopes.values() if scope in scopes)
        if not wider:
            return enough(len(together), in_use)
        ways = {self.scopes[account][0] for _, account in together}
        return len(ways) > 1 and enough(len(together), in_use) and 2 * len(together) >= in_use

    def _open_for_way(self, kind: IncidentKind, reason: IncidentReason, scope: str, members: list[Member]) -> None:
        """Open the incident of a way. The first that opened alone just before becomes it; the others go on in it."""
        alone = sorted({number for each in members if (number := self.tracks[each].incident) is not None})
        if not alone:
            self._open(reason, scope, members, kind)
            return
        first = alone[0]
        self.open[first] = evolve(
            self.open[first], fleet=True, cause=scope, severity=severity_of(self.open[first].kind, fleet=True)
        )
        self.shared[reason.kind, scope] = first
        new = [each for each in members if self.tracks[each].incident != first]
        for each in new:
            self.tracks[each] = evolve(self.tracks[each], incident=None)
        self._join(first, new)
        for number in alone[1:]:
            self._close(number, self.now, into=first)

    def _open(self, reason: IncidentReason, label: str | None, members: list[Member], kind: IncidentKind) -> None:
        number, self.next_id = self.next_id, self.next_id + 1
        fleet = label is not None
        self.open[number] = Incident(
            id=number,
            kind=kind,
            cause=reason.cause if label is None else label,
            accounts=tuple(sorted({name for slot, name in members if slot in ACCOUNT_SLOTS}, key=name_key)),
            fleet=fleet,
            severity=severity_of(kind, fleet=fleet),
            since=min(self.tracks[each].since for each in members),
            opened=self.now,
            detail=reason.detail[:MAX_DETAIL],
        )
        if label is not None:
            self.shared[reason.kind, label] = number
        self.sizes[number] = len(members)
        for each in members:
            self.tracks[each] = evolve(self.tracks[each], incident=number)
        self.changes.append(Opened(incident=self.open[number], members=tuple(members)))

    def _join(self, number: int, members: list[Member]) -> None:
        incident = self.open[number]
        since = min([incident.since, *(self.tracks[each].since for each in members)])
        accounts = _with(incident.accounts, [name for slot, name in members if slot in ACCOUNT_SLOTS])
        self.open[number] = evolve(incident, since=since, accounts=accounts)
        self.sizes[number] += len(members)
        for each in members:
            self.tracks[each] = evolve(self.tracks[each], incident=number)
        self.changes.append(Joined(incident=self.open[number], members=tuple(members)))


def _with(accounts: tuple[str, ...], names: Sequence[str]) -> tuple[str, ...]:
    """Return sorted accounts with these among them."""
    if len(names) != 1:
        return tuple(sorted({*accounts, *names}, key=name_key))
    place = bisect_left(accounts, name_key(names[0]), key=name_key)  # the usual case: one of thousands joins
    if accounts[place : place + 1] == (names[0],):
        return accounts
    return (*accounts[:place], names[0], *accounts[place:])


def _waits_with(track: Track, reason: IncidentReason) -> bool:
    """Return whether a trouble is the same, shared one, and in no incident yet."""
    same = track.reason.shared == reason.shared and track.reason.kind is reason.kind
    return same and track.fell is not None and track.incident is None


def _same(one: IncidentReason, other: IncidentReason) -> bool:
    return (one.kind, one.cause, one.shared) == (other.kind, other.cause, other.shared)
