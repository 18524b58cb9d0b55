"""What Telethon cannot read: counted, said once without a byte of it, and the account goes on."""

import logging
import struct
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from telethon.errors import TypeNotFoundError
from telethon.extensions import BinaryReader
from telethon.tl import functions, types
from telethon.tl.core import GzipPacked

from adapters.sandbox import Fault, FaultKind, Sandbox, services
from adapters.sandbox.services.context import Service
from adapters.telegram import TelegramConnector
from adapters.telegram.classify import classify
from adapters.telegram.job_errors import classify_job_error
from adapters.telegram.link import TelegramLink
from adapters.telegram.unreadable import UnreadableAnswer
from states.events import CaughtUp, Event
from states.jobs import Raised
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.adapters.telegram.test_inbox import delivering, linked, listening, until
from tests.adapters.telegram.test_requests import DIALOGS, opened
from tests.timeouts import TIMEOUT

SECRET = b"what-a-friend-wrote"
UNKNOWN = struct.pack("<I", 0x1F00BA2E) + SECRET
CUT_OFF = bytes(types.UpdateShort(types.UpdateUserName(1, SECRET.decode() * 20, "b", []), None))[:200]
NO_VECTOR = struct.pack("<I", types.Updates.CONSTRUCTOR_ID) + SECRET * 4
BAD_GZIP = struct.pack("<I", GzipPacked.CONSTRUCTOR_ID) + bytes([len(SECRET)]) + SECRET
NO_UPDATE = bytes(types.User(1, first_name=SECRET.decode()))
ODD = {
    "unknown": UNKNOWN,
    "cut off": CUT_OFF,
    "no vector": NO_VECTOR,
    "bad gzip": BAD_GZIP,
    "unknown in gzip": bytes(GzipPacked(UNKNOWN)),
    "no update": NO_UPDATE,
    "true": struct.pack("<I", 0x997275B5),
    "empty vector": struct.pack("<Ii", 0x1CB5C415, 0),
}
ANSWER_NAMES = ["unknown", "cut off", "bad gzip", "unknown in gzip"]
ANSWERS = [ODD[name] for name in ANSWER_NAMES]
odd = pytest.mark.parametrize("content", ODD.values(), ids=ODD.keys())


def container(*contents: bytes) -> bytes:
    """Return the container of these messages."""
    inner = [struct.pack("<qii", 4 * number + 1, 1, len(content)) + content for number, content in enumerate(contents)]
    return struct.pack("<Ii", 0x73F1F8DC, len(contents)) + b"".join(inner)


def answering(monkeypatch: pytest.MonkeyPatch, request: Any, answer: Callable[..., Any] | bytes) -> None:
    """Have the sandbox answer a kind of request with these bytes."""
    handle = answer if callable(answer) else lambda *_: answer
    monkeypatch.setitem(services.SERVICES, request, Service(handle))


def push(dc: Sandbox, content: bytes) -> None:
    """Push bytes to all who are connected."""
    for receivers in dc._hub._receivers.values():
        for receiver in receivers:
            receiver.push(content)


def check_nothing_is_told(caplog: pytest.LogCaptureFixture, *events: Any) -> None:
    """Assert that no byte of what came is in a log or in an event."""
    for text in (caplog.text, *map(repr, events), *(str(record.__dict__) for record in caplog.records)):
        assert SECRET.decode() not in text


async def events_of(link: TelegramLink) -> list[Event]:
    """Return what a link tells, once that is anything."""
    with anyio.fail_after(TIMEOUT):
        while not link._events:
            await anyio.sleep(0.01)
    return list(link._events)


async def counted(account: TelegramConnector, count: int = 1) -> None:
    """Wait until so much was unreadable."""
    with anyio.fail_after(TIMEOUT):
        while account.unreadable.count < count:
            await anyio.sleep(0.01)


@odd
async def test_an_unreadable_message_costs_no_other(
    harness: DatacenterHarness, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """Alone, in a container or in gzip: the link stays, requests work, the rest and what comes later is read."""
    caplog.set_level(logging.INFO)
    user = types.User(1, first_name="a", access_hash=1)
    good = types.Updates([types.UpdateUserName(1, "read", "b", [])], [user], [], None, 0)
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account), linked(account) as link:
            seen: list[Any] = []
            put = link.client._sender._updates_queue.put_nowait
            link.client._sender._updates_queue.put_nowait = lambda update: (seen.append(update), put(update))
            push(dc, content)
            await counted(account, 1)
            push(dc, container(content, bytes(good), content))
            await counted(account, 3)
            push(dc, bytes(GzipPacked(container(content, bytes(good)))))
            await counted(account, 4)
            assert await link.client(DIALOGS)
            assert [update.updates[0].first_name for update in seen if isinstance(update, types.Updates)] == [
                "read"
            ] * 2
            await dc.push(PHONE, "later")
            await until(heard, 1)
            assert link.client.is_connected()
            told = list(link._events)
    assert [record.levelname for record in caplog.records if "was sent a" in record.message] == ["WARNING"]
    assert "update Holdfast, and Telethon with it" in caplog.text
    check_nothing_is_told(caplog, told)
    assert heard == ["later"]


@pytest.mark.parametrize("content", ANSWERS, ids=ANSWER_NAMES)
async def test_an_unreadable_answer_is_its_request_s_error(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """The request raises at once, as the job's own failure; it says what to do, and quotes nothing."""
    caplog.set_level(logging.INFO)
    answering(monkeypatch, functions.messages.GetDialogsRequest, content)
    async with harness as dc, opened(harness) as link:
        with pytest.raises(UnreadableAnswer, match=r"the answer to GetDialogs is .* update Holdfast") as raised:
            await link.client(DIALOGS)
        failed = classify_job_error(raised.value, link.client)
        assert isinstance(failed, Raised)
        assert (await link.client.get_me()).phone
        assert dc.stats()["accepted"] == 1
        check_nothing_is_told(caplog, failed, link._events)


@pytest.mark.parametrize("request_class", [functions.updates.GetStateRequest, functions.help.GetConfigRequest])
async def test_a_link_is_proven_by_an_answer_that_cannot_be_read(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, request_class: Any
) -> None:
    """What a connection begins with may have a new constructor: it is an answer, and no refusal."""
    async with harness:
        account = harness.connector()
        async with linked(account):
            pass
        answering(monkeypatch, request_class, UNKNOWN)
        async with linked(account, 2) as link:
            assert [type(event).__name__ for event in await link.probe(proof=True, timeout=TIMEOUT)] == [
                "ProbeAnswered"
            ]
            assert await link.client(DIALOGS)


async def test_an_unreadable_difference_is_a_gap_with_a_name(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The account goes on from the present; the report says what is missing, and later messages are heard."""
    caplog.set_level(logging.INFO)
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account), linked(account):
            pass
        await dc.push(PHONE, "missed")
        with monkeypatch.context() as patched:
            answering(patched, functions.updates.GetDifferenceRequest, UNKNOWN)
            async with delivering(account):
                link = account.link(2)
                await link.open(timeout=TIMEOUT)
                [told] = await events_of(link)
                await dc.push(PHONE, "later")
                await until(heard, 1)
                assert await link.client(DIALOGS)
                assert dc.stats()["requests"]["updates.getDifference"] <= 3
                await link.close(timeout=TIMEOUT)
        async with delivering(account), linked(account, 3):
            await dc.push(PHONE, "last")
            await until(heard, 2)
    assert isinstance(told, CaughtUp)
    [missing] = told.missing
    assert missing.startswith("private chats and groups, after 1 in their count (")
    assert "1f00ba2e" in missing
    assert "read the chats for it" in missing
    assert heard == ["later", "last"]
    check_nothing_is_told(caplog, told)


async def test_an_unreadable_channel_difference_is_a_gap_with_a_name(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one channel sends costs nothing of the others, and that channel goes on from the present."""
    async with harness as dc:
        channel = await dc.create_channel("holdfast_test", "Test", members=[PHONE])
        account = harness.connector()
        heard = listening(account)
        async with delivering(account), linked(account) as link:
            await link.client.get_dialogs()
            await dc.post("holdfast_test", "first")
            await until(heard, 1)
        await dc.post("holdfast_test", "missed")
        await dc.push(PHONE, "private")
        answering(monkeypatch, functions.updates.GetChannelDifferenceRequest, UNKNOWN)
        async with delivering(account):
            link = account.link(2)
            await link.open(timeout=TIMEOUT)
            [told] = await events_of(link)
            await dc.post("holdfast_test", "later")
            await until(heard, 3)
            await link.close(timeout=TIMEOUT)
    assert isinstance(told, CaughtUp)
    assert told.recovered == 1
    assert told.missing[0].startswith(f"channel {channel}, after ")
    assert heard == ["first", "private", "later"]


@pytest.mark.parametrize(
    "error", [TypeNotFoundError(0x1F00BA2E, SECRET), BufferError(f"No more data left to read (got {SECRET!r})")]
)
def test_no_event_quotes_what_was_received(error: Exception) -> None:
    """Also for clients that are not the engine's own, whose exceptions are Telethon's."""
    told = classify(error)
    assert SECRET.decode() not in repr(told)
    assert "update Telethon" in told.detail


def test_the_reader_quotes_what_it_reads() -> None:
    """Telethon's own exceptions have the bytes in their texts: that is why they go nowhere as they are."""
    with pytest.raises(TypeNotFoundError, match=SECRET.decode()):
        BinaryReader(UNKNOWN).tgread_object()


async def test_a_stream_of_unreadable_messages_asks_for_the_difference_once(harness: DatacenterHarness) -> None:
    """Each may have been an update, yet a hundred of them cost one request."""
    async with harness as dc:
        account = harness.connector()
        async with linked(account) as link:
            await anyio.wait_all_tasks_blocked()
            await link.client(DIALOGS)
            before = dc.stats()["requests"]["updates.getDifference"]
            for _ in range(100):
                push(dc, UNKNOWN)
            await counted(account, 100)
            await link.client(DIALOGS)
            assert dc.stats()["requests"]["updates.getDifference"] <= before + 1
        await dc.inject(Fault(FaultKind.RESET))


WRONG = [
    types.updates.State(1, 0, None, 0, 0),
    True,
    types.updates.Difference([], [], [], [], [], types.User(1)),
]


@pytest.mark.parametrize("answer", WRONG, ids=["a state", "true", "a user as its state"])
async def test_a_difference_that_makes_no_sense_does_not_make_the_link_flap(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    """What can be read and not be processed is left out: the link stands, requests work, later messages are heard."""
    async with harness as dc:
        account = harness.connector()
        heard = listening(account)
        async with delivering(account):
            async with linked(account):
                pass
            with monkeypatch.context() as patched:
                answering(patched, functions.updates.GetDifferenceRequest, lambda *_: answer)
                link = account.link(2)
                await link.open(timeout=TIMEOUT)
                await counted(account)
                assert await link.client(DIALOGS)
                with anyio.fail_after(TIMEOUT):
                    while not any(gap.lost for gap in link.client.differences._gaps.values()):
                        await anyio.sleep(0.005)
            await dc.push(PHONE, "later")
            await until(heard, 1)
            assert link.client.is_connected()
            assert not [event for event in link._events if not isinstance(event, CaughtUp)]
            assert dc.stats()["accepted"] == 2
            await link.close(timeout=TIMEOUT)
    assert heard == ["later"]
