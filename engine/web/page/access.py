"""Who may see the page, and who may act: a token that is exchanged for a cookie, kept nowhere but in its file.

A cookie is the time of its making, signed with the token. So a restart keeps all visitors, another token ends all their
cookies, and no list of visitors is kept.
"""

import hmac
import ipaddress
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from attrs import define, field

from engine.web.page.source import PageRole, Viewer

COOKIE_SECONDS: Final = 30 * 86_400.0
"""For which a cookie is good."""
ATTEMPTS: Final = 10
"""Wrong tokens that a client may send before it has to wait."""
WINDOW: Final = 60.0
"""Seconds in which it may send so many."""
MAX_CLIENTS: Final = 1_000
"""Clients that are remembered for their wrong tokens."""
_AHEAD: Final = 86_400.0
"""Seconds by which a cookie may be from the future: the clock was set."""
_COOKIE: Final = re.compile(r"([0-9]{1,12})\.([0-9a-f]{64})")
_MAX_TOKEN: Final = 512


@define(eq=False)
class PageAccess:
    """Tells by a token or a cookie what a visitor may do. ``use`` gives it the tokens; before that, nobody may."""

    trouble: str = field(default="", init=False)
    """Why there is no token, in a sentence for the log."""
    _tokens: Mapping[PageRole, str] = field(factory=dict, init=False, repr=False)
    _failures: "OrderedDict[str, list[float]]" = field(factory=OrderedDict, init=False, repr=False)

    @property
    def open(self) -> bool:
        """Whether anybody may see the page."""
        return bool(self._tokens)

    def use(self, tokens: Mapping[PageRole, str], trouble: str = "") -> bool:
        """Go by these tokens from now on; return whether they are others."""
        changed = dict(self._tokens) != dict(tokens)
        self._tokens, self.trouble = dict(tokens), trouble
        return changed

    @property
    def cookie_name(self) -> str:
        """The name of the cookie: it differs between engines, for a browser has one set of cookies for all ports."""
        return f"holdfast_{_signature(self._tokens.get(PageRole.OPERATOR, ''), 'name')[:12]}"

    # --- tokens ------------------------------------------------------------------------------------------------------

    def wait(self, client: str, now: float) -> float:
        """Return the seconds for which a client may try no token; 0 if it may."""
        failures = [at for at in self._failures.get(_group(client), ()) if at > now - WINDOW]
        return failures[0] + WINDOW - now if len(failures) >= ATTEMPTS else 0.0

    def role_of(self, token: str, client: str, now: float) -> PageRole | None:
        """Return the role that a token gives; None if it is wrong, which counts. ``now`` is steady.

        It takes as long for every wrong token, whatever is right about it.
        """
        given = sha256(token[:_MAX_TOKEN].encode("utf-8", "backslashreplace")).digest()
        found = None
        for role, right in self._tokens.items():
            if hmac.compare_digest(given, sha256(right.encode()).digest()):
                found = role
        if found is None:
            group = _group(client)
            failures = [at for at in self._failures.pop(group, ()) if at > now - WINDOW]
            self._failures[group] = [*failures, now][-ATTEMPTS:]
            if len(self._failures) > MAX_CLIENTS:
                self._failures.popitem(last=False)
        return found

    # --- cookies -----------------------------------------------------------------------------------------------------

    def cookie(self, role: PageRole, now: float) -> str:
        """Return the value of a cookie for a role. ``now`` is Unix seconds."""
        made = str(int(now))
        return f"{made}.{_signature(self._tokens[role], f'cookie {made}')}"

    def viewer(self, cookie: str | None, now: float) -> Viewer | None:
        """Return who a visitor with this cookie is; None if it is none of ours, or too old."""
        if cookie is None or (found := _COOKIE.fullmatch(cookie)) is None:
            return None
        made, signature = found.groups()
        role = None
        for each, token in self._tokens.items():
            if hmac.compare_digest(signature, _signature(token, f"cookie {made}")):
                role = each
        if role is None or not now - COOKIE_SECONDS <= int(made) <= now + _AHEAD:
            return None
        return Viewer(role, self._csrf if role is PageRole.OPERATOR else "")

    # --- forms -------------------------------------------------------------------------------------------------------

    def is_form(self, csrf: str) -> bool:
        """Return whether a form is one of this engine's own page."""
        return self.open and hmac.compare_digest(csrf.encode("utf-8", "backslashreplace"), self._csrf.encode())

    @property
    def _csrf(self) -> str:
        return _signature(self._tokens.get(PageRole.OPERATOR) or secrets.token_hex(), "form")


def is_own(headers: Mapping[str, str]) -> bool:
    """Return whether a request that changes something comes from this server's own page, as far as the browser says.

    Under ``Referrer-Policy: no-referrer`` the origin of a form of one's own is ``null``, like that of a stranger's
    frame; ``Sec-Fetch-Site`` tells them apart.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        return False
    if origin is None:
        return True
    if origin == "null":
        return site == "same-origin"
    scheme, _, host = origin.partition("://")
    return scheme in ("http", "https") and host.lower() == headers.get("host", "").lower()


def _signature(token: str, what: str) -> str:
    return hmac.new(token.encode(), f"holdfast page {what}".encode(), sha256).hexdigest()


def _group(client: str) -> str:
    """Return what a client cannot change at will: its address, or of one with IPv6, the network."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if address.version == 6 else str(address)
