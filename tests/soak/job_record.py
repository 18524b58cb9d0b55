"""What a file says of jobs that are over, compared with what the datacenter remembers."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

from attrs import frozen
from telethon import utils
from telethon.tl.types import PeerChannel

from adapters.sandbox import Fault, FaultKind, Sandbox, TimedAction
from adapters.sqlite.connect import open_read_only
from adapters.sqlite.job_codec import job_from
from adapters.sqlite.job_schema import SELECT_JOB
from states.jobs import Job, JobState
from tests.engine.harness import EngineHarness
from tests.soak.storage import Lost, ask

PHONES = ("+9996620001", "+9996620002", "+9996620003")
TALK = "talk_of_all"
OWN_ERROR = "INTERNAL"
"""The only error that is injected into requests of jobs and is the jobs' own."""
FAILURE = re.compile(r"ob \d+ \(\w+\) of .*? failed (?:at attempt|after) .*")
SHOWN = 5
"""Differences that are told of each kind."""

Row = tuple[Any, ...]


@frozen(kw_only=True)
class Figures:
    """What came of a run."""

    sends: int
    collected: int
    took: float
    cut: int
    lives: int
    attempts: int
    refused: int
    again: int
    lost: int
    acted: dict[str, int]

    def lines(self) -> list[str]:
        """Return them as sentences."""
        acted = ", ".join(f"{kind} {count}" for kind, count in sorted(self.acted.items()))
        return [
            f"{self.sends} messages sent and {self.collected} collected in {self.took:.1f} s, in {self.lives} lives of "
            "the engine: missed 0, doubled 0",
            f"jobs that ran when their engine was killed: {self.cut}; whose connection was lost: {self.lost}",
            f"messages that were asked for again: {self.again}",
            f"failures of jobs: {self.attempts}, injected: {self.refused}",
            f"what hurt: {acted}",
        ]


def compare(
    harness: EngineHarness, dc: Sandbox, numbers: Iterable[int], steps: Sequence[TimedAction], *, began: float, cut: int
) -> Figures:
    """Compare the file with the datacenter's record. Raises ``Lost`` with what differs.

    ``began`` is when (Unix seconds), ``cut`` how many jobs ran when their engine was killed: both for the figures.
    """
    file = harness.directory / "data" / "engine.db"
    with closing(open_read_only(file)) as db:
        jobs = [job_from(row) for row in db.execute(f"{SELECT_JOB} ORDER BY id")]
    _same("numbers of jobs", [job.id for job in jobs], list(numbers))
    _none("jobs are not done", [job for job in jobs if job.state is not JobState.DONE])
    sends = [job for job in jobs if job.kind == "send"]
    _sends(sends, dc)
    rows = ask(file, "SELECT owner, chat, id, at, text, sender FROM messages ORDER BY owner, chat, id")
    expected = sorted(_histories([job for job in jobs if job.kind == "collect"], dc))
    _none("messages were missed", sorted(set(expected) - set(rows)))
    _same("messages that were collected", rows, expected)
    for job in jobs:
        if job.kind == "collect":
            _same(f"messages that job {job.id} says it has read", job.result["messages"], _count(rows, job))
    attempts, refused = sum(job.attempts for job in jobs), _refusals(steps)
    _none("failures that were not injected", [line for line in FAILURE.findall(harness.text) if OWN_ERROR not in line])
    if attempts > refused:
        raise Lost(f"{attempts} failures, of which {refused} were injected")
    stats = dc.stats()
    return Figures(
        sends=len(sends),
        collected=len(rows),
        took=max(job.ended or 0.0 for job in jobs) - began,
        cut=cut,
        lives=len({entry.life for entry in harness.entries()}),
        attempts=attempts,
        refused=refused,
        again=stats["requests"].get("messages.sendMessage", 0) - len(sends),
        lost=harness.text.count("goes on later"),
        acted=stats["acted"],
    )


def _sends(jobs: Sequence[Job], dc: Sandbox) -> None:
    """Each is at the datacenter once, as it was given, and its job knows it by its number."""
    heard: dict[tuple[str | None, int | None], list[tuple[int, int, str]]] = defaultdict(list)
    talk = utils.get_peer_id(PeerChannel(dc.channel_messages(TALK)[0].channel))
    texts: Counter[str] = Counter()
    owners = {int(phone.strip("+")): f"Account {number}" for number, phone in enumerate(PHONES, 1)}
    for message in dc.channel_messages(TALK):
        heard[owners[message.sender or 0], message.random_id].append((talk, message.id, message.text))
        texts[message.text] += 1
    for phone in PHONES:
        for mine in dc.messages(phone):
            if mine.out and mine.random_id is not None:
                heard[owners[mine.sender], mine.random_id].append((mine.peer, mine.id, mine.text))
                texts[mine.text] += 1
    wrong = []
    for job in jobs:
        result, mark = job.result, job.checkpoint or {}
        found = heard.pop((job.worker, mark.get("random_id")), [])
        if found != [(result["chat"], result["message"], job.data["text"])] or job.account != job.worker:
            wrong.append((job, found))
    _none("messages are not there exactly once, as their job says", wrong)
    _none("messages were sent that no job knows", list(heard.items()))
    _none("messages were sent twice", [text for text, times in texts.items() if times != 1])


def _histories(jobs: Sequence[Job], dc: Sandbox) -> Iterable[Row]:
    """Yield the rows that the table has to have, from the datacenter's record."""
    for job in jobs:
        chat = job.data["chat"].strip("@")
        if chat.startswith("user"):
            other = int(chat.removeprefix("user"))
            for mine in dc.messages(PHONES[0]):
                if mine.peer == other:
                    yield job.account or "", other, mine.id, float(mine.date), mine.text, mine.sender
            continue
        for message in dc.channel_messages(chat):
            where = utils.get_peer_id(PeerChannel(message.channel))
            sender = where if message.sender is None else message.sender
            yield "", where, message.id, float(message.date), message.text, sender


def _count(rows: Iterable[Row], job: Job) -> int:
    return sum(row[1] == job.result["chat"] for row in rows)


def _refusals(steps: Iterable[TimedAction]) -> int:
    return sum(
        isinstance(step.action, Fault)
        and step.action.kind is FaultKind.RPC_ERROR
        and step.action.text == OWN_ERROR
        and (step.action.request or "").startswith("messages.")
        for step in steps
    )


def _none(what: str, found: Sequence[object]) -> None:
    if found:
        raise Lost(f"{len(found)} {what}: {found[:SHOWN]}")


def _same(what: str, found: object, expected: object) -> None:
    if found == expected:
        return
    if isinstance(found, list) and isinstance(expected, list):
        pairs = [pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]]
        raise Lost(f"{what}: {len(found)} instead of {len(expected)}; first differences {pairs[:SHOWN]}")
    raise Lost(f"{what}: {found} instead of {expected}")
