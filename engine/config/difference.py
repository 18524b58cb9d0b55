"""The difference of two configs: what a running engine has to do so that the second holds. Pure: nothing is read.

Accounts are told apart by what they are, not by what they are called: the same session file, or the same login in
another, is the same account, whatever its name is now.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

import attrs
from attrs import frozen

from adapters.file_names import hide_logins
from engine.config.secret import Secret
from engine.config.sections import AccountConfig, SandboxConfig
from engine.config.types import Config
from engine.console.format import may_show, seconds

HIDDEN: Final = "…"
"""Stands for a value that nobody may read."""
LEFT_OUT: Final = "left out"
DIRECT: Final = "direct"
PLAIN_NUMBERS: Final = frozenset({"factor", "jitter"})
"""Keys whose numbers with a point are no durations."""
SHARES: Final = frozenset({"ready_when"})
"""Keys whose numbers are shares of a whole."""
DEFAULTS: Final = "with its defaults"

LIVE: Final = frozenset({
    "accounts", "states", "fleet", "work", "telegram.api_id", "telegram.api_hash", "storage.keep",
    "incidents", "requests", "usernames", "remote", "alerts", "web", "health", "heartbeat", "metrics", "logging",
})  # fmt: skip
"""What an engine applies while it runs: sections, and single keys of the others."""
EVERY_ACCOUNT: Final = ("telegram.api_id", "telegram.api_hash")
"""Keys with which every account begins a connection."""

RESTART: Final = "change it back, or stop the engine and start it again"
REASONS: Final = {
    "telegram.datacenter": "the keys of all accounts belong to their datacenter, which every connection goes to",
    "storage.directory": "the journal, the jobs, the lock and the socket of this engine are there",
    "storage.session_key": "what is stored of sessions is encrypted with it",
    "storage.database": "all that the engine knows of its accounts is there",
    "node": "the other nodes know it as it was when it began",
    "sandbox": "the sandbox is filled, and its scenario begins, when the engine starts",
}
"""Why a key, or a section, has the value of the start until the end."""
_INDEX: Final = re.compile(r"\[\d+\]")
_OTHER_REASON: Final = "it is read when the engine starts"

LoginOf = Callable[[Path], str]
"""Returns the fingerprint of the login in a session file; empty if there is none."""


@frozen(kw_only=True)
class Setting:
    """A key that has another value; both values as they can be shown."""

    key: str
    before: str
    after: str

    @property
    def hidden(self) -> bool:
        """Whether the values are secret."""
        return self.before == self.after == HIDDEN


@frozen(kw_only=True)
class AccountChange:
    """An account that stays, and is not as it was."""

    name: str
    former: str | None = None
    """What it was called before; None if it keeps its name."""
    settings: tuple[Setting, ...] = ()
    reconnects: bool = False
    """Whether its connection is closed and opened anew."""


@frozen(kw_only=True)
class Refusal:
    """A change that a running engine cannot apply."""

    key: str
    reason: str

    @property
    def sentence(self) -> str:
        """What the operator reads."""
        return f"{self.key} cannot change while the engine runs: {self.reason}; {RESTART}"


@frozen(kw_only=True)
class ConfigDifference:
    """What is to be done, so that another config holds. With ``refused`` nothing of it can be."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[AccountChange, ...] = ()
    """Accounts that stay: renamed ones, those that reconnect, and those of which only what a login reads is another."""
    settings: tuple[Setting, ...] = ()
    """Keys outside ``accounts``."""
    code: tuple[str, ...] = ()
    """Modules whose code is another than the engine has."""
    refused: tuple[Refusal, ...] = ()
    kept: int = 0
    """Accounts that keep their connection."""

    @property
    def is_empty(self) -> bool:
        """Whether the two configs mean the same."""
        return not (self.added or self.removed or self.changed or self.settings or self.code or self.refused)

    @property
    def renamed(self) -> tuple[AccountChange, ...]:
        """The accounts that have another name."""
        return tuple(each for each in self.changed if each.former is not None)

    @property
    def reconnecting(self) -> tuple[str, ...]:
        """The accounts that stay and reconnect, by the names that they have afterwards."""
        return tuple(each.name for each in self.changed if each.reconnects)

    def concerns(self, section: str) -> bool:
        """Return whether a section, or a key such as ``storage.keep``, has other values."""
        return any(each.key == section or each.key.startswith((f"{section}.", f"{section}[")) for each in self.settings)

    def as_json(self) -> dict[str, Any]:
        """Return the difference as values of JSON."""
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "renamed": [{"former": each.former, "name": each.name} for each in self.renamed],
            "changed": [
                {"name": each.name, "reconnects": each.reconnects, "settings": list(map(attrs.asdict, each.settings))}
                for each in self.changed
            ],
            "settings": list(map(attrs.asdict, self.settings)),
            "code": list(self.code),
            "refused": [{"key": each.key, "reason": each.reason} for each in self.refused],
            "kept": self.kept,
        }


def difference(
    before: Config,
    after: Config,
    *,
    login_of: LoginOf = lambda session: "",
    code: Iterable[str] = (),
    live: Collection[str] = LIVE,
) -> ConfigDifference:
    """Return what is to be done in an engine that runs ``before``, so that ``after`` holds.

    ``login_of`` finds accounts again whose session file was moved. ``code`` are the modules whose code has changed,
    which no config tells. ``live`` are the sections and keys that can be applied; others are refused.
    """
    pairs = _pairs(before.accounts, after.accounts, login_of)
    settings = tuple(
        found
        for section in attrs.fields(Config)
        if section.name not in ("path", "accounts")
        for found in _settings(section.name, getattr(before, section.name), getattr(after, section.name))
    )
    all_reconnect = any(each.key in EVERY_ACCOUNT for each in settings)
    in_sandbox = isinstance(after.telegram.datacenter, SandboxConfig)
    changed, kept = [], 0
    for now, then in pairs.items():
        change = _account(then, now, all_reconnect=all_reconnect, in_sandbox=in_sandbox)
        kept += not change.reconnects
        if change.reconnects or change.settings:
            changed.append(change)
    stays = {then.name for then in pairs.values()}
    return ConfigDifference(
        added=tuple(account.name for account in after.accounts if account not in pairs),
        removed=tuple(account.name for account in before.accounts if account.name not in stays),
        changed=tuple(changed),
        settings=settings,
        code=tuple(code),
        refused=_refusals(settings, live),
        kept=kept,
    )


def _pairs(
    before: Sequence[AccountConfig], after: Sequence[AccountConfig], login_of: LoginOf
) -> dict[AccountConfig, AccountConfig]:
    """Return for each account that stays what it is now, and what it was: found by its file, login, or name."""
    found: dict[AccountConfig, AccountConfig] = {}
    left = {account.name: account for account in before}

    def pair(known: Mapping[Any, AccountConfig], key_of: Callable[[AccountConfig], Any]) -> None:
        for account in after:
            if account in found or not (key := key_of(account)):
                continue
            if (then := known.get(key)) is not None and then.name in left:
                found[account] = left.pop(then.name)

    pair({account.session: account for account in before}, lambda account: account.session)
    if left and len(found) < len(after):
        gone = {login: account for account in left.values() if (login := login_of(account.session))}
        if gone:
            pair(gone, lambda account: login_of(account.session))
        pair(dict(left), lambda account: account.name)
    return {account: found[account] for account in after if account in found}


def _account(then: AccountConfig, now: AccountConfig, *, all_reconnect: bool, in_sandbox: bool) -> AccountChange:
    """Return how an account has changed. A new name is a new life: what is stored of the account gets it, too."""
    renamed = then.name != now.name
    settings = [
        Setting(key="session", before=_shown(then.session), after=_shown(now.session))
    ] if then.session != now.session else []  # fmt: skip
    ways, ways_now = then.proxy or (None,), now.proxy or (None,)
    if ways != ways_now:
        settings.append(_setting("proxy", _ways(ways), _ways(ways_now)))
    reconnects = renamed or bool(settings) or all_reconnect
    if then.requests != now.requests:  # the next request asks for it
        settings.append(_setting("requests", _shown(then.requests, "requests"), _shown(now.requests, "requests")))
    if then.hosts != now.hosts:  # where nodes share the accounts, a reload is refused
        settings.append(_setting("hosts", _shown(then.hosts), _shown(now.hosts)))
    for key in ("phone", "bot_token"):  # only a login reads them
        if getattr(then, key) != getattr(now, key):
            settings.append(Setting(key=key, before=HIDDEN, after=HIDDEN))
            reconnects = reconnects or (in_sandbox and key == "phone")  # the sandbox knows its accounts by the number
    return AccountChange(
        name=now.name,
        former=then.name if renamed else None,
        settings=tuple(settings),
        reconnects=reconnects,
    )


def _ways(ways: Iterable[Any]) -> str:
    return ", ".join(DIRECT if way is None else str(way) for way in ways)


def _refusals(settings: Iterable[Setting], live: Collection[str]) -> tuple[Refusal, ...]:
    """Return what cannot be applied, each section or key once."""
    refused: dict[str, Refusal] = {}
    for setting in settings:
        parts = _INDEX.sub("", setting.key).split(".")
        places = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
        if any(place in live for place in places):
            continue
        key = next((place for place in places if place in REASONS), setting.key)
        refused.setdefault(key, Refusal(key=key, reason=REASONS.get(key, _OTHER_REASON)))
    return tuple(refused.values())


# --- values ----------------------------------------------------------------------------------------------------------


def _settings(key: str, before: Any, after: Any) -> Iterator[Setting]:
    """Yield the keys at and below ``key`` that have other values."""
    if before == after:
        return
    if attrs.has(type(before)) and type(before) is type(after) and not _shows_itself(before):
        for each in attrs.fields(type(before)):
            inner = f"{key}.{each.name}"
            if each.repr is not False:
                yield from _settings(inner, getattr(before, each.name), getattr(after, each.name))
            elif getattr(before, each.name) != getattr(after, each.name):
                yield Setting(key=inner, before=HIDDEN, after=HIDDEN)
    elif isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys((*before, *after)):
            yield from _settings(f"{key}.{name}", before.get(name), after.get(name))
    elif _is_list_of_sections(before) and _is_list_of_sections(after):
        if len(before) == len(after):
            for index, (then, now) in enumerate(zip(before, after, strict=True)):
                yield from _settings(f"{key}[{index}]", then, now)
        else:  # only what has come and gone: a list can be long
            gone, come = (
                [each for each in one if each not in other] for one, other in ((before, after), (after, before))
            )
            yield _setting(key, _shown(gone, key), _shown(come, key))
    else:
        yield _setting(key, _shown(before, key), _shown(after, key))


def _setting(key: str, before: str, after: str) -> Setting:
    """Return a setting whose values differ, even if what can be shown of them does not."""
    same = before == after != HIDDEN
    return Setting(key=key, before=before, after=f"{after}, with another secret" if same else after)


def _shown(value: Any, key: str = "") -> str:
    """Return a value as it is written in a config, without what may be secret."""
    match value:
        case None:
            return LEFT_OUT
        case Secret():
            return HIDDEN
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
        case Path():
            return hide_logins(str(value))
        case float():
            return _number(value, key.rpartition(".")[2])
        case tuple() | list():
            return ", ".join(_shown(each, key) for each in value) or "none"
        case dict():
            return ", ".join(f"{_shown(name)}: {_shown(each, str(name))}" for name, each in value.items()) or "none"
        case _ if attrs.has(type(value)):
            return str(value) if _shows_itself(value) else _shown_object(value)
        case _:
            text = str(value)
            return text if may_show(text) else HIDDEN


def _shown_object(value: Any) -> str:
    """Return a section that was or is left out, by those of its keys that have other values than their defaults."""
    fields = [each for each in attrs.fields(type(value)) if getattr(value, each.name) != each.default]
    shown = [
        f"{each.name}: {HIDDEN if each.repr is False else _shown(getattr(value, each.name), each.name)}"
        for each in fields
    ]
    return f"{{{', '.join(shown)}}}" if shown else DEFAULTS


def _number(value: float, key: str) -> str:
    if key in SHARES:
        return f"{value * 100:g}%"
    return f"{value:g}" if key in PLAIN_NUMBERS else seconds(value)


def _is_list_of_sections(value: Any) -> bool:
    return isinstance(value, tuple) and all(attrs.has(type(each)) and not _shows_itself(each) for each in value)


def _shows_itself(value: Any) -> bool:
    """Return whether a class has its own short form, such as hours and proxies."""
    return "__str__" in vars(type(value))
