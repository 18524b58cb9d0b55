"""Updates that no longer flow: how soon they are missed, and there again, beside a bare Telethon client in one run.

    uv run python -m tests.bench.stalls [--bound S] [--rounds N] [--quick]

Each program has an account of its own at a datacenter in another process, all of them at the same time. The engine's
accounts run with the default policy; the bare client has every setting its default, and is observed for ``--bound``
seconds: Telethon looks for missing updates by itself after 15 minutes of silence. Each stall begins soon after a proof
(they are 60 s apart), which is the worst moment for the engine. The run takes a little longer than the bound.

Then the steady cost: what comparing the numbers of 100 channels adds to the proof of one account, once a minute.
"""

import argparse
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any, Final

import anyio
from attrs import frozen

from adapters.sandbox import FaultKind, SandboxProcess
from adapters.telegram import Datacenter, TelegramConnector, TelegramLink, update_proof
from engine.console import logs
from states import Policy
from states.events import Connected
from states.schedules import Health
from tests.bench.harness import RecoveryHarness, Subject
from tests.bench.programs import API, Bare, Holdfast
from tests.bench.recovery import STABLE_AFTER, prepared
from tests.bench.table import Table, Target, add_option, hand_over, number

NOTICED_WITHIN: Final = 90.0
"""Seconds within which every stall must be noticed by default."""
LOOK_EVERY: Final = 0.02
POST_EVERY: Final = 1.0
CHANNELS: Final = 100
LOST_NUMBER: Final = 2
"""The number of the first message in a channel."""
QUICK_POLICY: Final = Policy(
    healthy=Health(stable_after=STABLE_AFTER, probe_every=0.5, prove_every=1.0, catch_up_within=1.0)
)


@frozen
class Place:
    """The channel of one program's account."""

    username: str
    sandbox: SandboxProcess

    async def post(self, text: str) -> None:
        """Post something there."""
        await self.sandbox.post(self.username, text)


@frozen
class Stall:
    """One way in which updates stop to flow."""

    key: str
    name: str
    begin: Callable[[Subject, Place], Awaitable[None]]
    """Lets it begin, with one message that is called ``lost``."""
    goes_on: bool = False
    """Whether messages go on to be posted, and hearing one of those is what counts."""
    by_number: bool = False
    """Whether the message cannot be had, and reaching the channel's number is what counts."""
    stranger: bool = False
    """Whether the client has no number of the channel when it begins."""


async def _private(subject: Subject, _: Place) -> None:
    await subject.hurt(FaultKind.LOST_UPDATE)
    await subject.push("lost")


async def _one_channel(subject: Subject, place: Place) -> None:
    await subject.hurt(FaultKind.LOST_UPDATE, channel=place.username)
    await place.post("lost")


async def _difference(subject: Subject, place: Place) -> None:
    await subject.hurt(FaultKind.LOST_DIFFERENCE, times=1)
    await _private(subject, place)


async def _channel_difference(subject: Subject, place: Place) -> None:
    await subject.hurt(FaultKind.LOST_DIFFERENCE, times=1, request="updates.getChannelDifference")
    await _one_channel(subject, place)


async def _outdated(subject: Subject, place: Place) -> None:
    await subject.hurt(
        FaultKind.RPC_ERROR,
        times=1,
        request="updates.getChannelDifference",
        code=500,
        text="PERSISTENT_TIMESTAMP_OUTDATED",
    )
    await _one_channel(subject, place)


async def _wrong_pts(subject: Subject, place: Place) -> None:
    await subject.hurt(FaultKind.WRONG_PTS, times=1, channel=place.username)
    await place.post("with a wrong number")


async def _too_long(subject: Subject, place: Place) -> None:
    await subject.hurt(FaultKind.TOO_LONG, times=1, request="updates.getChannelDifference")
    await subject.hurt(FaultKind.LOST_UPDATE, times=1, channel=place.username)
    await place.post("lost")


async def _unknown(subject: Subject, _: Place) -> None:
    await subject.hurt(FaultKind.UNKNOWN_UPDATE, times=1)
    await subject.push("lost")


STALLS: Final = (
    Stall("private", "updates are not pushed", _private),
    Stall("channel", "those of one channel are not", _one_channel),
    Stall("difference", "and the difference is empty once", _difference),
    Stall("channel-difference", "and the channel's is empty once", _channel_difference),
    Stall("outdated", "and PERSISTENT_TIMESTAMP_OUTDATED once", _outdated),
    Stall("too-long", "and the channel's is too long to list", _too_long, by_number=True),
    Stall("wrong-pts", "a channel's number is 1000 too high", _wrong_pts, goes_on=True, stranger=True),
    Stall("unknown", "an unknown constructor", _unknown),
)


@frozen
class Found:
    """What became of one program: seconds from the stall on, infinite if not within the bound."""

    noticed: float
    healed: float


async def suffer(subject: Subject, place: Place, stall: Stall, bound: float) -> Found:
    """Let one stall happen to a program, and wait until updates flow again."""
    program: Any = subject.program
    channel = await place.sandbox.create_channel(place.username, place.username, members=[subject.phone])
    if not stall.stranger:
        await program.client.get_dialogs()
    await anyio.sleep(1.0)  # what the client asks for at its beginning is over
    await stall.begin(subject, place)
    began = time.perf_counter()
    expected = "later" if stall.goes_on else "lost"
    healed = inf
    with anyio.move_on_after(bound):
        async with anyio.create_task_group() as tasks:
            if stall.goes_on:
                tasks.start_soon(_go_on, place)
            while (at := _healed_at(program, stall, expected, channel)) is None:
                await anyio.sleep(LOOK_EVERY)
            healed = at - began
            tasks.cancel_scope.cancel()
    missed = getattr(program, "missed", None)
    return Found(inf if missed is None else missed - began, healed)


def _healed_at(program: Any, stall: Stall, expected: str, channel: int) -> float | None:
    """Return when updates flowed again; None if they do not."""
    if stall.by_number:
        box = program.client._message_box.map if program.client is not None else {}
        return time.perf_counter() if channel in box and box[channel].pts >= LOST_NUMBER else None
    return next((at for at, text in program.heard if text == expected), None)


async def _go_on(place: Place) -> None:
    while True:
        await anyio.sleep(POST_EVERY)
        await place.post("later")


async def compare(harness: RecoveryHarness, bound: float) -> Mapping[tuple[str, str], Found]:
    """Let every stall happen to both programs, all at the same time."""
    found: dict[tuple[str, str], Found] = {}

    async def one(stall: Stall, kind: type[Holdfast] | type[Bare]) -> None:
        username = f"{kind.__name__}_{stall.key}".replace("-", "_")
        async with harness.subject(kind) as subject:
            found[stall.key, kind.__name__] = await suffer(subject, Place(username, harness.sandbox), stall, bound)
        print(f"{stall.key}, {kind.__name__}: done", file=sys.stderr)

    async with anyio.create_task_group() as tasks:
        for stall in STALLS:
            for kind in (Holdfast, Bare):
                tasks.start_soon(one, stall, kind)
    return found


@frozen
class Cost:
    """What one proof takes of this process, without and with the numbers of 100 channels."""

    proof: float
    """Seconds of CPU."""
    compared: float
    sent: int
    """Bytes of the request for the channels, and of its answer."""
    received: int


async def steady_cost(harness: RecoveryHarness, rounds: int) -> Cost:
    """Prove one link again and again, in turns without and with its channels."""
    phone = "+9996629999"
    session = await harness._session(phone, harness.sandbox.port)
    sandbox = harness.sandbox
    datacenter = Datacenter(sandbox.dc_id, "127.0.0.1", sandbox.port, sandbox.public_key)
    for each in range(CHANNELS):
        await harness.sandbox.create_channel(f"steady_{each}", f"steady {each}", members=[phone])
        await harness.sandbox.post(f"steady_{each}", "The newest message, which the answer has, too.")
    connector = TelegramConnector(session, *API, datacenter)
    link = connector.link(1)
    assert isinstance((await link.open(timeout=60))[-1], Connected)
    try:
        await link.client.get_dialogs()
        sizes: dict[str, int] = {}
        await link.probe(proof=True, timeout=60)
        _measure_sizes(link, sizes)
        spent = {False: 0.0, True: 0.0}
        for turn in range(2 * rounds):
            channels = bool(turn % 2)
            connector.proofs.asked_at = -inf if channels else inf
            began = time.process_time()
            await link.probe(proof=True, timeout=60)
            while link._proof is not None and link._proof._give_up is not None:
                await anyio.sleep(0.002)
            spent[channels] += time.process_time() - began
    finally:
        await link.close(timeout=5)
        await connector.settle()
    return Cost(spent[False] / rounds, spent[True] / rounds, sizes["sent"], sizes["received"])


def _measure_sizes(link: TelegramLink, sizes: dict[str, int]) -> None:
    assert link._proof is not None
    send = link._proof.send

    def measured(request: Any) -> Any:
        answer = send(request)
        if type(request).__name__ == "GetPeerDialogsRequest":
            sizes["sent"] = len(bytes(request))
            answer.add_done_callback(lambda done: sizes.__setitem__("received", len(bytes(done.result()))))
        return answer

    link._proof.send = measured


async def measure(options: argparse.Namespace) -> tuple[Mapping[tuple[str, str], Found], Cost]:
    """Run both parts."""
    policy = QUICK_POLICY if options.quick else Policy(healthy=Health(stable_after=STABLE_AFTER))
    if options.quick:
        for name in ("GRACE", "CHANNELS_EVERY", "STRANGERS_EVERY"):
            setattr(update_proof, name, 0.5)
    async with prepared(policy) as harness:
        with logs.opened(harness.directory / "logs", recent=logs.RecentLines()):
            logging.disable(logging.CRITICAL)  # the bare clients' complaints
            found = await compare(harness, options.bound)
            return found, await steady_cost(harness, options.rounds)


def tables(found: Mapping[tuple[str, str], Found], cost: Cost, bound: float) -> list[Table]:
    """Return what was measured."""

    def told(seconds: float) -> str:
        return f"not within {bound:g} s" if seconds == inf else f"{seconds:.1f} s"

    rows = []
    for stall in STALLS:
        ours, bare = found[stall.key, "Holdfast"], found[stall.key, "Bare"]
        noticed = "by itself" if ours.noticed == inf and ours.healed < inf else told(ours.noticed)
        worse = f"{'> ' if bare.healed == inf else ''}{number(min(bare.healed, bound) / ours.healed)}×"
        rows.append([stall.name, noticed, told(ours.healed), told(bare.healed), worse])
    head = ["", "noticed", "there again", "bare Telethon: there again", "bare / Holdfast"]
    more = (cost.compared - cost.proof) * 1000
    costs = [
        ["CPU of a proof alone", f"{cost.proof * 1000:.2f} ms"],
        ["CPU of a proof with the comparison", f"{cost.compared * 1000:.2f} ms"],
        ["more", f"{more:.2f} ms, {more / 60_000:.4%} of one core"],
        ["request, answer", f"{cost.sent:,} B, {cost.received:,} B"],
    ]
    return [
        Table("Updates that no longer flow", head, rows, targets(found, cost)),
        Table(f"What comparing the numbers of {CHANNELS} channels costs an account each minute", ["", ""], costs),
    ]


def targets(found: Mapping[tuple[str, str], Found], cost: Cost) -> list[Target]:
    """Return what is to be kept."""
    slowest = max(min(each.noticed, each.healed) for (_, kind), each in found.items() if kind == "Holdfast")
    healed = max(each.healed for (_, kind), each in found.items() if kind == "Holdfast")
    return [
        Target("the stall that is noticed last", slowest, most=NOTICED_WITHIN, unit="s"),
        Target("the stall that is healed last", healed, unit="s"),
        Target(f"a proof that compares {CHANNELS} channels", cost.compared / cost.proof, against="one that does not"),
    ]


def main() -> int:
    """Exit code 0 if every stall was noticed in time, 1 if one was not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bound", type=float, default=150.0, help="seconds for which a program is observed")
    parser.add_argument("--rounds", type=int, default=200, help="proofs of the steady cost")
    parser.add_argument("--quick", action="store_true", help="a scaled-down policy, a few seconds")
    add_option(parser)
    options = parser.parse_args()
    if options.quick:
        options.bound, options.rounds = min(options.bound, 15.0), min(options.rounds, 10)
    found, cost = anyio.run(measure, options)
    kept = targets(found, cost)
    hand_over(options.results, kept)
    for table in tables(found, cost, options.bound):
        print("\n".join(table.lines()))
    return 0 if all(each.kept for each in kept) else 1


if __name__ == "__main__":
    sys.exit(main())
