"""``HostGuard``: refuses requests for a host that this server is not, which only a page in a browser sends.

A page can make a name of its own point to 127.0.0.1 (DNS rebinding) and then read what is served there: to the browser
it is the same site. Its requests have that name as their ``Host``. Nobody can own an address, ``localhost``, or a name
without a dot, so these are let through.
"""

import ipaddress
from collections.abc import Collection
from typing import Final

from attrs import define
from starlette.datastructures import Headers

from engine.web.server import Application, Message, Receive, Send

_ANSWER: Final = b"This server is not called that; ask by its address, or add the name to web.hosts in the config\n"


@define(eq=False)
class HostGuard:
    """An ASGI application in front of another one. ``names`` are those of this server."""

    application: Application
    names: Collection[str]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with 421."""
        if self.admits(Headers(raw=scope["headers"]).getlist("host")):
            await self.application(scope, receive, send)
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 421, "headers": headers})
        await send({"type": "http.response.body", "body": _ANSWER})

    def admits(self, hosts: list[str]) -> bool:
        """Return whether a request with these ``Host`` headers may be answered: there must be one."""
        if len(hosts) != 1:
            return False
        name = _without_port(hosts[0]).lower().rstrip(".")
        return bool(name) and (_is_ours(name) or name in {known.lower().rstrip(".") for known in self.names})


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_ours(name: str) -> bool:
    """Return whether nobody else can own a name."""
    if name.endswith(".localhost") or "." not in name:
        return True  # an IPv6 address has no dot, or is one of the next line
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
