"""The door against programs that do not keep to the protocol, and against many: the engine goes on."""

import json
import socket
from contextlib import closing

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from hypothesis import given, settings
from hypothesis import strategies as st
from telethon.tl import functions, types
from telethon.tl.alltlobjects import LAYER

from adapters.sandbox import Fault, FaultKind, Sandbox
from engine import AccountNotReady, Engine, OutcomeUnknown, RequestRefused
from engine.remote import connection
from engine.remote.frames import DATACENTER, HEAD, FrameKind, encode_frame
from engine.remote.programs import MAX_IN_FLIGHT, MAX_OF_PROGRAM
from tests.engine.harness import EngineHarness
from tests.engine.remote.test_requests import PHONES, running, script
from tests.engine.remote.test_updates import until
from tests.timeouts import TIMEOUT

HELLO = {"do": "request", "program": "script", "account": "Account 1", "layer": LAYER}
GET_ME = DATACENTER.pack(0) + bytes(functions.users.GetUsersRequest([types.InputUserSelf()]))


async def let_in(harness: EngineHarness) -> tuple[ByteStream, BufferedByteReceiveStream]:
    """Return a connection of a program that was let in."""
    stream = await anyio.connect_unix(harness.directory / "data" / "engine.sock")
    await stream.send(json.dumps(HELLO).encode() + b"\n")
    received = BufferedByteReceiveStream(stream)
    with anyio.fail_after(TIMEOUT):
        assert json.loads(await received.receive_until(b"\n", 10_000))["ok"]
    return stream, received


async def next_frame(received: BufferedByteReceiveStream) -> tuple[FrameKind, int, bytes]:
    """Return the next frame that the engine sends."""
    with anyio.fail_after(TIMEOUT):
        length, kind, number = HEAD.unpack(await received.receive_exactly(HEAD.size))
        return FrameKind(kind), number, await received.receive_exactly(length) if length else b""


async def is_well(harness: EngineHarness, engine: Engine) -> None:
    """Fail unless the engine serves another program."""
    async with script(harness) as client:
        assert (await client.get_me()).phone == PHONES[0][1:]
    assert engine.account("Account 1").state == "healthy"


async def test_hostile_bytes_cost_the_engine_nothing(harness: EngineHarness) -> None:
    """Whatever comes before or after the first line: the connection ends or waits, and the next program is served."""
    found: list[tuple[list[bytes], bool]] = []

    @settings(max_examples=60, database=None)
    @given(
        st.lists(st.binary(max_size=200) | st.builds(frame, st.integers(0, 20), st.binary(max_size=60)), max_size=4),
        st.booleans(),
    )
    def collect(junk: list[bytes], let: bool) -> None:
        found.append((junk, let))

    collect()
    async with Sandbox() as dc, running(harness, dc, PHONES[0]) as engine:
        for junk, let in found:
            if let:
                stream, _ = await let_in(harness)
            else:
                stream = await anyio.connect_unix(harness.directory / "data" / "engine.sock")
            async with stream:
                for each in junk:
                    try:
                        await stream.send(each)
                    except anyio.BrokenResourceError:
                        break
        await is_well(harness, engine)
        await until(lambda: not engine.remote.door.connections)


def frame(kind: int, body: bytes) -> bytes:
    """Return a frame of any kind."""
    return HEAD.pack(len(body), kind, 1) + body


async def test_a_frame_of_the_engine_s_own_kind_ends_the_connection(harness: EngineHarness) -> None:
    """So does one that is too long, before any of it is read, and a number that is under way."""
    async with Sandbox() as dc, running(harness, dc, PHONES[0]) as engine:
        for bad in (
            encode_frame(FrameKind.ANSWER, 1),
            HEAD.pack(2**31, FrameKind.REQUEST, 1),
            encode_frame(FrameKind.REQUEST, 0, GET_ME),
        ):
            stream, received = await let_in(harness)
            async with stream:
                await stream.send(bad)
                with anyio.fail_after(TIMEOUT), pytest.raises((anyio.IncompleteRead, anyio.EndOfStream)):
                    await received.receive_exactly(1)
        await is_well(harness, engine)


async def test_requests_beyond_the_bound_are_not_read_meanwhile(harness: EngineHarness) -> None:
    """A program that asks faster than it is answered waits; all of its requests are answered, each once."""
    async with Sandbox() as dc, running(harness, dc, PHONES[0]) as engine:
        stream, received = await let_in(harness)
        async with stream:
            await dc.inject(Fault(FaultKind.BLACKHOLE, PHONES[0], duration=0.6))
            await stream.send(b"".join(encode_frame(FrameKind.REQUEST, n, GET_ME) for n in range(1, 101)))
            await until(lambda: engine.remote.door.connections[0].requests == MAX_IN_FLIGHT)
            answers = [await next_frame(received) for _ in range(100)]
        assert sorted(number for _, number, _ in answers) == list(range(1, 101))


async def test_a_program_that_does_not_read_is_disconnected(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers pile up in the socket's buffer alone, and then it is gone; others are served meanwhile."""
    monkeypatch.setattr(connection, "WRITE_TIMEOUT", 0.3)
    async with Sandbox() as dc, running(harness, dc, PHONES[0]) as engine:
        path = str(harness.directory / "data" / "engine.sock")
        with closing(socket.socket(socket.AF_UNIX)) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.connect(path)
            deaf.setblocking(False)
            deaf.send(json.dumps(HELLO).encode() + b"\n")
            await until(lambda: engine.remote.door.connections)
            config = DATACENTER.pack(0) + bytes(functions.help.GetConfigRequest())
            number = 0
            with anyio.fail_after(TIMEOUT):
                while engine.remote.door.connections:
                    try:
                        number += 1
                        deaf.send(encode_frame(FrameKind.REQUEST, number, config))
                    except BlockingIOError:
                        pass
                    except OSError:
                        break
                    await anyio.sleep(0.001)
            await is_well(harness, engine)


async def test_a_hundred_idle_programs(harness: EngineHarness) -> None:
    """They have tasks and sockets and nothing else to do; one more of a name than may be is told so."""
    programs = ", ".join(f"p{n}: {{accounts: '*', methods: '*'}}" for n in range(10))
    rest = f"remote: {{programs: {{script: {{accounts: '*', methods: '*'}}, {programs}}}}}\n"
    async with Sandbox() as dc, running(harness, dc, PHONES[0], rest=rest) as engine:
        open_ones = []
        for n in range(100):
            stream = await anyio.connect_unix(harness.directory / "data" / "engine.sock")
            await stream.send(json.dumps(HELLO | {"program": f"p{n % 10}"}).encode() + b"\n")
            open_ones.append(stream)
            await until(lambda n=n: len(engine.remote.door.connections) == n + 1)
        await is_well(harness, engine)
        for _ in range(MAX_OF_PROGRAM - 10):
            stream = await anyio.connect_unix(harness.directory / "data" / "engine.sock")
            await stream.send(json.dumps(HELLO | {"program": "p0"}).encode() + b"\n")
            open_ones.append(stream)
        await until(lambda: len(engine.remote.door.connections) == 100 + MAX_OF_PROGRAM - 10)
        async with await anyio.connect_unix(harness.directory / "data" / "engine.sock") as late:
            await late.send(json.dumps(HELLO | {"program": "p0"}).encode() + b"\n")
            answer = json.loads(await late.receive())
            assert (answer["ok"], answer["kind"]) == (False, "busy")
        for stream in open_ones:
            await stream.aclose()
        await until(lambda: not engine.remote.door.connections)


async def test_a_request_whose_caller_gives_up_is_cancelled(harness: EngineHarness) -> None:
    """The engine does not go on waiting for it, and the connection stays."""
    async with Sandbox() as dc, running(harness, dc, PHONES[0]) as engine, script(harness) as client:
        await dc.inject(Fault(FaultKind.BLACKHOLE, PHONES[0], duration=5.0))
        with anyio.move_on_after(0.1) as gave_up:
            await client.get_me()
        assert gave_up.cancelled_caught
        await until(lambda: not engine.remote.door.connections[0]._in_flight)
        assert client.is_connected()


async def test_another_layer_is_refused(harness: EngineHarness) -> None:
    """A program with another version of Telethon would not understand the answers."""
    async with Sandbox() as dc, running(harness, dc, PHONES[0]):
        client = script(harness)
        client._link.layer = 1
        with pytest.raises(RequestRefused, match="same version of Telethon"):
            await client.connect()


async def test_an_engine_that_stops_answers_for_what_is_in_flight(harness: EngineHarness) -> None:
    """A request that waits is told that it is over; the next one waits for the engine's return, and is answered."""
    async with Sandbox() as dc:
        async with anyio.create_task_group() as tasks:
            caught: list[Exception] = []

            async def ask() -> None:
                try:
                    await client.get_me()
                except (AccountNotReady, OutcomeUnknown) as exc:
                    caught.append(exc)

            async with running(harness, dc, PHONES[0]) as engine:
                client = script(harness)
                await client.connect()
                await dc.inject(Fault(FaultKind.REFUSE, duration=1.0))
                await dc.inject(Fault(FaultKind.RESET, PHONES[0]))
                await until(lambda: engine.account("Account 1").state != "healthy")
                tasks.start_soon(ask)
                await until(lambda: engine.remote.door.connections[0]._in_flight)
            await until(lambda: caught)
        async with Engine.from_config(harness.config):
            with anyio.fail_after(TIMEOUT):
                assert (await client.get_me()).phone == PHONES[0][1:]
            await client.disconnect()
