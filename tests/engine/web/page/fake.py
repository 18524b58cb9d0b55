"""An engine of which every part is made up: what the pages show of it, nothing else."""

from collections.abc import Mapping, Sequence
from random import Random

from attrs import define, field

from engine.console.account_status import AccountStatus
from engine.console.status import EngineInfo
from engine.journal.explain import Explanation
from engine.web.page.history import HALF_HOUR, Kind, Past, Span, Tally, day_of
from engine.web.page.nodes import AccountWhere, FleetNodes
from engine.web.page.source import AccountHeat, ActionOutcome, Histories, PageRole, PageUnreadable, PageVerb, Viewer
from states import Cause, Entry, Hold, Policy, Snapshot, State
from states.incident import Incident, IncidentKind, Severity
from states.job import Job, JobState

NOW = 1_764_441_600.0
OPERATOR = Viewer(PageRole.OPERATOR, csrf="a-csrf-token", seen="mark-1")
READER = Viewer(PageRole.READER, seen="mark-1")


@define(eq=False)
class FakeSource:
    """A source that says what a test puts in."""

    statuses: dict[str, AccountStatus] = field(factory=dict)
    troubles: dict[str, float] = field(factory=dict)
    open: list[Incident] = field(factory=list)
    over: list[Incident] = field(factory=list)
    counts: dict[str, dict[str, int]] = field(factory=dict)
    running: list[Job] = field(factory=list)
    failed: list[Job] = field(factory=list)
    queued: list[Job] = field(factory=list)
    records: list[Entry] = field(factory=list)
    """Oldest first."""
    explanations: dict[int, Explanation] = field(factory=dict)
    pasts: dict[str, Past] = field(factory=dict)
    moves: dict[tuple[State, str, State], int] = field(factory=dict)
    trouble: str = ""
    """Why nothing can be read; empty if it can."""
    info: EngineInfo = field(factory=lambda: EngineInfo(running=True, pid=1, since=NOW - 7200))
    config_name: str = "config.yaml"
    policy: Policy = field(factory=Policy)
    stopping: bool = False
    acted: list[tuple[PageVerb, str]] = field(factory=list)
    shared: FleetNodes | None = None
    """The nodes that share the accounts."""
    places: dict[str, AccountWhere] = field(factory=dict)
    looks: int = 0

    def accounts(self) -> Mapping[str, AccountStatus]:
        return dict(self.statuses)

    async def look(self) -> None:
        self.looks += 1

    def nodes(self) -> FleetNodes | None:
        return self.shared

    def whereabouts(self, account: str) -> AccountWhere | None:
        return self.places.get(account)

    def trouble_since(self, account: str) -> float | None:
        return self.troubles.get(account)

    def incidents(self) -> Sequence[Incident]:
        return list(self.open)

    def jobs(self) -> Mapping[str, Mapping[str, int]]:
        return self.counts

    def running_jobs(self) -> Sequence[Job]:
        return self.running

    def _readable(self) -> None:
        if self.trouble:
            raise PageUnreadable(self.trouble)

    async def past_incidents(self, limit: int) -> Sequence[Incident]:
        self._readable()
        return self.over[:limit]

    async def failed_jobs(self, limit: int) -> Sequence[Job]:
        self._readable()
        return self.failed[:limit]

    async def queued_jobs(self, limit: int) -> Sequence[Job]:
        self._readable()
        return self.queued[:limit]

    async def jobs_of(self, account: str, limit: int) -> Sequence[Job]:
        self._readable()
        jobs = (*self.running, *self.failed, *self.queued)
        return [job for job in jobs if account in (job.account, job.worker)][:limit]

    async def journal(self, account: str | None, before: int | None, limit: int) -> Sequence[Entry]:
        self._readable()
        found = [
            each
            for each in reversed(self.records)
            if account in (None, each.account) and (before is None or each.seq < before)
        ]
        return found[:limit]

    async def journal_at(self, since: float, until: float, limit: int, account: str | None = None) -> Sequence[Entry]:
        self._readable()
        return [each for each in self.records if since <= each.at < until and account in (None, each.account)][:limit]

    async def explain(self, seq: int) -> Explanation:
        self._readable()
        if (found := self.explanations.get(seq)) is None:
            raise PageUnreadable(f"The journal has no record {seq} any more: retention has deleted it")
        return found

    async def history(self) -> Histories:
        self._readable()
        return Histories(self.pasts, complete=True, at=NOW)

    def known_history(self) -> Histories:
        return Histories(self.pasts, complete=True, at=NOW)

    async def heat(self, account: str, since: float) -> AccountHeat:
        self._readable()
        return AccountHeat(since, self.moves)

    async def act(self, verb: PageVerb, target: str) -> ActionOutcome:
        self.acted.append((verb, target))
        return ActionOutcome(done=True, said=f"{target}: {verb.value} done")


# --- a fleet that looks like one -------------------------------------------------------------------------------------


def at(state: State, since: float = NOW - 100, **more: object) -> AccountStatus:
    """Return the status of an account that is known to be in a state."""
    return AccountStatus(Snapshot(state=state, since=since, life=1, **more))  # type: ignore[arg-type]


def record(seq: int, account: str, when: float, move: tuple[State, str, State], **more: object) -> Entry:
    """Return a record of the journal."""
    source, event, target = move
    values = {
        "payload": {}, "rule": f"{source.value}-{event}", "attempt": 1, "failures": 0, "delay": None, "draw": None,
        "deadline": None, "effects": (), "detail": "", "cause": (), "dwell": 12.0, "quiet": False, **more,
    }  # fmt: skip
    return Entry(seq=seq, account=account, life=1, at=when, source=source, target=target, event=event, **values)  # type: ignore[arg-type]


def past(random: Random, *, open_: Span | None = None, shared: Sequence[Span] = ()) -> Past:
    """Return a past with some outages in the last day, and some in the days before."""
    spans = [*shared]
    for _ in range(random.choice([0, 0, 0, 1, 3])):
        begin = NOW - random.uniform(3600, 23 * 3600)
        kind = Kind.PERSON if random.random() < 0.1 else Kind.TROUBLE
        spans.append(Span(begin, begin + random.uniform(60, 4000), kind, random.choice(["NetworkLost", "TimedOut"])))
    spans.sort(key=lambda span: span.begin)
    half_hours: dict[int, Tally] = {}
    for span in spans:
        place = int(span.begin // HALF_HOUR)
        spent = min((span.end or NOW) - span.begin, HALF_HOUR)
        half_hours[place] = Tally(min(HALF_HOUR, half_hours.get(place, Tally()).lost + spent), 0.0, 1)
    days = {}
    for back in range(90):
        if random.random() < 0.25:
            days[day_of(NOW) - back] = Tally(random.choice([60, 600, 7200]), 0.0, random.randint(1, 4))
    if random.random() < 0.3:
        for back in range(30, 36):
            days[day_of(NOW) - back] = Tally(0.0, 86_400.0, 0)
    return Past(NOW - 90 * 86_400, tuple(spans), open_, half_hours, days)


def fleet(size: int = 24, seed: int = 1) -> FakeSource:
    """Return a fleet of which some need a person, some wait, some are paused, and most are healthy."""
    random, source = Random(seed), FakeSource()
    shared = Span(NOW - 5 * 3600, NOW - 4.2 * 3600, Kind.TROUBLE, "NetworkLost")
    for number in range(size):
        name = f"News {number + 1}"
        kind = number % 24
        open_: Span | None = None
        if kind == 0:
            status = at(
                State.AUTH_FAILED,
                NOW - 5400,
                cause=Cause(
                    event="AuthRejected", detail="Telegram says that the session was ended (SESSION_REVOKED, 401)"
                ),
                failures=1,
            )
            open_ = Span(NOW - 5400, None, Kind.PERSON, "AuthRejected")
        elif kind == 1:
            status = at(
                State.BACKOFF,
                NOW - 40,
                deadline=NOW + 83,
                wait=120.0,
                attempt=7,
                failures=7,
                cause=Cause(
                    event="NetworkLost", detail="the proxy 10.0.0.7:1080 refused the connection (ECONNREFUSED)"
                ),
            )
            open_ = Span(NOW - 1900, None, Kind.TROUBLE, "NetworkLost")
        elif kind == 2:
            status = at(
                State.TIMEOUT,
                NOW - 4,
                deadline=NOW + 11,
                silences=1,
                cause=Cause(event="TimedOut", detail="a probe was not answered within 10 s"),
            )
            open_ = Span(NOW - 4, None, Kind.TROUBLE, "TimedOut")
        elif kind == 3:
            status = at(
                State.RECONNECTING,
                NOW - 2,
                link=4,
                attempt=2,
                deadline=NOW + 18,
                failures=1,
                cause=Cause(event="NetworkLost", detail="connection reset by peer"),
            )
            open_ = Span(NOW - 70, None, Kind.TROUBLE, "NetworkLost")
        elif kind == 4:
            status = AccountStatus(Snapshot(state=State.SHUTTING_DOWN, since=NOW - 9000, paused=True, life=1))
        elif kind == 5:
            status = AccountStatus(Snapshot(state=State.HEALTHY, since=NOW - 90_000, last_success=NOW - 8000), False)
        elif kind == 6:
            status = at(
                State.HEALTHY,
                NOW - 8000,
                last_success=NOW - 3,
                holds=(Hold(request="messages.SendMessage", until=NOW + 540, length=600.0),),
            )
        else:
            status = at(State.HEALTHY, NOW - 60 * number - 500, last_success=NOW - 3, reconnects=number % 5)
        source.statuses[name] = status
        if open_ is not None:
            source.troubles[name] = open_.begin
        source.pasts[name] = past(random, open_=open_, shared=[shared] if number % 3 == 0 else [])
    names = tuple(source.statuses)
    source.open = [
        Incident(id=12, kind=IncidentKind.NEEDS_PERSON, cause="log_in", accounts=names[:1], severity=Severity.CRITICAL,
                 since=NOW - 5400, opened=NOW - 5400, detail="Telegram says that the session was ended"),
        Incident(id=13, kind=IncidentKind.OUTAGE, cause="the proxy socks5://10.0.0.7:1080", accounts=names[1:4],
                 fleet=True, severity=Severity.WARNING, since=NOW - 1900, opened=NOW - 1780, acked=NOW - 600),
    ]  # fmt: skip
    source.over = [
        Incident(id=9, kind=IncidentKind.OUTAGE, cause="the network", accounts=names[::3], fleet=True,
                 severity=Severity.CRITICAL, since=NOW - 5 * 3600, opened=NOW - 5 * 3600 + 120,
                 closed=NOW - 4.2 * 3600, detail="no datacenter answers"),
    ]  # fmt: skip
    source.counts = {"collect": {"queued": 12, "running": 1, "done": 1840, "failed": 1}, "send": {"done": 77}}
    source.running = [Job(id=31, kind="collect", account=names[7 % size], worker=names[7 % size], added=NOW - 100,
                          state=JobState.RUNNING, data={"chat": "@durov"}, done=1200, total=3000, since=NOW - 60,
                          seen=NOW - 1, since_done=0, began=NOW - 60)]  # fmt: skip
    source.failed = [Job(id=30, kind="send", worker=names[0], state=JobState.FAILED, data={"to": "@nobody"}, attempts=3,
                         detail="there is no such user", error=("UsernameNotOccupied: no such user (400)",),
                         added=NOW - 4000, ended=NOW - 3600)]  # fmt: skip
    source.queued = [
        Job(id=32 + n, kind="collect", data={"chat": f"@channel_{n}"}, added=NOW - 50 + n) for n in range(4)
    ]
    source.records = _story(names)
    source.moves = {
        (State.CONNECTING, "Connected", State.HEALTHY): 3, (State.HEALTHY, "TimedOut", State.TIMEOUT): 41,
        (State.TIMEOUT, "ProbeAnswered", State.HEALTHY): 37, (State.TIMEOUT, "NetworkLost", State.RECONNECTING): 4,
        (State.HEALTHY, "NetworkLost", State.RECONNECTING): 9, (State.RECONNECTING, "Connected", State.HEALTHY): 11,
        (State.RECONNECTING, "NetworkLost", State.BACKOFF): 24, (State.BACKOFF, "Elapsed", State.RECONNECTING): 23,
    }  # fmt: skip
    return source


def _story(names: Sequence[str]) -> list[Entry]:
    """Return how the second account lost its connection again and again, and the others now and then."""
    found: list[Entry] = []
    state = State.HEALTHY
    for number in range(60):
        name = names[1 % len(names)] if number % 4 else names[number % len(names)]
        target = {
            State.HEALTHY: State.RECONNECTING, State.RECONNECTING: State.BACKOFF, State.BACKOFF: State.RECONNECTING,
        }[state]  # fmt: skip
        found.append(record(
            number + 1, name, NOW - 1900 + 30 * number,
            (state, "Elapsed" if state is State.BACKOFF else "NetworkLost", target),
            detail="" if state is State.BACKOFF else "the proxy 10.0.0.7:1080 refused the connection",
            delay=30.0 if target is State.BACKOFF else None, cause=("ConnectionRefusedError: [Errno 111]",),
        ))  # fmt: skip
        state = target
    return found
