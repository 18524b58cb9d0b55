"""Proxies in a config: ``socks5://user:password@host:1080``, ``mtproxy://secret@host:443``, ``direct``.

The error sentences never quote the URL, because a mistake can put a secret anywhere in it.
"""

import base64
import binascii
import ipaddress
import re
from enum import StrEnum
from typing import Final
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from engine.config.secret import to_secret
from engine.config.values import describe_type

DIRECT: Final = "direct"
_FORMS: Final = "socks5://user:password@host:1080, http://host:3128 or mtproxy://secret@host:443"
_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?/?")
_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_MAX_TEXT: Final = 255  # bytes of a user or a password: SOCKS5 has one byte for the length
_SECRET_BYTES: Final = 16


class Scheme(StrEnum):
    """The protocols that a proxy may speak."""

    SOCKS5 = "socks5"
    SOCKS4 = "socks4"
    HTTP = "http"
    MTPROXY = "mtproxy"


@frozen(kw_only=True)
class ProxyConfig:
    """One proxy. Only ``scheme``, ``host`` and ``port`` may be shown; ``str`` and ``repr`` show nothing else.

    ``secret`` is for MTProxy: 16 bytes, or 17 of which the first is 0xdd.
    """

    scheme: Scheme
    host: str
    port: int
    user: str | None = field(default=None, converter=to_secret, repr=False)
    password: str | None = field(default=None, converter=to_secret, repr=False)
    secret: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def is_host(text: str) -> bool:
    """Return whether a text can be the name of a host, also an international one, or an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        return True
    try:
        return _HOST.fullmatch(text.removesuffix(".").encode("idna").decode("ascii")) is not None
    except UnicodeError:  # a part that is empty or too long
        return False


def to_proxy(value: object, _: object = None) -> ProxyConfig | None:
    """Return the proxy that a URL names; None for ``direct``. Raises ValueError with a sentence."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, like {_FORMS}, not {describe_type(value)}")
    text = str(value)
    if text == DIRECT:
        return None
    scheme, separator, rest = text.partition("://")
    if scheme == "https":
        raise ValueError("is a proxy behind TLS (https://), which is not supported; use one that accepts http://")
    if not separator or scheme not in tuple(Scheme):
        raise ValueError(f"must be {DIRECT}, or begin with one of {', '.join(f'{one}://' for one in Scheme)}")
    credentials, at, address = rest.rpartition("@")
    host, port = _parse_address(address)
    if scheme == Scheme.MTPROXY:
        return ProxyConfig(scheme=Scheme.MTPROXY, host=host, port=port, secret=_parse_secret(credentials))
    user, password = _parse_login(Scheme(scheme), credentials if at else None)
    return ProxyConfig(scheme=Scheme(scheme), host=host, port=port, user=user, password=password)


def _parse_address(text: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        advice = "; put an IPv6 address in brackets, like [::1]:1080" if text.count(":") > 1 else ""
        raise ValueError(f"must end in host:port, like {_FORMS}{advice}")
    six, host, port = match.group("six", "host", "port")
    if six is not None:
        try:
            ipaddress.IPv6Address(six)
        except ValueError:
            six = None
        if six is None:
            raise ValueError("has brackets, but no IPv6 address in them; write [::1]:1080, or host:1080 without them")
    elif not _HOST.fullmatch(host):
        raise ValueError(f"must have the name or the IP address of the proxy before the port, like {_FORMS}")
    if port is None or not 1 <= int(port) <= 65535:
        raise ValueError("must end in the proxy's port, from 1 to 65535, like :1080")
    return six or host, int(port)


def _parse_login(scheme: Scheme, text: str | None) -> tuple[str | None, str | None]:
    """Return user and password; None for each that is not given."""
    if text is None:
        return None, None
    first, colon, second = text.partition(":")
    user, password = _decode(first), _decode(second)
    if not user:
        raise ValueError("has an @, but no user before it; write user:password@host, or the host alone")
    match scheme:
        case Scheme.SOCKS4 if colon:
            raise ValueError("must have no password, because SOCKS4 supports only a user; use socks5://, or remove it")
        case Scheme.SOCKS4:
            return user, None
        case Scheme.SOCKS5 if not password:
            raise ValueError("needs a password after the user (user:password@host), or neither of them")
        case Scheme.HTTP if ":" in user:
            raise ValueError("must have a user without a colon, because in HTTP a colon ends the user")
    return user, password


def _decode(text: str) -> str:
    """Return a percent-encoded user or password as plain text."""
    if _BAD_ESCAPE.search(text):
        raise ValueError("has a % in its user or password without two hex digits after it; write a plain % as %25")
    plain = unquote_to_bytes(text)
    if len(plain) > _MAX_TEXT or not plain.isascii() or not plain.decode("ascii").isprintable():
        raise ValueError(f"must have a user and a password of at most {_MAX_TEXT} printable ASCII characters")
    return plain.decode("ascii")


def _parse_secret(text: str) -> bytes:
    """Return the secret of an MTProxy, which is written in hex or, as in links, in base64."""
    secret = _to_bytes(text)
    if len(secret) == _SECRET_BYTES or (len(secret) == _SECRET_BYTES + 1 and secret[0] == 0xDD):
        return secret
    if len(secret) > _SECRET_BYTES and secret[0] == 0xEE:
        raise ValueError(
            "has a fake-TLS secret (one that begins with ee), which Telethon does not speak; "
            "use a proxy whose secret begins with dd, or a SOCKS5 proxy"
        )
    raise ValueError("must have its secret before the @: 32 hex digits, or dd and 32 hex digits")


def _to_bytes(text: str) -> bytes:
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
