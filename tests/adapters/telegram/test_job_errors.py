"""Whose trouble an exception of a job is: the account's, the server's wait, or the job's own."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import frozen
from telethon import errors, functions
from telethon.tl.functions.messages import SendMessageRequest
from telethon.tl.types import InputPeerChannel, InputPeerEmpty

from adapters.sandbox import Fault, FaultKind
from adapters.session.errors import SessionError
from adapters.sqlite import open_database
from adapters.sqlite.errors import DatabaseUnusable
from adapters.telegram import TelegramLink
from adapters.telegram.classify import RequestDropped, RequestHeld
from adapters.telegram.client import Unanswered
from adapters.telegram.job_errors import SLACK_SECONDS, classify_job_error
from adapters.telegram.transfer_errors import TransferFailed, TransferRefused
from states import Hold
from states.jobs import Flooded, Lost, Raised
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT

DIALOGS = functions.messages.GetDialogsRequest(None, 0, InputPeerEmpty(), 10, 0)
IN_CHAT = SendMessageRequest(InputPeerChannel(1234, 1), "text", random_id=1)


@frozen
class Client:
    """A client of which nothing is asked but whether it is connected."""

    connected: bool

    def is_connected(self) -> bool:
        """Say so."""
        return self.connected


HERE, GONE = Client(True), Client(False)


@pytest.mark.parametrize(
    "exc",
    [
        RequestDropped(),
        errors.SessionRevokedError(DIALOGS),
        errors.AuthKeyUnregisteredError(DIALOGS),
        errors.AuthKeyDuplicatedError(DIALOGS),
        errors.UserDeactivatedBanError(DIALOGS),
        errors.PeerFloodError(DIALOGS),
        errors.ApiIdInvalidError(DIALOGS),
        errors.AuthKeyNotFound(),
        errors.TypeNotFoundError(1, b""),
        errors.SecurityError("msg_key"),
        SessionError("the session file is damaged"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_what_the_account_hears_of_too_is_not_a_failure_of_the_job(exc: Exception) -> None:
    """Dead credentials, limits, a broken protocol: the account decides, and the job goes on when it can.

    What Telegram limits holds the job with its account, as a flood wait does.
    """
    limited = isinstance(exc, errors.PeerFloodError)
    assert isinstance(classify_job_error(exc, HERE), Flooded if limited else Lost)


@pytest.mark.parametrize(
    "exc",
    [ConnectionError("reset"), OSError("unreachable"), EOFError(), TimeoutError("60 s"), Unanswered("GetDialogs")],
    ids=lambda exc: type(exc).__name__,
)
def test_a_connection_error_is_the_connection_s_only_if_it_is_gone(exc: Exception) -> None:
    """With its client still connected, a job has met it elsewhere: at a web server, say."""
    assert isinstance(classify_job_error(exc, GONE), Lost)
    assert isinstance(classify_job_error(exc, None), Lost)
    assert isinstance(classify_job_error(exc, HERE), Raised)


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("odd"),
        errors.ChatAdminRequiredError(DIALOGS),
        errors.UsernameNotOccupiedError(DIALOGS),
        errors.RpcCallFailError(DIALOGS),
        errors.RandomIdDuplicateError(DIALOGS),
        SystemExit(3),
        KeyboardInterrupt(),
        MemoryError(),
    ],
    ids=lambda exc: type(exc).__name__,
)
@pytest.mark.parametrize("client", [HERE, GONE], ids=["here", "gone"])
def test_what_is_wrong_with_the_job_is_its_own(exc: BaseException, client: Client) -> None:
    """Bad data, refused requests and whatever else a function raises is a failure of its own, client or no client."""
    said = classify_job_error(exc, client)
    assert isinstance(said, Raised)
    assert said.chain[0].startswith(type(exc).__name__)


def test_a_failure_says_what_it_is_and_where_it_came_from() -> None:
    """An error of Python's comes with its class, one of Telegram's in its words; both with their causes."""
    odd = ValueError("no page")
    odd.__cause__ = KeyError("page")
    assert classify_job_error(odd, HERE) == Raised("ValueError: no page", ("ValueError: no page", "KeyError: 'page'"))
    said = classify_job_error(errors.ChatAdminRequiredError(DIALOGS), HERE)
    assert isinstance(said, Raised)
    assert said.detail.startswith("Chat admin privileges are required")
    assert said.detail.endswith("(400)")


def test_no_phone_number_is_in_a_failure() -> None:
    """Telethon quotes whom it cannot find; neither the detail nor the chain repeats it."""
    said = classify_job_error(ValueError('Cannot find any entity corresponding to "+9996620001"'), HERE)
    assert isinstance(said, Raised)
    assert "9996620001" not in f"{said}"


def test_a_database_of_the_job_s_own_is_its_own_trouble(tmp_path: Path) -> None:
    """That it is locked says nothing of the account; a file of the account's or the engine's says so by its class."""
    with closing(sqlite3.connect(tmp_path / "own.db")) as one, closing(sqlite3.connect(tmp_path / "own.db")) as other:
        one.execute("BEGIN EXCLUSIVE")
        other.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(sqlite3.OperationalError) as caught:
            other.execute("BEGIN EXCLUSIVE")
    assert isinstance(classify_job_error(caught.value, HERE), Raised)
    (tmp_path / "engine.db").write_bytes(b"no database" * 99)
    with pytest.raises(DatabaseUnusable) as unusable:
        open_database(tmp_path / "engine.db")
    assert isinstance(classify_job_error(unusable.value, HERE), Lost)


@pytest.mark.parametrize(
    ("exc", "request_", "alone"),
    [
        (errors.FloodWaitError(DIALOGS, 30), "GetDialogs", False),
        (errors.FloodPremiumWaitError(DIALOGS, 30), "GetDialogs", False),
        (errors.SlowModeWaitError(IN_CHAT, 30), "SendMessage in -1000000001234", True),
        (RequestHeld(IN_CHAT, 30, "SendMessage"), "SendMessage", False),
        (RequestHeld(IN_CHAT, 30, "SendMessage in -1000000001234"), "SendMessage in -1000000001234", True),
    ],
    ids=["flood", "premium", "slow-mode", "held", "held-chat"],
)
def test_a_wait_is_the_server_s(exc: Exception, request_: str, alone: bool) -> None:
    """It lasts as long as the server said and a little more; slow mode, met now or before, is for one chat."""
    before = time.time()
    said = classify_job_error(exc, HERE)
    assert isinstance(said, Flooded)
    assert (said.request, said.alone) == (request_, alone)
    assert before + 30 + SLACK_SECONDS <= said.until <= time.time() + 30 + SLACK_SECONDS


# --- with a real client -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(harness: DatacenterHarness, *holds: Hold) -> AsyncIterator[TelegramLink]:
    """Yield a proven link, and close it."""
    link = harness.connector(timeout=2 * TIMEOUT).link(1, holds)
    try:
        assert type((await link.open(timeout=TIMEOUT))[-1]).__name__ == "Connected"
        yield link
    finally:
        await link.close(timeout=TIMEOUT)


async def classified(client: Any, request: Any) -> Lost | Flooded | Raised:
    """Return what a job would hear for a request that fails."""
    try:
        await client(request)
    except Exception as exc:
        return classify_job_error(exc, client)
    raise AssertionError("the request was answered")


async def test_a_request_dropped_in_flight_is_lost(harness: DatacenterHarness) -> None:
    """A request that was on its way when the datacenter hung up has not failed; the connection has."""
    async with harness as dc, opened(harness) as link:
        await dc.inject(Fault(FaultKind.BLACKHOLE))
        asking = asyncio.ensure_future(classified(link.client, DIALOGS))
        await anyio.wait_all_tasks_blocked()
        await dc.inject(Fault(FaultKind.RESET))
        assert isinstance(await asyncio.wait_for(asking, TIMEOUT), Lost)
        assert isinstance(await classified(link.client, DIALOGS), Lost)


async def test_a_flood_wait_of_the_datacenter_is_a_wait(harness: DatacenterHarness) -> None:
    """FLOOD_WAIT_30 from the wire holds the kind for 30 s and a little more."""
    async with harness as dc, opened(harness) as link:
        await dc.inject(Fault(FaultKind.RPC_ERROR, code=420, text="FLOOD_WAIT_30", request="messages.getDialogs"))
        before = time.time()
        said = await classified(link.client, DIALOGS)
        assert isinstance(said, Flooded)
        assert (said.request, said.alone) == ("GetDialogs", False)
        assert before + 30 <= said.until <= time.time() + 32


async def test_a_hold_of_the_account_is_a_wait(harness: DatacenterHarness) -> None:
    """A request that the client itself refuses because of a wait before says what is held."""
    async with harness, opened(harness, Hold(request="GetDialogs", until=time.time() + 50)) as link:
        said = await classified(link.client, DIALOGS)
        assert isinstance(said, Flooded)
        assert (said.request, said.alone) == ("GetDialogs", False)


async def test_a_refused_request_is_the_job_s_own(harness: DatacenterHarness) -> None:
    """A 400 of the datacenter's is a failure in its words, and the client is as connected as before."""
    async with harness as dc, opened(harness) as link:
        await dc.inject(Fault(FaultKind.RPC_ERROR, code=400, text="PEER_ID_INVALID", request="messages.getDialogs"))
        said = await classified(link.client, DIALOGS)
        assert isinstance(said, Raised)
        assert said.detail.endswith("(400)")
        assert link.client.is_connected()


def test_what_the_engine_refuses_is_final_and_what_fails_is_not() -> None:
    """No attempt is made to send a login once more; a disk that is full may have room next time."""
    for exc, final in ((TransferRefused("it is a login"), True), (TransferFailed("the disk is full"), False)):
        said = classify_job_error(exc, Client(connected=True))
        assert isinstance(said, Raised)
        assert (said.detail, said.final) == (str(exc), final)
