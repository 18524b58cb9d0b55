"""The control port of a running sandbox: only its user may use it, and no line and no bytes end it."""

import gzip
import json
import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from telethon.tl import TLObject, functions

from adapters.sandbox import Sandbox, SandboxProcess
from adapters.sandbox.control.access import token_file
from adapters.sandbox.control.command_server import MAX_LINE_BYTES, MAX_STRANGERS
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.program import command_line
from tests.adapters.sandbox.harness import ALICE, STATE, Connect, OpenPeer
from tests.timeouts import TIMEOUT

HOSTILE = [
    b"",
    b"\0",
    b"\xff\xfe\xfd",
    b"null",
    b'"stats"',
    b"[" * 200_000,
    b'{"do":' * 40_000,
    b'{"do": "stats", "do": "\\ud800"}',
    b'{"do": "\\ud83d"}',
    b'{"\\udfff": "stats"}',
    b'{"do": "history", "username": "news", "after": -1}',
    b'{"do": "history", "username": "news", "after": 99999999999999999999}',
    b'{"do": "history", "username": "news", "after": 9223372036854775808}',
    b'{"do": "history", "username": "\\ud800"}',
    b'{"do": "fill", "username": "news", "upto": 1e308}',
    b'{"do": "fill", "username": "news", "upto": 9223372036854775807}',
    b'{"do": "push", "account": "+9996620001", "text": "\\ud800"}',
    b'{"do": "push", "account": "\\u0000", "text": "x"}',
    b'{"do": "push", "account": "+999662' + "\u0661\u0662\u0663\u0664".encode() + b'", "text": "x"}',
    b'{"do": "push", "account": "bot99999999999999999999", "text": "x"}',
    b'{"do": "refuse", "for": ' + b"9" * 400 + b"}",
    b'{"do": "refuse", "for": ' + b"9" * 5000 + b"}",
    b'{"do": "refuse", "for": 1e999}',
    b'{"do": "slow", "seconds": NaN}',
    b'{"do": "bot", "token": "99999999999999999999:abcdefghijklmnop"}',
    b'{"do": "bot", "token": "7000000001:abcdefghijklmnop", "dc": 99999999999}',
    b'{"do": "open_dc", "dc": 3, "port": -1}',
    b'{"do": "password", "account": "+9996620001", "password": "x", "hint": "' + b"h" * 100_000 + b'"}',
    b'{"do": "accept_token", "account": "+9996620001", "token": "====="}',
    b'{"do": "token_lifetime", "seconds": -1e308}',
    b'{"do": "scenario", "steps": [' + b'{"at": 0, "do": "reset"},' * 8000 + b'{"at": 0, "do": "reset"}]}',
    b'{"do": "channel", "username": "news", "title": "' + "\u202e".encode() * 40 + b'"}',
    b'{"do": "channel", "username": "news", "title": "N", "members": [null]}',
    b'{"do": "reset", "request": "' + b"*" * 50_000 + b'"}',
    b'{"do": "rpc_error", "code": 400, "text": "X", "request": "' + b"[a" * 20_000 + b'"}',
    b'{"do": "' + b"x" * (MAX_LINE_BYTES - 100) + b'"}',
]


@asynccontextmanager
async def control(sandbox: SandboxProcess, token: bytes | None = None) -> AsyncIterator[Any]:
    """Open a control connection of one's own: a function that sends bytes and returns the next answer."""
    async with await anyio.connect_tcp("127.0.0.1", sandbox.control_port) as stream:
        lines = BufferedByteReceiveStream(stream)
        await stream.send(await anyio.Path(sandbox.token_file).read_bytes() if token is None else token)

        async def say(data: bytes) -> Any:
            with anyio.fail_after(TIMEOUT):
                await stream.send(data)
                return json.loads(await lines.receive_until(b"\n", 2**20))

        yield say


async def test_no_line_ends_it() -> None:
    """Each hostile line is answered, on one connection that stays usable, and the sandbox goes on."""
    async with SandboxProcess.start() as sandbox, control(sandbox) as say:
        await sandbox.create_channel("news", "News")
        for line in HOSTILE:
            assert "ok" in await say(line + b"\n"), line[:80]
        assert (await say(b'{"do": "stats"}\n'))["ok"]
        assert (await sandbox.stats())["channels"] == 1


@pytest.mark.slow
async def test_no_bytes_end_it() -> None:
    """Noise, half a line, a megabyte without an end, and connections that are dropped at once."""
    rng = random.Random(7)
    async with SandboxProcess.start() as sandbox:
        token = await anyio.Path(sandbox.token_file).read_bytes()
        for data in (b"", b"x", token[:-1], token, token + b'{"do": "st', token + b"x" * 2**20, b"x" * 2**20):
            async with await anyio.connect_tcp("127.0.0.1", sandbox.control_port) as stream:
                with anyio.move_on_after(1):
                    await stream.send(data)
        for _ in range(30):
            async with control(sandbox) as say:
                noise = bytes(rng.randrange(256) for _ in range(200)).replace(b"\n", b" ")
                assert not (await say(noise + b"\n"))["ok"]
        assert (await sandbox.stats())["channels"] == 0


async def test_who_has_no_token_gets_nothing() -> None:
    """Without the token there is a sentence that names the file, and the connection ends."""
    async with SandboxProcess.start() as sandbox:
        for token in (b"\n", b"wrong\n", b'{"do": "stats"}\n', b"\xff" * 32 + b"\n", b"x" * 5000):
            async with control(sandbox, token) as say:
                answer = await say(b"")
            assert not answer["ok"], token
            assert "control.token" in answer["error"]
            assert sandbox.token_file.read_text().strip() not in answer["error"]


async def test_the_token_is_for_its_user_only(tmp_path: Path) -> None:
    """The file has mode 600 under any umask, a link in its place is replaced, and it goes with the sandbox."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "control.token").symlink_to(tmp_path / "precious")
    before = os.umask(0)
    try:
        with token_file(tmp_path) as one, token_file(None) as two:
            for token in (one, two):
                assert stat.S_IMODE(token.file.stat().st_mode) == 0o600
                assert token.value not in repr(token)
            assert stat.S_IMODE(two.file.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert not one.file.exists()
    assert not two.file.parent.exists()
    assert (tmp_path / "precious").read_text() == "precious"
    with pytest.raises(SandboxError, match="check the directory"), token_file(tmp_path / "missing"):
        pass


async def test_the_printed_line_works() -> None:
    """What the sandbox prints for the shell sends a command, and shows no token."""
    async with SandboxProcess.start() as sandbox:
        line = command_line("127.0.0.1", sandbox.control_port, sandbox.token_file, '{"do": "stats"}')
        assert sandbox.token_file.read_text().strip() not in line
        nc = f"{sys.executable} -c 'import socket, sys; s = socket.create_connection((sys.argv[1], sys.argv[2])); "
        nc += "s.sendall(sys.stdin.buffer.read()); s.shutdown(1); print(s.makefile().read())'"
        done = await anyio.run_process(["sh", "-c", line.replace("nc -q 1", nc)], stderr=subprocess.PIPE)
        assert json.loads(done.stdout)["ok"], done.stderr


async def test_strangers_do_not_crowd_out_the_owner() -> None:
    """Connections that send nothing are bounded: a newcomer takes the place of the oldest, also the owner."""
    async with SandboxProcess.start() as sandbox, anyio.create_task_group() as tasks:
        ended = 0

        async def linger() -> None:
            nonlocal ended
            async with await anyio.connect_tcp("127.0.0.1", sandbox.control_port) as stream:
                assert b"control.token" in await stream.receive()
                ended += 1

        for _ in range(2 * MAX_STRANGERS):
            tasks.start_soon(linger)
        with anyio.fail_after(TIMEOUT):
            while ended < MAX_STRANGERS:
                await anyio.sleep(0.02)
        async with control(sandbox) as say:
            assert (await say(b'{"do": "stats"}\n'))["ok"]
        assert (await sandbox.stats())["channels"] == 0
        tasks.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_big_fill_does_not_block_the_loop(connected: Connect) -> None:
    """While a channel gets a hundred thousand messages, other clients are answered all the time."""
    async with Sandbox() as dc, connected(dc, ALICE) as client, anyio.create_task_group() as tasks:
        await dc.create_channel("news", "News")
        answered = 0

        async def ask() -> None:
            nonlocal answered
            while True:
                await client(STATE())
                answered += 1

        tasks.start_soon(ask)
        await client(STATE())
        before = answered
        assert await dc.fill("news", 100_000) == 100_000
        assert answered - before > 10
        messages = dc.channel_messages("news")
        assert [message.id for message in messages] == list(range(1, 100_001))
        assert [m.date for m in messages] == sorted(m.date for m in messages)
        assert abs(messages[-1].date - time.time()) < 60
        tasks.cancel_scope.cancel()


async def test_no_garbage_ends_the_datacenter(connected: Connect) -> None:
    """Noise of every length on the clients' port, and half packets, end their own connection at most."""
    rng = random.Random(11)
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        heads = (b"", b"\xef", b"\xee" * 4, b"\xdd" * 4, b"\x10\0\0\0\0\0\0\0", b"\xff\xff\xff\x7f\0\0\0\0", bytes(64))
        for nth in range(140):
            async with await anyio.connect_tcp("127.0.0.1", dc.port) as stream:
                with anyio.move_on_after(0.2):
                    await stream.send(heads[nth % len(heads)] + rng.randbytes(rng.choice((1, 7, 64, 500, 70_000))))
        assert (await client(STATE())).pts == 1


@pytest.mark.slow
async def test_no_request_ends_the_datacenter(raw: OpenPeer, connected: Connect) -> None:
    """A gzip bomb, wrappers without end and a vector that claims a billion items are refused to who sent them."""
    deep = functions.help.GetConfigRequest()
    for _ in range(150):
        deep = functions.InvokeWithoutUpdatesRequest(deep)
    bodies = [
        bytes(deep),
        b"\xa1\xcf\x72\x30" + TLObject.serialize_bytes(gzip.compress(bytes(300_000_000), 6)),
        b"\x15\xc4\xb5\x1c\xff\xff\xff\x7f",
        bytes(functions.users.GetUsersRequest([]))[:4] + b"\x15\xc4\xb5\x1c\xff\xff\xff\x7f" + bytes(1000),
        os.urandom(400),
    ]
    async with Sandbox() as dc, connected(dc, ALICE) as client:
        for body in bodies:
            async with raw(dc) as peer:
                await peer.settle()
                peer.send(body)
                answers = [await peer.receive(), await peer.receive()]
                assert answers[1].error.error_code == 400
            assert (await client(STATE())).pts == 1
