"""Clients of the web server, in a process of their own, for ``web_load``: slow ones, hasty ones, and an honest one.

It imports little, so that it is there in a moment.
"""

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

AGAIN = 1.0
"""Seconds after which a client that lost its place connects again."""
ASK_EVERY = 0.1
HOST = "127.0.0.1"


async def connected(port: int, buffer: int = 0) -> socket.socket:
    """Return a connection, which has little room for what it does not read if ``buffer`` says so."""
    made = socket.socket()
    made.setblocking(False)
    if buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    await asyncio.get_running_loop().sock_connect(made, (HOST, port))
    return made


async def silent(port: int) -> None:
    """Connect, and say nothing until the server has had enough."""
    with await connected(port) as made:
        await asyncio.get_running_loop().sock_recv(made, 1)


async def dribble(port: int) -> None:
    """Send a request's head a byte at a time."""
    with await connected(port) as made:
        for byte in b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: " + b"y" * 100_000:
            await asyncio.get_running_loop().sock_sendall(made, bytes([byte]))
            await asyncio.sleep(0.5)


async def unread(port: int) -> None:
    """Ask for the metrics, several times over, and read none of it; notice only that the connection is gone."""
    with await connected(port, 4096) as made:
        for _ in range(1000):
            await asyncio.get_running_loop().sock_sendall(made, b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n" * 4)
            await asyncio.sleep(0.5)


async def hasty(port: int) -> None:
    """Ask for the metrics as fast as they come."""
    with await connected(port) as made:
        loop = asyncio.get_running_loop()
        while True:
            await loop.sock_sendall(made, b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"\n") or answer.count(b"\r\n\r\n") == 0:
                if not (part := await loop.sock_recv(made, 1 << 20)):
                    return
                answer += part


KINDS: dict[str, Callable[[int], Awaitable[None]]] = {
    "silent": silent,
    "dribble": dribble,
    "unread": unread,
    "hasty": hasty,
}


async def attack(kind: str, port: int, clients: int) -> None:
    """Be so many clients of a kind until killed; print how many connections were made."""
    made = 0

    async def one(delay: float) -> None:
        nonlocal made
        await asyncio.sleep(delay)  # not all in one instant, of which a listener's queue would take 64
        while True:
            with suppress(OSError):
                made += 1
                await KINDS[kind](port)
            await asyncio.sleep(AGAIN)

    async with asyncio.TaskGroup() as tasks:
        for number in range(clients):
            tasks.create_task(one(number / clients))
        while True:
            print(made, flush=True)
            await asyncio.sleep(0.1)


async def ask(port: int) -> None:
    """Ask whether the engine lives until killed; print how long each answer took, or −1 if there was none."""
    while True:
        began, took = time.perf_counter(), -1.0
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                with await connected(port) as made:
                    words = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
                    await asyncio.get_running_loop().sock_sendall(made, words)
                    if (await asyncio.get_running_loop().sock_recv(made, 4096)).startswith(b"HTTP/1.1 200"):
                        took = time.perf_counter() - began
        print(took, flush=True)
        await asyncio.sleep(ASK_EVERY)


if __name__ == "__main__":
    what, where, *more = sys.argv[1:]
    asyncio.run(ask(int(where)) if what == "ask" else attack(what, int(where), int(more[0])))
