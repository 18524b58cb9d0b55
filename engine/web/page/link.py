"""The link with which a visitor opens the page. It has the token in it, so it belongs on a screen alone."""

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:  # a command that prints the link has no server
    from engine.web.server import Address


def page_link(address: "Address", token: str) -> str:
    """Return the link to the page at an address of the config; of a server on all addresses, that of this machine."""
    host = address.host
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if parsed.is_unspecified:
            host = "127.0.0.1" if parsed.version == 4 else "::1"
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{address.port}/?token={quote(token, safe='')}"
