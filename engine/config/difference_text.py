"""A difference of two configs as lines for people."""

from collections.abc import Iterator, Sequence
from typing import Final

from engine.config.difference import AccountChange, ConfigDifference, Setting
from engine.console.safe_text import one_line

MOST_NAMES: Final = 8
"""Names in one line; ``--json`` has them all."""
MOST_CHANGES: Final = 20
"""Accounts that have a line of their own."""


def lines(found: ConfigDifference) -> list[str]:
    """Return what is to be done, in lines; with refusals only these, because then nothing is done."""
    if found.refused:
        return [one_line(each.sentence) for each in found.refused]
    if found.is_empty:
        return ["Nothing has changed"]
    return [one_line(line) for line in _lines(found)]


def _lines(found: ConfigDifference) -> Iterator[str]:
    yield from _named("added", found.added)
    yield from _named("removed (closed in order, and what is stored is kept)", found.removed)
    for each in found.renamed[:MOST_CHANGES]:
        yield f"{each.former} is called {each.name} now{_with(each.settings)}; it reconnects with the same login"
    yield from _rest(found.renamed)
    others = [each for each in found.changed if each.former is None and each.settings]
    for each in others[:MOST_CHANGES]:
        yield f"{each.name}: {_settings(each.settings)}{'; it reconnects' if each.reconnects else ''}"
    yield from _rest(others)
    for setting in found.settings:
        yield f"{setting.key}: {_change(setting)}"
    for name in found.code:
        yield f"{name} has other code: jobs that run end with the old, those that begin have the new"
    reconnecting = len(found.reconnecting)
    if reconnecting > len(others) + len(found.renamed):
        yield f"{_accounts(reconnecting)} will reconnect"
    yield f"{_accounts(found.kept)} will keep {'its' if found.kept == 1 else 'their'} connection"


def _named(what: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        yield f"{_accounts(len(names))} {what}: {', '.join(names[:MOST_NAMES])}{more}"


def _rest(changes: Sequence[AccountChange]) -> Iterator[str]:
    if len(changes) > MOST_CHANGES:
        yield f"… and {len(changes) - MOST_CHANGES} more"


def _accounts(count: int) -> str:
    return "1 account" if count == 1 else f"{count} accounts"


def _with(settings: Sequence[Setting]) -> str:
    return f" ({_settings(settings)})" if settings else ""


def _settings(settings: Sequence[Setting]) -> str:
    return ", ".join(f"{each.key}: {_change(each)}" for each in settings)


def _change(setting: Setting) -> str:
    return "another value, which is not shown" if setting.hidden else f"{setting.before} → {setting.after}"
