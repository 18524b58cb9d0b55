"""The section ``alerts``: who is told of which incidents, and how. No ``repr`` shows an address, which has secrets."""

import os
import re
import shlex
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import attrs
from attrs import field, frozen

from engine.config.document import KeyPath, Problem
from engine.config.secret import Secret
from engine.config.values import describe_type
from engine.config.work import to_hours
from engine.console.format import may_show, nearest
from states.alerts import KINDS, TOLD_BY_DEFAULT
from states.pace import Hours

MAX_CHANNELS: Final = 50
MIN_REPEAT: Final = 60.0
"""Seconds: who is told more often is not helped."""
_MAX_ADDRESS: Final = 2_000
_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9]{0,31})://[^\s\x00-\x1f\x7f]+")
_FORM: Final = "must be an address that Apprise knows, such as mailtos://user:password@example.org"
_LIST: Final = "https://github.com/caronc/apprise/wiki lists them"
DEFAULT_AFTER: Final = 120.0
DEFAULT_REPEAT: Final = 6 * 3600.0


def scheme_of(address: str) -> str:
    """Return the part of an address that may be shown: what stands before ``://``."""
    match = _ADDRESS.fullmatch(address)
    return match[1].lower() if match else "…"


def _often_enough(_: Any, attribute: "attrs.Attribute[Any]", value: float | None) -> None:
    if value is not None and value < MIN_REPEAT:
        raise ValueError(f"{attribute.name} must be at least {MIN_REPEAT:g} s; leave it empty to tell once")


@frozen(kw_only=True)
class AlertConfig:
    """One entry of ``alerts``: the same incidents are told to each of its addresses, or given to its command."""

    to: tuple[str, ...] = field(default=(), repr=False)
    """An address that [Apprise](https://github.com/caronc/apprise/wiki) knows (mail, Telegram, Slack, ntfy, a webhook
    …), or a list of them. It has secrets in it: write ``${NAME}``."""
    exec: tuple[str, ...] = field(default=(), repr=False)
    """A command that gets the incident as JSON on its standard input, instead of ``to``. Its variables are ``PATH``,
    ``HOME`` and few others, because the engine's own have secrets."""
    on: tuple[str, ...] = TOLD_BY_DEFAULT
    """The kinds of incidents that are told. Of a channel that fails, all others are told anyway."""
    after: float = DEFAULT_AFTER
    """How long a trouble lasts before it is told, from its beginning. What needs a person is told at once."""
    repeat: float | None = field(default=DEFAULT_REPEAT, validator=_often_enough)
    """How often an open incident is told again until somebody acknowledges it. Left empty, it is told once."""
    quiet: Hours | None = None
    """The hours of the day, local time, in which nothing is sent, such as ``"22:00-07:00"``, but that a person is
    needed. What was held is told when they end."""

    def __attrs_post_init__(self) -> None:
        if self.to and self.exec:
            raise ValueError("has both to and exec; make two entries of it")
        if not self.to and not self.exec:
            raise ValueError("needs to (an address of Apprise) or exec (a command); write one of them")

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """What identifies each address, or the command: it stays the same when the list is put in another order."""
        if self.exec:
            return (_identity("exec", shlex.join(self.exec)),)
        return tuple(_identity(scheme_of(address), address) for address in self.to)


def _identity(way: str, target: str) -> str:
    """Return a name for a channel; so short a digest tells nothing of an address."""
    import hashlib  # noqa: PLC0415 - few configs have alerts

    return f"{way}-{hashlib.sha256(target.encode('utf-8', 'replace')).hexdigest()[:8]}"


def to_addresses(value: Any) -> tuple[str, ...]:
    """Return one address, or a list of them. Raises ``ValueError`` with a sentence that shows none."""
    given = value if isinstance(value, list) else [value]
    if not given:
        raise ValueError("must have at least one address in its list, or be left out")
    for each in given:
        if not isinstance(each, str):
            raise ValueError(f"{_FORM}, not {describe_type(each)}")
        if not _ADDRESS.fullmatch(each) or len(each) > _MAX_ADDRESS:
            raise ValueError(f"{_FORM}; {_LIST}")
    return tuple(Secret(each) for each in given)


def to_kinds(value: Any) -> tuple[str, ...]:
    """Return kinds of incidents: a list, or one of them."""
    given = value if isinstance(value, list) else [value]
    if not given:
        raise ValueError(f"must name at least one of {', '.join(KINDS)}")
    for each in given:
        if not isinstance(each, str):
            raise ValueError(f"must be a list of {', '.join(KINDS)}, not {describe_type(each)}")
        if each not in KINDS:
            shown = repr(each) if may_show(each) else "what is written here"
            raise ValueError(f"has no kind of incidents {shown}; {nearest(each, KINDS)}")
    return tuple(dict.fromkeys(map(str, given)))


def to_quiet(value: Any) -> Hours | None:
    """Return the quiet hours. Raises ``ValueError`` with a sentence."""
    return to_hours(value)


def to_command(value: Any, folder: Path) -> tuple[str, ...]:
    """Return the words of a command; its program has to exist. A path with a slash in it starts at ``folder``."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        words = [str(each) for each in value]
    elif isinstance(value, str):
        try:
            words = shlex.split(value)
        except ValueError:
            raise ValueError("has a quote that does not end; write the command as in a shell, or as a list") from None
    else:
        raise ValueError(f"must be a command, such as notify-me --urgent, not {describe_type(value)}")
    if not words or not words[0] or any("\0" in word for word in words):
        raise ValueError("must be a command, such as notify-me --urgent, and not empty")
    import shutil  # noqa: PLC0415 - few configs have a command

    program = os.path.expanduser(words[0])
    found = shutil.which(str(folder / program) if "/" in program else program)
    if found is None:
        raise ValueError(f"names a program that cannot be run ({_named(program)}); install it, or give its whole path")
    return (os.path.abspath(found), *words[1:])


def _named(program: str) -> str:
    return repr(program) if may_show(program) else "the one that is written here"


def to_entries(value: Any) -> list[Any]:
    """Return the list of entries; it may be empty. Raises ``ValueError`` with a sentence."""
    if not isinstance(value, list | None):
        raise ValueError(f"must be a list of entries such as - to: ${{OPS_URL}}, not {describe_type(value)}")
    if len(value or []) > MAX_CHANNELS:
        raise ValueError(f"must have at most {MAX_CHANNELS} entries")
    return value or []


def find_unusable(alerts: tuple[AlertConfig, ...], plain: object) -> Iterator[Problem]:
    """Yield the addresses that Apprise refuses, and those that are there twice. Loads Apprise if there is an address.

    ``plain`` is the section as it is written: a list of addresses, or one, has its place in it.
    """
    entries = plain if isinstance(plain, list) else []
    first: dict[str, int] = {}
    for index, alert in enumerate(alerts):
        for number, channel in enumerate(alert.channels):
            if (earlier := first.setdefault(channel, index)) != index or alert.channels.index(channel) != number:
                text = f"alerts[{earlier}] has the same target; tell all that it should be told in one entry"
                yield Problem(_place(entries, index, number, alert), text)
    if not any(alert.to for alert in alerts):
        return
    from adapters.alerts.addresses import refusal  # noqa: PLC0415 - Apprise takes most of a second to load

    for index, alert in enumerate(alerts):
        for number, address in enumerate(alert.to):
            if (why := refusal(address)) is not None:
                text = f"Apprise cannot use this {scheme_of(address)}:// address ({why}); correct it: {_LIST}"
                yield Problem(_place(entries, index, number, alert), text)


def _place(entries: list[Any], index: int, number: int, alert: AlertConfig) -> KeyPath:
    if alert.exec:
        return "alerts", index, "exec"
    listed = index < len(entries) and isinstance(entries[index], dict) and isinstance(entries[index].get("to"), list)
    return ("alerts", index, "to", number) if listed else ("alerts", index, "to")
