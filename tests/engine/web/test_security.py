"""A page in a browser does not read what the server has."""

import pytest

from engine.web.security import HostGuard
from engine.web.server import Message, Receive, Send


async def passes(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "passed"})


async def status(*hosts: str) -> object:
    """Return how a request with these headers is answered."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    headers = [(b"host", host.encode()) for host in hosts]
    await HostGuard(passes, {"0.0.0.0", "Fleet.example.org"})({"headers": headers}, receive, send)
    return sent[0].get("status", 200)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8080",
        "127.0.0.1",
        "[::1]:8080",
        "[2001:db8::7]",
        "localhost:8080",
        "LOCALHOST",
        "fleet.localhost",
        "holdfast:8080",
        "fleet.example.org",
        "FLEET.example.org.:443",
        "192.168.1.7:80",
    ],
)
async def test_a_name_that_nobody_else_can_own_is_answered(host: str) -> None:
    """Addresses, this machine, a service in a container's network, and what the config names."""
    assert await status(host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "x.fleet.example.org",
        "",
    ],
)
async def test_a_foreign_name_is_refused(host: str) -> None:
    """However much it looks like one of ours."""
    assert await status(host) == 421


async def test_one_host_is_asked_for() -> None:
    """Neither none nor two."""
    assert await status() == 421
    assert await status("localhost", "evil.example") == 421
    assert await status("evil.example", "localhost") == 421
