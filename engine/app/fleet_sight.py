"""What an engine that is a node knows of the other nodes and of their accounts: as they have stored it.

Read from the store while somebody looks at a page, in a thread and in bounded time. A composition root.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, evolve, field, frozen

from engine.app.page_reads import PageReads
from engine.app.records import StoragePlace, open_records
from engine.app.stored_fleet import open_fleet
from engine.app.stored_incidents import open_incidents
from engine.app.stored_jobs import open_jobs
from engine.console.account_status import AccountStatus
from engine.console.node_lines import SeenNode
from engine.console.safe_text import one_line
from engine.web.page.nodes import AccountWhere, FleetNodes
from engine.web.page.source import MAX_ROWS, PageUnreadable
from states import Snapshot
from states.incident import Incident
from states.jobs import Job, JobState
from states.lease import LeaseTimes
from states.nodes import AccountPlace, BeatWatch, NodeRecord

if TYPE_CHECKING:  # only the types
    from engine.node.holder import LeaseHolder

LOOK_EVERY: Final = 3.0
"""Seconds from one look to the next, while somebody looks at a page."""
SHARE: Final = 0.1
"""The part of the time that looks may take: of very many accounts one takes seconds."""
MISSED: Final = 2
"""Beats after which a node that should have beaten is called silent."""
MARGIN: Final = 1.0
"""Seconds by which a beat, or the answer to it, may be late."""
NEVER: Final = AccountStatus(None)
_SHOWN: Final = 100


@frozen
class FleetLook:
    """What one look has found."""

    read: float
    """When it began (Unix seconds)."""
    nodes: Sequence[NodeRecord] = ()
    places: Mapping[str, AccountPlace] = field(factory=dict)
    stored: Mapping[str, Snapshot] = field(factory=dict)
    """Where the accounts of other nodes are, as stored last."""
    present: Collection[str] = frozenset()
    """The accounts of which the node that has them has stored that."""
    incidents: Sequence[Incident] = ()
    """The open incidents of all nodes."""
    running: Sequence[Job] = ()
    """The running jobs of all nodes."""


@define(eq=False)
class FleetSight:
    """The other nodes, as this one sees them. What is no coroutine may be called from any thread."""

    holder: "Callable[[], LeaseHolder | None]"
    """Returns what watches the beats of the others; where that is nobody, the looks do."""
    reads: PageReads
    own: str
    """The name of this node; empty for what is none: then nodes and places alone are read."""
    runs: Mapping[str, object]
    """The accounts that run here, by name."""
    wanted: bool = field(default=False, init=False)
    """Whether somebody has asked since the last look."""
    last: FleetLook | None = field(default=None, init=False)
    trouble: str = field(default="", init=False)
    """Why the last look has found nothing."""
    _statuses: Mapping[str, AccountStatus] = field(factory=dict, init=False)
    _due: float = field(default=float("-inf"), init=False)
    """When the next look may be, by the loop's clock."""
    _looked: float | None = field(default=None, init=False)
    """When the last look was that has found something, by the loop's clock."""
    _beats: BeatWatch = field(factory=BeatWatch, init=False)
    _looking: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def look(self) -> None:
        """Look, unless that was done a moment ago; one look is for all who wait for it."""
        async with self._looking:
            if (began := anyio.current_time()) < self._due:
                return
            try:
                found = await self.reads.within(self._read)
            except PageUnreadable as exc:
                self.trouble = one_line(str(exc))
            else:
                self.trouble, self.last = "", found
                self._looked = anyio.current_time()
                self._beats.look(self._looked, found.nodes)
                self._statuses = self._statuses_of(found)
            ended = anyio.current_time()
            self._due = ended + max(LOOK_EVERY, (ended - began) / SHARE)
            self.wanted = False

    def _read(self, place: StoragePlace) -> FleetLook:
        read, own = time.time(), frozenset(self.runs)
        reading = open_fleet(place)
        assert reading is not None, "a node has a store that is shared"
        with reading as fleet:
            nodes, places = fleet.nodes(), fleet.accounts()
        if not self.own:
            return FleetLook(read, nodes, places)
        with open_records(place) as records:
            records.on_unreadable = lambda row: None  # nothing is known of that account; the others have theirs
            with records.read_transaction():
                present = records.present_at_nodes() or ()
                stored = {name: at for name, (at, _) in records.snapshots_of(places.keys() - own).items()}
        with open_incidents(place) as reader:
            incidents = reader.incidents(open_only=True, last=MAX_ROWS)
        with open_jobs(place) as jobs:
            running = list(jobs.jobs({"state": [JobState.RUNNING.value]}, last=MAX_ROWS))
        return FleetLook(read, nodes, places, stored, present, incidents, running)

    def _statuses_of(self, found: FleetLook) -> dict[str, AccountStatus]:
        """Return where accounts at other nodes are; who has not changed is the same object."""
        silent = {each.node.life for each in self._seen(found) if each.node.lives and each.age is None}
        statuses = {}
        for name, snapshot in found.stored.items():
            at = found.places[name]
            made = AccountStatus(snapshot, present=name in found.present and at.life not in silent)
            before = self._statuses.get(name)
            statuses[name] = before if before == made else made
        return statuses

    # --- what it knows -----------------------------------------------------------------------------------------------

    def status(self, account: str) -> AccountStatus:
        """Return where an account is that does not run here, as its node has stored it."""
        self.wanted = True
        return self._statuses.get(account, NEVER)

    def whereabouts(self, account: str) -> AccountWhere:
        """Return which node has an account, and how that is known."""
        self.wanted = True
        if account in self.runs:
            return AccountWhere(self.own, here=True, note=self._going(account))
        at = None if self.last is None else self.last.places.get(account)
        snapshot = self._statuses.get(account, NEVER).last
        stored = None if snapshot is None else stored_at(snapshot)
        if at is None:
            return AccountWhere("", here=False, stored=stored)
        here = bool(self.own) and at.node == self.own
        note = self._going(account) or ("it has not begun here yet" if here else "" if at.node else _why_nowhere(at))
        return AccountWhere(at.node or "", here=here, stored=stored, note=note)

    def _going(self, account: str) -> str:
        at = None if self.last is None else self.last.places.get(account)
        return "" if at is None or at.move_to is None else f"it is to go to node {one_line(at.move_to, _SHOWN)}"

    def nodes(self) -> FleetNodes:
        """Return the nodes."""
        self.wanted = True
        if (found := self.last) is None:
            return FleetNodes(self.own, trouble=self.trouble)
        return FleetNodes(self.own, self._seen(found), found.read, self.trouble)

    def _seen(self, found: FleetLook) -> list[SeenNode]:
        """Return the nodes with what the beats say, which this node watches anyway."""
        holder, seen = self.holder(), []
        times = LeaseTimes() if holder is None else holder.times
        limit = MISSED * times.beats_apart_at_most + MARGIN
        for each in found.nodes:
            age = self._age(each)
            seen.append(SeenNode(each, None if age > limit else age, age))
        return seen

    def _age(self, node: NodeRecord) -> float:
        """Return the seconds since a beat of a node was seen."""
        if (holder := self.holder()) is None:
            return 0.0 if self._looked is None else self._beats.silent_for(node.life, self._looked)
        # One that is not watched has come just now, or is this one; and without the store nobody is watched.
        sight = holder.watcher.watch.sights.get(node.life)
        return 0.0 if sight is None else max(0.0, holder.clock.now() - sight.since)

    def incidents(self, own: Collection[Incident]) -> Sequence[Incident]:
        """Return the open incidents of all nodes, those of this node as they are now."""
        self.wanted = True
        if self.last is None:
            return list(own)
        mine = {each.id: each for each in own}
        found = [evolve(each, accounts=mine.pop(each.id).accounts) if each.id in mine and not each.accounts else each
                 for each in self.last.incidents]  # fmt: skip
        known = {each.id for each in found}
        return [*found, *(each for each in own if each.id not in known and each.since >= self.last.read)]

    def running_jobs(self, own: Collection[Job]) -> Sequence[Job]:
        """Return the running jobs of all nodes, those of this one with their present progress."""
        self.wanted = True
        mine = {each.id for each in own}
        others = () if self.last is None else self.last.running
        return [*own, *(each for each in others if each.id not in mine and each.worker not in self.runs)]


def stored_at(at: Snapshot) -> float:
    """Return of when a stored snapshot is (Unix seconds)."""
    return max(at.since, at.last_success or 0.0, at.proved_at or 0.0)


def _why_nowhere(at: AccountPlace) -> str:
    if at.taken_to is not None:
        return "its session was taken away; bring it with 'session bring'"
    return "a node takes it within moments, or see 'nodes' why none does"
