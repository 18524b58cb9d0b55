"""The matrix of faults: each way in which a connection fails, through a real Telethon client and the real machine.

A row says what the sandbox does, and what must come of it: the failures that are told, in order, and the states that
the account goes through. The facts about Telethon that these rows rest on are in the comments of ``adapters/telegram``.
"""

import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import anyio
import pytest
from attrs import field, frozen

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.telegram import TelegramConnector
from engine.fleet.runner import Runner
from states import EVENT_BY_NAME, Policy, State
from states.events import Failure, StopRequested
from states.schedules import Backoff, BackoffSchedules, FileBackoff, Health, Patience, ServerGiven, Suspicion
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.engine.fakes import MemoryJournal, UnlimitedTurns
from tests.timeouts import TIMEOUT

STATE = "updates.getState"
LONG, SHORT = TIMEOUT, 0.3
"""Patience in seconds where nothing must be taken for silence, and where silence is the matter."""
LOST = ("reconnecting", "healthy")
HARD = ("reconnecting", "…", "healthy")
FAILED = ("backoff", "reconnecting", "healthy")
HARD_AT_FIRST = ("backoff", "reconnecting", "…", "healthy")


def policy(timeout: float) -> Policy:
    """Return schedules that are short, and without chance."""
    quick = Backoff(first=0.1, cap=0.2, jitter=0)
    return Policy(
        connecting=Patience(patience=(max(1.0, timeout),)),
        reconnecting=Patience(patience=(max(1.0, timeout),)),
        healthy=Health(probe_every=0.1, prove_every=0.2, stable_after=0.3),
        timeout=Suspicion(patience=(timeout, timeout)),
        backoff=BackoffSchedules(
            network=quick, server=quick, auth_key=quick, unexpected=quick,
            database=FileBackoff(first=0.1, cap=0.2, jitter=0),
            transport_flood=Backoff(first=0.3, cap=0.6, jitter=0), flood=ServerGiven(slack=0.0),
        ),
    )  # fmt: skip


def fault(kind: str, **options: Any) -> Fault:
    """Return a fault of the account."""
    return Fault(FaultKind(kind), PHONE, **options)


def error(code: int, text: str, *, request: str = STATE, **options: Any) -> Fault:
    """Return an RPC error on requests of the account."""
    return fault("rpc_error", code=code, text=text, request=request, **options)


@frozen
class Row:
    """What is done to an account that is stable (or, with ``connecting``, before it begins), and what comes of it."""

    name: str
    faults: Sequence[Fault]
    told: Sequence[str]
    """Failures, in order; a trailing ``…`` means that the last one may come again."""
    path: Sequence[str]
    """States that are entered from then on."""
    connecting: bool = False
    timeout: float = LONG
    action: str | None = None
    detail: str = ""
    """What the first failure's sentence says."""
    limited: bool = False
    holds: Sequence[str] = field(factory=tuple)
    request: bool = False
    """Whether a request of a program is what meets the fault."""
    cleared_after: int = 0
    """How many failures must have been told before the faults are over; 0: they end by themselves."""


CONNECTED = (
    Row("RST", [fault("reset")], ["NetworkLost"], LOST, detail="connection reset"),
    Row("FIN", [fault("close")], ["NetworkLost"], LOST, detail="closed the connection"),
    Row("a short blackhole", [fault("blackhole", times=1)], ["TimedOut"], ["timeout", "healthy"], timeout=2.0),
    Row("a long blackhole", [fault("blackhole")], ["TimedOut", "TimedOut", "TimedOut…"],
        ["timeout", "reconnecting", "…", "healthy"], timeout=SHORT, cleared_after=2),
    Row("garbage on the wire", [fault("garbage")], ["ProtocolBroken"], LOST),
    Row("−404 once", [fault("transport_error", code=-404, times=1)], ["AuthKeyUnknown"], FAILED),
    Row("−404 seven times", [fault("transport_error", code=-404)], ["AuthKeyUnknown", "AuthKeyUnknown…"],
        ["backoff", "reconnecting", "backoff", "…", "healthy"], cleared_after=7),
    Row("the key is forgotten for a while", [fault("forget_key")], ["AuthKeyUnknown", "AuthKeyUnknown…"],
        ["backoff", "reconnecting", "backoff", "…", "healthy"], cleared_after=7),
    Row("a login without its password", [error(401, "SESSION_PASSWORD_NEEDED")], ["AuthRejected"], ["auth_failed"],
        action="log_in"),
    Row("−429", [fault("transport_error", code=-429, times=1)], ["TransportFlood"], FAILED, detail="−429"),
    Row("−444 seven times", [fault("transport_error", code=-444)], ["ProtocolBroken", "ProtocolBroken…"],
        ["reconnecting", "backoff", "…", "healthy"], detail="see telegram.datacenter", cleared_after=7),
    Row("a bad salt", [fault("bad_salt")], [], []),
    Row("bad salts for ever", [fault("bad_salt", times=25)], ["ProtocolBroken", "ProtocolBroken…"], HARD,
        detail="salt"),
    *(Row(f"bad_msg {code}, corrected", [fault("bad_msg", code=code, request="*")], [], [])
      for code in (16, 17, 32, 33)),
    *(Row(f"bad_msg {code}", [fault("bad_msg", code=code, request="*")], ["ProtocolBroken"], LOST)
      for code in (18, 19, 20, 34, 35, 48, 64)),
    Row("bad_msg 16 for ever", [fault("bad_msg", code=16, request="*", times=25)],
        ["ProtocolBroken", "ProtocolBroken…"], HARD, detail="again and again"),
    *(Row(f"hostile: {text}", [fault("hostile", text=text, request=STATE)], ["ProtocolBroken"], LOST, detail=detail)
      for text, detail in (("gzip_bomb", "more than 4,194,304 bytes"), ("container", "100,000 messages"),
                           ("nesting", "64 others"), ("entities", "more than 4,194,304 bytes"), ("frame", "frame"))),
    Row("a wrong msg_key", [fault("wrong_msg_key", times=1)], ["ProtocolBroken"], LOST, detail="encryption"),
    Row("a clock 400 s behind", [fault("clock_offset", seconds=-400.0, times=1)], ["ProtocolBroken"], LOST,
        detail="s behind this machine's"),
    Row("a clock 120 s ahead", [fault("clock_offset", seconds=120.0, times=1)], ["ProtocolBroken"], LOST,
        detail="s ahead of this machine's"),
    *(Row(f"{code}", [error(code, text)], ["ServerFault"], ["timeout", "healthy"])
      for code, text in ((500, "INTERNAL"), (-500, "No workers running"), (-503, "Timeout"))),
    Row("FLOOD_WAIT", [error(420, "FLOOD_WAIT_30")], ["FloodWait"], [], holds=["GetState"]),
    *(Row(text, [error(401, text)], ["AuthRejected"], ["auth_failed"], action="log_in")
      for text in ("AUTH_KEY_UNREGISTERED", "AUTH_KEY_INVALID", "SESSION_REVOKED", "SESSION_EXPIRED", "SOMETHING_NEW")),
    Row("the login is revoked", [fault("revoke")], ["AuthRejected"], ["auth_failed"], action="log_in"),
    *(Row(text, [error(401, text)], ["AccountBanned"], ["auth_failed"], action="appeal")
      for text in ("USER_DEACTIVATED_BAN", "USER_DEACTIVATED")),
    Row("AUTH_KEY_DUPLICATED", [fault("duplicate")], ["SessionDuplicated"], ["auth_failed"], action="stop_other_copy"),
    Row("another 406", [error(406, "UPDATE_APP_TO_LOGIN")], ["Unexpected"], LOST, detail="406"),
    Row("USER_MIGRATE", [error(303, "USER_MIGRATE_4")], ["AuthRejected"], ["auth_failed"], action="log_in",
        detail="(303)"),
    Row("an unknown error", [error(400, "SOMETHING_ODD")], ["Unexpected"], LOST, detail="SOMETHING_ODD"),
    Row("API_ID_INVALID", [error(400, "API_ID_INVALID")], ["ConfigRefused"], ["auth_failed"], action="mend_config"),
    Row("401 in the update loop", [error(401, "SESSION_REVOKED", request="updates.getDifference")], ["AuthRejected"],
        ["auth_failed"], action="log_in", request=True),
    Row("406 in the update loop", [error(406, "AUTH_KEY_DUPLICATED", request="updates.getDifference")],
        ["SessionDuplicated"], ["auth_failed"], action="stop_other_copy", request=True),
    Row("500 in the update loop", [error(500, "INTERNAL", request="updates.getDifference")], [], [], request=True),
    Row("RST before it was processed", [fault("reset_before", request=STATE)], ["NetworkLost"], LOST),
    Row("RST after it was processed", [fault("reset_after", request=STATE)], ["NetworkLost"], LOST),
    Row("PEER_FLOOD on a program's request", [error(400, "PEER_FLOOD", request="messages.getDialogs")],
        ["AccountLimited"], [], request=True, action="appeal", holds=["strangers"]),
    Row("FLOOD on a program's request", [error(420, "FLOOD", request="messages.getDialogs")],
        ["AccountLimited"], [], request=True, limited=True, action="appeal"),
    Row("FROZEN_METHOD_INVALID on a program's request",
        [error(420, "FROZEN_METHOD_INVALID", request="messages.getDialogs")],
        ["AccountLimited"], [], request=True, action="appeal", holds=["writes"]),
    Row("FLOOD_WAIT on a program's request", [error(420, "FLOOD_WAIT_60", request="messages.getDialogs")],
        ["FloodWait"], [], request=True, holds=["GetDialogs"]),
    Row("500 on a program's request", [error(500, "RPC_CALL_FAIL", request="messages.getDialogs")], [], [],
        request=True),
)  # fmt: skip

CONNECTING = (
    Row("refused", [fault("refuse")], ["NetworkLost", "NetworkLost…"], ["backoff", "…", "healthy"],
        connecting=True, detail="connection refused", cleared_after=2),
    Row("SYN dropped", [fault("syn_drop")], ["TimedOut", "TimedOut…"], HARD_AT_FIRST, connecting=True, timeout=SHORT,
        detail="no proof within 1 s", cleared_after=1),
    Row("accept, then close", [fault("accept_then_close")], ["NetworkLost", "NetworkLost…"],
        ["backoff", "…", "healthy"], connecting=True, cleared_after=2),
    Row("a server that accepts and is silent", [fault("blackhole")], ["TimedOut", "TimedOut…"], HARD_AT_FIRST,
        connecting=True, timeout=SHORT, detail="no proof within 1 s", cleared_after=1),
    Row("RST at the first request", [fault("reset_before", request=STATE)], ["NetworkLost"], FAILED,
        connecting=True),
    Row("RST at every packet", [fault("reset", times=2)], ["NetworkLost", "NetworkLost"],
        ["backoff", "reconnecting", "backoff", "reconnecting", "healthy"], connecting=True),
    Row("−404 at connect", [fault("transport_error", code=-404, times=1)], ["AuthKeyUnknown"], FAILED, connecting=True),
    Row("−404 seven times at connect", [fault("transport_error", code=-404)], ["AuthKeyUnknown", "AuthKeyUnknown…"],
        ["backoff", "reconnecting", "backoff", "…", "healthy"], connecting=True, cleared_after=7),
    Row("−429 at connect", [fault("transport_error", code=-429, times=1)], ["TransportFlood"], FAILED, connecting=True),
    Row("−444 at connect", [fault("transport_error", code=-444)], ["ProtocolBroken", "ProtocolBroken…"],
        ["backoff", "…", "healthy"], connecting=True, detail="see telegram.datacenter", cleared_after=3),
    Row("garbage at connect", [fault("garbage", times=1)], ["ProtocolBroken"], FAILED, connecting=True),
    Row("bad salts for ever at connect", [fault("bad_salt", times=25)], ["ProtocolBroken", "ProtocolBroken…"],
        ["backoff", "…", "healthy"], connecting=True),
    Row("a wrong msg_key at connect", [fault("wrong_msg_key", times=2)], ["ProtocolBroken", "ProtocolBroken…"],
        ["backoff", "…", "healthy"], connecting=True),
    Row("401 though connect() returns", [fault("revoke")], ["AuthRejected"], ["auth_failed"], connecting=True,
        action="log_in"),
    Row("406 at connect", [fault("duplicate")], ["SessionDuplicated"], ["auth_failed"], connecting=True,
        action="stop_other_copy"),
    Row("a ban at connect", [error(401, "USER_DEACTIVATED_BAN", request="*.*", times=9)], ["AccountBanned"],
        ["auth_failed"], connecting=True, action="appeal"),
    Row("API_ID_INVALID at connect", [error(400, "API_ID_INVALID", request=STATE)], ["ConfigRefused"],
        ["auth_failed"], connecting=True, action="mend_config"),
    Row("USER_MIGRATE at connect", [error(303, "USER_MIGRATE_4", request="*.*", times=9)], ["AuthRejected"],
        ["auth_failed"], connecting=True, action="log_in"),
    Row("500 at connect", [error(500, "INTERNAL", request=STATE)], ["ServerFault"], FAILED, connecting=True),
    Row("FLOOD_WAIT at connect", [error(420, "FLOOD_WAIT_2", request="*.*")], ["FloodWait"], FAILED,
        connecting=True),
    Row("FLOOD_WAIT of the proof at connect", [error(420, "FLOOD_WAIT_30")], ["FloodWait"], ["backoff"],
        connecting=True),
    Row("an unknown error at connect", [error(400, "SOMETHING_ODD", request=STATE)], ["Unexpected"], FAILED,
        connecting=True),
)  # fmt: skip


@asynccontextmanager
async def account(harness: DatacenterHarness, dc: Sandbox, row: Row) -> AsyncIterator[tuple[Runner, MemoryJournal]]:
    """Let an account live, with a port of its own, for the length of the block."""
    journal = MemoryJournal()
    connector: TelegramConnector = harness.connector(port=await dc.listen(PHONE))
    runner = Runner(
        account="A",
        connector=connector,
        limiter=UnlimitedTurns(),
        journal=journal,
        clock=Clock(),
        policy=policy(row.timeout),
        observer=lambda *_: None,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.live)
        yield runner, journal
        await runner.post(StopRequested())


class Clock:
    """The time of day."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        return time.time()


def seen(journal: MemoryJournal, since: int) -> tuple[list[str], list[str], list[str]]:
    """Return the failures that were told since, their sentences, and the states that were entered."""
    records = [record for _, record in journal.records[since:]]
    failures = [record for record in records if issubclass(EVENT_BY_NAME[record.event], Failure)]
    moves = [record.target.value for record in records if record.target is not record.source]
    return [record.event for record in failures], [record.detail for record in failures], moves


def fits(found: Sequence[str], wanted: Sequence[str]) -> bool:
    """Say whether a list is what a row wants: ``…`` stands for any number, ``X…`` for any number of X."""
    if not wanted:
        return not found
    first, rest = wanted[0], wanted[1:]
    if first.endswith("…"):
        name = first[:-1]
        if fits(found, rest):
            return True
        return bool(found) and name in ("", found[0]) and fits(found[1:], wanted)
    return bool(found) and found[0] == first and fits(found[1:], rest)


async def until_settled(runner: Runner, dc: Sandbox, journal: MemoryJournal, since: int, row: Row) -> None:
    """Wait until all that the row wants has come to pass; what it does not want is found afterwards."""
    with anyio.move_on_after(TIMEOUT):
        cleared = False
        while True:
            told, _, path = seen(journal, since)
            if row.cleared_after and len(told) >= row.cleared_after and not cleared:
                await dc.clear()
                cleared = True
            held = {hold.request for hold in runner.snapshot.holds} >= set(row.holds)
            if fits(told, row.told) and fits(path, row.path) and held:
                return
            await anyio.sleep(0.005)


async def hurt(runner: Runner, dc: Sandbox, row: Row) -> None:
    """Do to a stable account what the row says."""
    with anyio.fail_after(TIMEOUT):
        while not (runner.snapshot.stable and runner.snapshot.state is State.HEALTHY):
            await anyio.sleep(0.005)
    for each in row.faults:
        await dc.inject(each)
    if row.request and runner.link is not None:
        if "getDifference" in (row.faults[0].request or ""):
            await runner.link.client.catch_up()
        else:
            with pytest.raises(Exception):  # noqa: B017, PT011  # whatever Telethon makes of it
                await runner.link.client.get_dialogs()


def check(row: Row, runner: Runner, journal: MemoryJournal, since: int) -> None:
    """Compare what came to pass with what the row says."""
    told, details, path = seen(journal, since)
    assert fits(told, row.told), told
    assert fits(path, row.path), path
    assert not row.detail or row.detail in details[0], details
    at = runner.snapshot
    assert (at.action.value if at.action else None) == row.action
    assert [hold.request for hold in at.holds] == list(row.holds)
    assert (at.limited is not None) == row.limited
    assert not details or all(details)


@pytest.mark.parametrize("row", CONNECTED, ids=lambda row: row.name)
async def test_a_connected_account(tmp_path: Any, row: Row) -> None:
    """A fault of a link that held becomes its event, the account goes its way, and is where it should be in time."""
    harness = DatacenterHarness(tmp_path)
    async with harness as dc, account(harness, dc, row) as (runner, journal):
        with anyio.fail_after(TIMEOUT):
            while not (runner.snapshot.stable and runner.snapshot.state is State.HEALTHY):
                await anyio.sleep(0.005)
        await anyio.sleep(0.05)
        since = len(journal.records)
        await hurt(runner, dc, row)
        await until_settled(runner, dc, journal, since, row)
        if not row.path:
            await anyio.sleep(0.4)  # nothing more comes of it, at two more proofs
        await dc.clear()
        check(row, runner, journal, since)


@pytest.mark.parametrize("row", CONNECTING, ids=lambda row: row.name)
async def test_a_connecting_account(tmp_path: Any, row: Row) -> None:
    """A fault that is there when an account connects becomes its event, and the account goes its way in time."""
    harness = DatacenterHarness(tmp_path)
    async with harness as dc:
        await dc.listen(PHONE)
        for each in row.faults:
            await dc.inject(each)
        async with account(harness, dc, row) as (runner, journal):
            await until_settled(runner, dc, journal, 0, row)
            check(row, runner, journal, 0)
            assert dc.stats()["accepted"] + dc.stats()["turned_away"] <= 12


async def test_a_locked_session_file_does_not_cut_the_link(tmp_path: Any) -> None:
    """A locked file is told as what it is; the account stays healthy, hears what comes, and writes when it may."""
    harness = DatacenterHarness(tmp_path)
    async with harness as dc, account(harness, dc, Row("", [], [], [])) as (runner, journal):
        with anyio.fail_after(TIMEOUT):
            while not (runner.snapshot.stable and runner.snapshot.state is State.HEALTHY):
                await anyio.sleep(0.005)
            since = len(journal.records)
            assert isinstance(runner.connector, TelegramConnector)
            file = runner.connector.session
            with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as other:
                while not other.in_transaction:
                    with suppress(sqlite3.OperationalError):
                        other.execute("BEGIN IMMEDIATE")
                    await anyio.sleep(0.02)
                await dc.push(PHONE, "hello", sender="+9996620002")  # a new user, to be remembered in the file
                while "DatabaseLocked" not in seen(journal, since)[0]:
                    await anyio.sleep(0.005)
                other.execute("ROLLBACK")
            await dc.push(PHONE, "hello again", sender="+9996620003")
            while await harness.pts_in_file(runner.connector, 3) < 3:
                await anyio.sleep(0.02)
            while runner.snapshot.database is not None:
                await anyio.sleep(0.02)
        told, _, path = seen(journal, since)
    assert set(told) == {"DatabaseLocked"}
    assert path == []


def test_the_pattern_of_a_row_can_fail() -> None:
    """The little pattern language of the rows tells what fits from what does not."""
    assert fits(["a", "b", "b"], ["a", "b…"])
    assert fits(["a", "x", "y", "z"], ["a", "…", "z"])
    assert not fits(["a", "c"], ["a", "b…"])
    assert not fits(["a"], ["a", "b"])
    assert not fits(["a"], [])
