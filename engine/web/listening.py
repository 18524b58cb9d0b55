"""Listening sockets, and how clients are let in: a few at a time, in the order in which they came.

asyncio's own servers let in as many at once as may wait. Here many may wait, so that a crowd makes nobody try again a
second later, and few come in at once, so that it does not hold the loop up. Whoever has sent its request along is read
before as many others have come in as there are places.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import anyio

QUEUE: Final = 1024
"""Clients that may wait to be let in; of more, the system lets each try again, a second or more later."""
AT_ONCE: Final = 16
"""Clients that are let in at a time."""
REST_SECONDS: Final = 1.0
"""After which the next client is let in if the system has no descriptor for one."""

_UNUSED: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""What a machine says of an address whose family it does not use; a name such as ``localhost`` may have one."""


async def listen(host: str, port: int) -> list[socket.socket]:
    """Return what listens at an address: a socket for each address that a name has. Raises ``OSError``."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners, refused = list[socket.socket](), list[OSError]()
    for family, kind, protocol, _, where in dict.fromkeys(found):
        try:
            listeners.append(_listener(family, kind, protocol, where))
        except OSError as exc:
            refused.append(exc)
    wrong = [exc for exc in refused if exc.errno not in _UNUSED]
    if wrong or not listeners:
        for each in listeners:
            each.close()
        raise (wrong or refused)[0]
    return listeners


def _listener(family: int, kind: int, protocol: int, where: Any) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(where)
        made.listen(QUEUE)
    except BaseException:
        made.close()
        raise
    return made


async def let_in(listener: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
    """Let clients in until cancelled; ``make`` makes what speaks with one."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            clients = [(await loop.sock_accept(listener))[0]]
        except ConnectionError:  # it is gone already
            continue
        except OSError:
            await anyio.sleep(REST_SECONDS)
            continue
        with suppress(OSError):  # no more wait, or there is no descriptor for one
            while len(clients) < AT_ONCE:
                clients.append(listener.accept()[0])
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(_connect, client, make)


async def _connect(client: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
    try:
        client.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(make, client)
    except OSError:
        client.close()
    except BaseException:
        client.close()
        raise
