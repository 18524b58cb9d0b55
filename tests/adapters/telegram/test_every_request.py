"""Every way in which Telethon sends a request passes the same gate: holds, a deadline, and what failures mean."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from telethon import errors, functions
from telethon.tl.types import DcOption, InputDocumentFileLocation
from telethon.tl.types.upload import FileCdnRedirect

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.telegram import TelegramLink
from adapters.telegram.classify import DatacenterLost, RequestDropped, RequestHeld, Unanswered
from adapters.telegram.client import MAX_REPETITIONS
from adapters.telegram.job_errors import classify_job_error
from states.events import AuthRejected, FloodWait, TimedOut
from states.jobs import Raised
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.test_requests import DIALOGS, opened, told
from tests.timeouts import TIMEOUT

FILE = bytes(range(256)) * 1024
ELSEWHERE = 4
FLOOD = Fault(FaultKind.RPC_ERROR, request="upload.getFile", code=420, text="FLOOD_WAIT_30", times=1)


def silent(request: str) -> Fault:
    """Return a fault that keeps the answers to these requests."""
    return Fault(FaultKind.SLOW, request=request, seconds=3600)


def document(number: int) -> Any:
    """Return where the file with this number is."""
    return InputDocumentFileLocation(number, 0, b"", "")


async def downloaded(client: Any, number: int, dc_id: int | None) -> bytes:
    """Download a file in one piece."""
    return bytes(await client.download_file(document(number), file=bytes, dc_id=dc_id, part_size_kb=64))


async def iterated(client: Any, number: int, dc_id: int | None) -> bytes:
    """Download a file piece by piece."""
    pieces = [bytes(piece) async for piece in client.iter_download(document(number), dc_id=dc_id, request_size=65536)]
    return b"".join(pieces)


WAYS = pytest.mark.parametrize("way", [downloaded, iterated], ids=lambda way: way.__name__)
PLACES = pytest.mark.parametrize("place", [None, ELSEWHERE], ids=["at home", "elsewhere"])


@asynccontextmanager
async def with_file(
    harness: DatacenterHarness, place: int | None, *, timeout: float = TIMEOUT
) -> AsyncIterator[tuple[Sandbox, TelegramLink, int]]:
    """Yield a datacenter, a link to it, and the number of a file that is there or elsewhere."""
    async with harness as dc:
        await dc.open_dc(ELSEWHERE)
        number = dc.put_file(FILE, place)
        async with opened(harness, timeout=timeout) as link:
            yield dc, link, number


@WAYS
@PLACES
async def test_a_file_is_downloaded(harness: DatacenterHarness, way: Any, place: int | None) -> None:
    """From the account's own datacenter and from another one."""
    async with with_file(harness, place) as (_, link, number):
        assert await way(link.client, number, place) == FILE


async def test_a_file_that_is_elsewhere_is_found_there(harness: DatacenterHarness) -> None:
    """FILE_MIGRATE leads to the other datacenter, whose connection is used again."""
    async with with_file(harness, ELSEWHERE) as (dc, link, number):
        for _ in range(2):
            assert await downloaded(link.client, number, None) == FILE
        assert dc.stats()["accepted"] == 2


async def test_a_file_that_is_always_elsewhere_is_given_up(harness: DatacenterHarness) -> None:
    """A datacenter that sends the client to itself again and again is asked a few times; later the file is found."""
    async with with_file(harness, ELSEWHERE) as (dc, link, number):
        always = Fault(
            FaultKind.RPC_ERROR, request="upload.getFile", code=303, text="FILE_MIGRATE_4", duration=10 * TIMEOUT
        )
        await dc.inject(always)
        with pytest.raises(DatacenterLost, match="6 times, and each time the answer was FileMigrate; try again later"):
            await downloaded(link.client, number, None)
        assert dc.stats()["requests"]["upload.getFile"] == 6
        await dc.clear()
        assert await downloaded(link.client, number, None) == FILE


async def test_a_part_that_was_answered_begins_the_count_anew(harness: DatacenterHarness) -> None:
    """A long download may be sent elsewhere more often than one part may."""
    async with with_file(harness, ELSEWHERE) as (dc, link, number):
        migrated = Fault(FaultKind.RPC_ERROR, request="upload.getFile", code=303, text="FILE_MIGRATE_4", times=1)
        pieces = []
        async for piece in link.client.iter_download(document(number), dc_id=ELSEWHERE, request_size=16384):
            pieces.append(bytes(piece))
            await dc.inject(migrated)
        assert b"".join(pieces) == FILE
        assert len(pieces) > MAX_REPETITIONS + 1


@WAYS
@PLACES
async def test_a_part_that_is_not_answered_ends_at_its_deadline(
    harness: DatacenterHarness, way: Any, place: int | None
) -> None:
    """An unanswered ``getFile`` raises ``Unanswered``; only on the account's own link it makes that suspect."""
    async with with_file(harness, place) as (dc, link, number):
        assert await way(link.client, number, place)
        link.client.request_timeout = 0.2
        await dc.inject(silent("upload.getFile"))
        with pytest.raises(Unanswered, match="GetFile was not answered"):
            await way(link.client, number, place)
        link.client.request_timeout = TIMEOUT
        assert [type(event) for event in link._events if isinstance(event, TimedOut)] == [TimedOut] * (place is None)


@WAYS
@PLACES
async def test_a_flood_wait_of_a_download_is_told_and_holds(
    harness: DatacenterHarness, way: Any, place: int | None
) -> None:
    """FLOOD_WAIT for ``getFile`` reaches the account, and from then on nothing of its kind is sent anywhere."""
    async with with_file(harness, place) as (dc, link, number):
        await dc.inject(FLOOD)
        with pytest.raises(errors.FloodWaitError):
            await way(link.client, number, place)
        event = await told(link)
        assert isinstance(event, FloodWait)
        assert (event.request, event.seconds) == ("GetFile", 30.0)
        asked = dc.stats()["requests"]["upload.getFile"]
        with pytest.raises(RequestHeld):
            await way(link.client, number, place)
        assert dc.stats()["requests"]["upload.getFile"] == asked
        assert await link.client(DIALOGS)


async def test_an_upload_passes_the_gate(harness: DatacenterHarness) -> None:
    """A part that is sent has a deadline, and its flood wait holds its kind."""
    async with harness as dc, opened(harness) as link:
        assert (await link.client.upload_file(FILE, file_name="a")).parts
        await dc.inject(Fault(FaultKind.RPC_ERROR, request="upload.*", code=420, text="FLOOD_WAIT_30", times=1))
        for kind in (errors.FloodWaitError, RequestHeld):
            with pytest.raises(kind):
                await link.client.upload_file(FILE, file_name="a")
        link.client.holds._until.clear()
        await dc.inject(silent("upload.*"))
        link.client.request_timeout = 0.2
        with pytest.raises(Unanswered, match="SaveFilePart was not answered"):
            await link.client.upload_file(FILE, file_name="a")


async def test_a_request_past_the_client_passes_the_gate(harness: DatacenterHarness) -> None:
    """``sender.send``, which Telethon uses for statistics of channels, has deadline and hold, on either connection."""
    async with with_file(harness, ELSEWHERE) as (dc, link, _):
        other = await link.client._borrow_exported_sender(ELSEWHERE)
        for sender in (link.client._sender, other):
            assert await sender.send(DIALOGS)
            link.hold("GetDialogs", time.time() + 60)
            with pytest.raises(RequestHeld):
                await sender.send(DIALOGS)
            link.client.holds._until.clear()
        await dc.inject(silent("messages.getDialogs"))
        link.client.request_timeout = 0.2
        for sender in (link.client._sender, other):
            with pytest.raises(Unanswered):
                await sender.send(DIALOGS)


async def test_statistics_pass_the_gate(harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """``get_stats`` sends by a borrowed sender, past ``_call``; its wait is told and held all the same."""
    async with with_file(harness, ELSEWHERE) as (dc, link, _):
        await dc.create_channel("holdfast_test", "Test", members=["+9996620001"])
        stats = Fault(FaultKind.RPC_ERROR, request="stats.*", code=303, text=f"STATS_MIGRATE_{ELSEWHERE}", times=1)
        await dc.inject(stats)
        await dc.inject(Fault(FaultKind.RPC_ERROR, request="stats.*", code=420, text="FLOOD_WAIT_30"))
        with pytest.raises(errors.FloodWaitError):
            await link.client.get_stats("holdfast_test")
        event = await told(link)
        assert isinstance(event, FloodWait)
        assert event.request == "GetBroadcastStats"


async def test_a_wait_in_a_takeout_holds_its_own_kind_only(harness: DatacenterHarness) -> None:
    """The wait is for what the takeout asked, not for the wrapper: other requests of the takeout go on."""
    async with harness as dc, opened(harness) as link:
        link.client.session.takeout_id = 1
        flood = Fault(FaultKind.RPC_ERROR, request="invokeWithTakeout", code=420, text="FLOOD_WAIT_30", times=1)
        async with link.client.takeout(finalize=False) as takeout:
            await dc.inject(flood)
            with pytest.raises(errors.FloodWaitError):
                await takeout(DIALOGS)
            with pytest.raises(RequestHeld):
                await takeout(DIALOGS)
            with pytest.raises(errors.BadRequestError, match="METHOD_NOT_IN_SANDBOX"):  # so it was sent
                await takeout(functions.users.GetUsersRequest([]))
        event = await told(link)
        assert isinstance(event, FloodWait)
        assert event.request == "GetDialogs"


async def test_a_lost_connection_to_another_datacenter_is_its_own(harness: DatacenterHarness) -> None:
    """It raises ``DatacenterLost``, which counts for the job; the account's link stands, and the next try connects."""
    async with with_file(harness, ELSEWHERE) as (dc, link, number):
        await dc.inject(Fault(FaultKind.RESET_BEFORE, request="upload.getFile"))
        with pytest.raises(DatacenterLost, match="datacenter 4 was lost: connection reset") as lost:
            await downloaded(link.client, number, ELSEWHERE)
        assert isinstance(classify_job_error(lost.value, link.client), Raised)
        assert await downloaded(link.client, number, ELSEWHERE) == FILE
        assert dc.stats()["accepted"] == 3
        assert dc.stats()["requests"]["auth.exportAuthorization"] == 1
        assert await link.client(DIALOGS)


async def test_a_login_that_is_refused_elsewhere_is_not_the_account_s(harness: DatacenterHarness) -> None:
    """401 from another datacenter says nothing of the account; the next use logs a new key in there."""
    async with with_file(harness, ELSEWHERE) as (dc, link, number):
        await dc.inject(
            Fault(FaultKind.RPC_ERROR, request="upload.getFile", code=401, text="AUTH_KEY_UNREGISTERED", times=1)
        )
        with pytest.raises(DatacenterLost):
            await downloaded(link.client, number, ELSEWHERE)
        assert not [event for event in link._events if isinstance(event, AuthRejected)]
        assert await downloaded(link.client, number, ELSEWHERE) == FILE
        assert dc.stats()["requests"]["auth.exportAuthorization"] == 2


async def test_a_datacenter_that_accepts_and_is_silent_has_a_deadline(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection to another datacenter is made within the deadline of a request, and leaves nothing open."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def there(*_: Any, **__: Any) -> DcOption:
        return DcOption(ELSEWHERE, "127.0.0.1", port)

    async with harness, opened(harness, timeout=0.3) as link, server:
        monkeypatch.setattr(link.client, "_get_dc", there)
        with pytest.raises(DatacenterLost, match=r"datacenter 4 was not connected within 0\.3 s"):
            await downloaded(link.client, 1, ELSEWHERE)
        link.client.request_timeout = TIMEOUT
        assert await link.client(DIALOGS)


async def test_a_datacenter_that_does_not_exist_is_said(harness: DatacenterHarness) -> None:
    """A file in a datacenter that nobody knows is an error with a sentence, at once."""
    async with harness, opened(harness) as link:
        with pytest.raises(DatacenterLost, match="datacenter 9 is not in"):
            await downloaded(link.client, 1, 9)


async def test_a_download_whose_link_goes_down_is_a_lost_connection(harness: DatacenterHarness) -> None:
    """When the account's own link ends, so does what was under way elsewhere, as ``RequestDropped``."""
    async with with_file(harness, ELSEWHERE) as (dc, link, number):
        assert await downloaded(link.client, number, ELSEWHERE)
        await dc.inject(silent("upload.getFile"))
        caught: list[BaseException] = []

        async def ask() -> None:
            try:
                await downloaded(link.client, number, ELSEWHERE)
            except ConnectionError as exc:
                caught.append(exc)

        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                while dc.stats()["requests"]["upload.getFile"] < 6:
                    await anyio.sleep(0.01)
                await link.close(timeout=TIMEOUT)
        assert [type(exc) for exc in caught] == [RequestDropped]


async def test_a_redirect_to_public_files_is_refused(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Telethon would make a second client for them, with the account's key; here that is an error with a sentence."""
    redirect = FileCdnRedirect(203, b"token", bytes(32), bytes(16), [])
    async with harness as dc, opened(harness) as link:

        async def ask(*_: Any, **__: Any) -> Any:
            return redirect

        monkeypatch.setattr(link.client, "_call", ask)
        with pytest.raises(DatacenterLost, match="official app"):
            await downloaded(link.client, 1, None)
        assert dc.stats()["accepted"] == 1


async def test_one_list_of_datacenters_is_not_for_all(harness: DatacenterHarness) -> None:
    """What one account's datacenter lists does not decide where another account connects."""
    async with with_file(harness, ELSEWHERE) as (_, link, number):
        assert await downloaded(link.client, number, ELSEWHERE)
        assert type(link.client)._config is None
