"""``python -m tests.soak.alerts [SECONDS] [KILLS] [SEED] [ACCOUNTS]``: who is told what befalls a fleet that is killed.

Thirty accounts have three minutes of chaos, some of them lose their login, the mail server and the webhook refuse
messages for a while, and ``kill -9`` hits the engine at awkward moments. Then the incidents in the engine's file are
compared with the messages that a real SMTP server and a real webhook have taken: none is missing, and none came twice
but those that a kill has hit between their arrival and their mark.
"""

import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import anyio
import attrs
from attrs import field, frozen

from adapters.sandbox import Clear, Fault, FaultKind, Sandbox, TimedAction
from adapters.sandbox.control.chaos import chaos
from adapters.sandbox.faults.kinds import FAULT_RULES, FaultPoint
from adapters.sqlite.incident_reader import IncidentReader
from engine.config import load
from states.incident import Incident, IncidentKind
from tests.engine.harness import COMPLAINTS, FAST, EngineHarness
from tests.soak.inboxes import CLOSED, OPENED, SOME, Inbox, mail_inbox, web_inbox
from tests.soak.jobs import Stage
from tests.soak.storage import Lost, ask

LIVELY: Final = 0.8
"""Of the time, after which nothing hurts any more."""
DRAIN_SECONDS: Final = 1200.0
"""How long the last messages may take: a digest waits for its window of five minutes, and a busy machine longer."""
KILL_WITHIN: Final = 10.0
"""Seconds that a kill waits for its awkward moment, at the most."""
REFUSES: Final = (0.4, 0.6)
"""The part of the lively time in which the webhook refuses all messages; the mail server does after that."""
AFTER: Final = "2s"
_MERGED: Final = re.compile(r"Incident (\d+) goes on as incident")
KINDS: Final = "[needs_person, outage, flapping, storage, limited, job_failed]"


@frozen(kw_only=True)
class Plan:
    """What is to happen; the same for the same seed. Seconds are those in which an engine lives."""

    accounts: int = 30
    seconds: float = 180.0
    kills: int = 3
    seed: int = 1
    program: str = "engine"
    chance: random.Random = field(init=False, repr=False)

    victims: tuple[str, ...] = field(init=False)
    """The accounts that lose their login just before a kill, one for each."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "chance", random.Random(self.seed))
        object.__setattr__(self, "victims", tuple(self.chance.sample(self.phones, self.kills)))

    @property
    def phones(self) -> tuple[str, ...]:
        """The accounts' numbers."""
        return tuple(f"+99966{20001 + number}" for number in range(self.accounts))

    @property
    def lively(self) -> float:
        """After so many seconds nothing hurts any more."""
        return self.seconds * LIVELY

    def moments(self) -> list[float]:
        """Return about when the engine is killed: once in each part of the lively time, as many parts as kills."""
        part = self.lively / max(1, self.kills)
        return [(number + self.chance.uniform(0.3, 0.9)) * part for number in range(self.kills)]

    def steps(self) -> list[TimedAction]:
        """Return what hurts: the sandbox's own chaos, and logins that are lost, of a third of the accounts.

        All accounts share a port, so one that is shut for an account lets it in and closes.
        """
        steps = []
        for step in chaos(self.chance.randrange(2**32), self.phones, self.seconds):
            hurt = step.action
            if isinstance(hurt, Fault) and FAULT_RULES[hurt.kind].point is FaultPoint.LISTEN:
                hurt = attrs.evolve(hurt, kind=FaultKind.ACCEPT_THEN_CLOSE)
            steps.append(TimedAction(step.at, hurt))
        lost = self.chance.sample(sorted({*self.phones} - {*self.victims}), max(1, self.accounts // 3))
        for number, phone in enumerate(lost):
            at = self.lively * (number + self.chance.uniform(0.1, 0.9)) / len(lost)
            steps.append(TimedAction(at, Fault(FaultKind.REVOKE, phone, text="SESSION_REVOKED")))
        return [*sorted(steps, key=lambda step: step.at), TimedAction(self.lively, Clear())]


@frozen(kw_only=True)
class Figures:
    """What came of a run."""

    records: int
    incidents: Counter[str]
    merged: int
    """Incidents that went on in another one, which was told instead."""
    lives: int
    messages: dict[str, int]
    """What each channel has taken."""
    refused: dict[str, int]
    again: dict[str, int]
    """How many of these had been there before: a kill came between their arrival and their mark."""
    seconds: float

    def lines(self) -> list[str]:
        """Return them as a person reads them."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.incidents.items()))
        told = [
            f"{name}: {count} messages taken ({self.again[name]} again after a kill), {self.refused[name]} refused"
            for name, count in self.messages.items()
        ]
        return [
            f"{self.lives} lives, {self.records} records, {self.seconds:.0f} s",
            f"{sum(self.incidents.values())} incidents ({kinds}), {self.merged} of them told as part of another one",
            *told,
            "each incident was told at both, with its end; none is missing",
        ]


def config_of(mail: Inbox, hook: Inbox) -> str:
    """Return the rest of the config."""
    entries = "".join(f'  - {{to: "{each.address}", on: {KINDS}, after: {AFTER}}}\n' for each in (mail, hook))
    return f"{FAST}incidents: {{after: {AFTER}}}\nalerts:\n{entries}"


async def run(directory: Path, plan: Plan) -> Figures:
    """Do it, compare, and return the figures. Raises ``Lost`` with what is missing, or came too often."""
    harness, began = EngineHarness(directory, program=plan.program), time.monotonic()
    async with Sandbox() as dc, mail_inbox() as mail:
        with web_inbox() as hook:
            inboxes = {"mail": mail, "webhook": hook}
            harness.at(dc, *plan.phones, rest=config_of(mail, hook))
            stage = Stage(dc, deque(plan.steps()))
            moments = plan.moments()
            for life, moment in enumerate([*moments, plan.seconds], 1):
                async with harness.running() as engine:
                    await harness.until(lambda at, life=life: any(entry.life == life for entry in at.entries()[-99:]))
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(_refuse, plan, stage, inboxes)
                        await stage.play(moment)
                        tasks.cancel_scope.cancel()
                    if engine.returncode is not None:
                        raise Lost(f"the engine ended by itself with {engine.returncode}:\n{harness.text[-3000:]}")
                    if life <= plan.kills:
                        await _awkward_moment(dc, plan.victims[life - 1], life, inboxes)
                        engine.kill()
                        await engine.wait()
                        for inbox in inboxes.values():
                            inbox.answer()
                        continue
                    for inbox in inboxes.values():
                        inbox.refuses = False
                    await _end_all(harness)
                    if code := await harness.finish(engine, signal.SIGTERM):
                        raise Lost(f"the last run ended with {code}:\n{harness.text[-3000:]}")
            if complaint := COMPLAINTS.search(harness.text):
                raise Lost(f"a log says {complaint.group()!r}:\n{harness.text[-6000:]}")
            return compare(harness, inboxes, plan, time.monotonic() - began)


async def _refuse(plan: Plan, stage: Stage, inboxes: dict[str, Inbox]) -> None:
    """Have the webhook refuse messages for a part of the time, and the mail server for the next."""
    begin, end = (part * plan.lively for part in REFUSES)
    while True:
        inboxes["webhook"].refuses = begin <= stage.at < end
        inboxes["mail"].refuses = end <= stage.at < 2 * end - begin
        await anyio.sleep(0.05)


async def _awkward_moment(dc: Sandbox, phone: str, life: int, inboxes: dict[str, Inbox]) -> None:
    """Let an account lose its login, and wait until a message has arrived somewhere and has no answer yet.

    That is at the mail server, at the webhook, at one of the two, and so on.
    """
    wanted = [inbox for number, inbox in enumerate(inboxes.values()) if life % 3 in (0, number + 1)]
    for inbox in wanted:
        inbox.refuses = False
        inbox.hold()
    await dc.inject(Fault(FaultKind.REVOKE, phone, text="SESSION_REVOKED"))
    with anyio.move_on_after(KILL_WITHIN):
        while not any(inbox.held for inbox in wanted):
            await anyio.sleep(0.005)


async def _end_all(harness: EngineHarness) -> None:
    """Pause all accounts, which ends their incidents, and wait until all messages are sent. Raises ``Lost``."""
    code, said = await harness.command("pause", "*")
    if code:
        raise Lost(f"the accounts cannot be paused: {said}")
    left, until = "SELECT incident, channel, message, due, tries FROM alerts WHERE over = 0 AND {}", DRAIN_SECONDS
    unsent = "message IS NOT NULL AND message != 'repeated'"
    file = harness.directory / "data" / "engine.db"
    with anyio.move_on_after(until):
        while ask(file, left.format(unsent)) or ask(
            file, "SELECT id FROM incidents WHERE closed IS NULL AND kind NOT IN ('channel', 'job_failed')"
        ):
            await anyio.sleep(0.2)
        return
    raise Lost(f"messages do not get through: {ask(file, left.format(unsent))[:20]}\n{harness.text[-6000:]}")


# --- the comparison ---------------------------------------------------------------------------------------------------


def compare(harness: EngineHarness, inboxes: dict[str, Inbox], plan: Plan, seconds: float) -> Figures:
    """Compare the incidents in the file with the messages. Raises ``Lost``."""
    file = harness.directory / "data" / "engine.db"
    with IncidentReader.open(file) as reader:
        incidents = reader.incidents()
    channels = [alert.channels[0] for alert in load(harness.config).alerts]
    merged = {int(number) for number in _MERGED.findall(harness.text)}
    for (name, inbox), channel in zip(inboxes.items(), channels, strict=True):
        wrong = list(differences(incidents, inbox, channel, merged))
        if len(again := inbox.again()) > plan.kills:
            wrong.append(f"{len(again)} messages came again after {plan.kills} kills: {again}")
        if wrong:
            raise Lost(f"{name}: {'; '.join(wrong[:20])}\n{inbox.told}\n{harness.text[-3000:]}")
    return Figures(
        records=len(harness.entries()),
        incidents=Counter(each.kind.value for each in incidents),
        merged=len(merged),
        lives=plan.kills + 1,
        messages={name: len(inbox.taken) for name, inbox in inboxes.items()},
        refused={name: inbox.refused for name, inbox in inboxes.items()},
        again={name: len(inbox.again()) for name, inbox in inboxes.items()},
        seconds=seconds,
    )


def differences(incidents: Sequence[Incident], inbox: Inbox, channel: str, merged: Collection[int]) -> Iterator[str]:
    """Yield what a channel was not told, or should not have been; how often it was told the same is counted apart.

    An incident that ended before its first message got through is told in one message, with its end.
    """
    told = inbox.told
    for each in incidents:
        opened, closed, some = (told.pop((each.id, what), 0) for what in (OPENED, CLOSED, SOME))
        what = f"incident {each.id} ({each.kind})"
        if each.kind is IncidentKind.CHANNEL and each.cause == channel:
            if opened or closed or some:
                yield f"{what} is its own, and was told"
        elif each.id in merged:
            if closed:
                yield f"{what} went on in another one, and its end was told"
        elif not opened and not closed and not some:
            yield f"{what} was told to nobody"
        elif each.closed is None and closed:
            yield f"{what} is open, and its end was told"
        elif each.closed is not None and not closed and not some and each.kind is not IncidentKind.CHANNEL:
            yield f"the end of {what} was told to nobody"
    for number, what in told:  # repetitions are six hours away
        yield f"{what} of an incident {number} that is not in the file"


def main(seconds: float = 180.0, kills: int = 3, seed: int | None = None, accounts: int = 30) -> None:
    """Do it, and say what came of it; ends with an exception if anything is missing, or came too often."""
    seed = time.time_ns() % 2**32 if seed is None else seed
    print(f"{accounts} accounts, {seconds:g} s of chaos, {kills} kills, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        plan = Plan(seconds=seconds, kills=kills, seed=seed, accounts=accounts)
        figures = anyio.run(run, Path(directory), plan)
    print("\n".join(figures.lines()))


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:]))
