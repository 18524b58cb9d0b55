"""The address of a store, ``postgresql://user:password@host,other/database?option=value``, and what of it is shown.

Its text is libpq's, so that what PostgreSQL's own programs take is taken here. Nothing quotes it: a password that was
not percent-encoded makes any part of it a part of the password.
"""

import contextlib
import re
from typing import Final, NoReturn, Self

from attrs import field, frozen

from adapters.postgres.errors import BadAddress, DriverMissing

SCHEMES: Final = ("postgresql://", "postgres://")
MAX_CHARACTERS: Final = 4096
_HOST: Final = re.compile(r"[\w.:%~/\\-]{0,255}")
_PORT: Final = re.compile(r"\d{0,5}")
_NAME: Final = re.compile(r"[^\s@:/?#%'\"\x00-\x1f]{0,63}")
_ENCODE: Final = "write special characters of the password with a percent sign, such as %40 for @ and %2F for /"


@frozen
class StoreAddress:
    """The address of a PostgreSQL database; ``str`` and ``repr`` leave out the password."""

    conninfo: str = field(repr=False)
    """What libpq is given."""
    shown: str
    """User, hosts and database, for people."""
    hosts: int = 1
    """Number of servers that are tried in turn."""

    def __str__(self) -> str:
        return self.shown

    def each(self) -> "tuple[StoreAddress, ...]":
        """Return the address of each server alone, whatever it may be used for."""
        from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415 - as in ``parse``

        parts = {key: str(value) for key, value in conninfo_to_dict(self.conninfo).items() if value is not None}
        hosts, ports = parts.get("host", "").split(","), parts.get("port", "").split(",")
        every = ports * len(hosts) if len(ports) == 1 else ports
        parts.pop("target_session_attrs", None)
        found = []
        for host, port in zip(hosts, every, strict=True):
            one = {key: value for key, value in {**parts, "host": host, "port": port}.items() if value}
            found.append(StoreAddress(make_conninfo("", **one), _shown(one, [host], [port])))
        return tuple(found)

    @property
    def asks_for_writable(self) -> bool:
        """Whether a server that only reads is passed over."""
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - as in ``parse``

        return conninfo_to_dict(self.conninfo).get("target_session_attrs") in ("read-write", "primary")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address. Raises ``BadAddress``, which never quotes it, and ``DriverMissing``."""
        try:
            from psycopg import ProgrammingError  # noqa: PLC0415 - an address can be recognised without it
            from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415
        except ImportError:
            raise DriverMissing(
                "storage.database: PostgreSQL's client is not installed; run: pip install 'holdfast-telegram[postgres]'"
            ) from None
        if not is_store_address(text):
            _refuse("it does not begin with postgresql://")
        if len(text) > MAX_CHARACTERS or not text.isprintable():
            _refuse(f"it is longer than {MAX_CHARACTERS} characters or holds one that cannot be printed")
        parts: dict[str, str] = {}
        with contextlib.suppress(ProgrammingError, UnicodeError):  # whose texts quote the address
            parts = {key: str(value) for key, value in conninfo_to_dict(text).items() if value is not None}
        if not parts:
            _refuse(f"PostgreSQL's client cannot read it; {_ENCODE}, and check the names of the options")
        hosts, ports = parts.get("host", "").split(","), parts.get("port", "").split(",")
        if not all(map(_HOST.fullmatch, hosts)) or not all(map(_PORT.fullmatch, ports)):
            _refuse(f"its host or port cannot be one; {_ENCODE}")
        if not all(_NAME.fullmatch(parts.get(key, "")) for key in ("user", "dbname")):
            _refuse(f"its user or database cannot be one; {_ENCODE}")
        if len(ports) not in (1, len(hosts)):
            _refuse("it has another number of ports than of hosts")
        return cls(make_conninfo("", **parts), _shown(parts, hosts, ports), len(hosts))


def is_store_address(text: str) -> bool:
    """Return whether a text is meant as the address of a PostgreSQL database."""
    return text.startswith(SCHEMES)


def _shown(parts: dict[str, str], hosts: list[str], ports: list[str]) -> str:
    every = ports * len(hosts) if len(ports) == 1 else ports
    places = ",".join(f"{host}:{port}" if port else host for host, port in zip(hosts, every, strict=True))
    user = f"{parts['user']}@" if parts.get("user") else ""
    return f"postgresql://{user}{places}/{parts.get('dbname', '')}"


def _refuse(why: str) -> NoReturn:
    raise BadAddress(f"storage.database: the address of PostgreSQL cannot be used: {why}")
