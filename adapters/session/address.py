"""Where a session's datacenter is, whatever a file says of it."""

from typing import Final

from adapters.session.contents import Identity
from adapters.session.schema import as_number, as_text

PORT: Final = 443
TELEGRAM: Final = {
    1: "149.154.175.53",
    2: "149.154.167.51",
    3: "149.154.175.100",
    4: "149.154.167.91",
    5: "91.108.56.130",
}
"""Telegram's datacenters, for a file that names only the number: converters often write no more.

Source: the table that Telethon and TDLib have built in.
"""

_NUMBERS: Final = {host: number for number, host in TELEGRAM.items()}
Address = tuple[int, str, int]
"""Number, host and port of a datacenter."""


def address_of(identity: Identity) -> Address | None:
    """Return the address to connect to; None if the session does not say which datacenter has its key.

    Nothing of it is written back: what stands in the file stays there to the letter.
    """
    dc_id = as_number(identity.dc_id) or 0
    host = as_text(identity.address).strip().removeprefix("[").removesuffix("]") or TELEGRAM.get(dc_id, "")
    dc_id = dc_id or _NUMBERS.get(host, 0)
    port = identity.port if identity.port and 0 < identity.port < 65536 else PORT
    return (dc_id, host, port) if dc_id and host else None
