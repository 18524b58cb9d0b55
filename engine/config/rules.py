"""Rules about more than one value. They read the plain document: one bad value hides no other problem."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from engine.config.document import Problem, may_show
from engine.config.types import Do, nearest
from engine.config.values import to_session

_LASTING: Final = frozenset(do for do in Do if do.lasts)


def rule_problems(document: dict[str, Any], folder: Path) -> Iterator[Problem]:
    """Yield what is wrong between values: names, session files and the sandbox's scenario."""
    accounts = list(_mappings(document.get("accounts")))
    yield from _equal_names(accounts)
    yield from _shared_sessions(accounts, folder)
    names = {account["name"]: account.get("phone") for _, account in accounts if isinstance(account.get("name"), str)}
    yield from _sandbox(document, names)


def _mappings(items: object) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict):
            yield index, item


def _equal_names(accounts: list[tuple[int, dict[str, Any]]]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, account in accounts:
        name = account.get("name")
        if isinstance(name, str) and (earlier := first.setdefault(name, index)) != index:
            text = f"accounts[{earlier}] and accounts[{index}] have the same name{_shown(account)}; rename one of them"
            yield Problem(("accounts", index, "name"), text)


def _shared_sessions(accounts: list[tuple[int, dict[str, Any]]], folder: Path) -> Iterator[Problem]:
    first: dict[object, tuple[int, dict[str, Any]]] = {}
    for index, account in accounts:
        for identity in _identities(account.get("session"), folder):
            earlier, other = first.setdefault(identity, (index, account))
            if earlier != index:
                yield Problem(
                    ("accounts", index, "session"),
                    f"accounts[{earlier}]{_shown(other)} and accounts[{index}]{_shown(account)} use the same file; "
                    "give each account a session of its own",
                )
                break


def _identities(session: object, folder: Path) -> Iterator[object]:
    """Yield what makes a session file the same as another: its path without links and, if it exists, its inode."""
    try:
        path = to_session(session, folder)
    except Exception:  # on record already, by the one who structures it
        return
    yield path
    try:
        status = os.stat(path)
    except OSError:
        return
    yield status.st_dev, status.st_ino


def _sandbox(document: dict[str, Any], phones: dict[str, Any]) -> Iterator[Problem]:
    section, telegram = document.get("sandbox"), document.get("telegram")
    if section is None:
        return
    if isinstance(telegram, dict) and isinstance(telegram.get("datacenter"), dict | None):  # else: sandbox, or bad
        yield Problem(
            ("sandbox",), "works only with telegram.datacenter: sandbox; set that, or remove the section sandbox"
        )
    scenario = section.get("scenario") if isinstance(section, dict) else None
    for index, step in _mappings(scenario):
        for key, text in _step_faults(step, phones):
            yield Problem(("sandbox", "scenario", index, *key), text)


def _step_faults(step: dict[str, Any], phones: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the key (or none, for the step itself) and the text of each fault of one step."""
    do, account = step.get("do"), step.get("account")
    if isinstance(do, str) and do in tuple(Do):
        if do in _LASTING and step.get("for") is None:
            yield (), f"{do} lasts, and needs to know how long; add for: 10s"
        if do not in _LASTING and step.get("for") is not None:
            yield ("for",), f"{do} happens at once and takes no 'for'; remove it"
        if do != Do.MESSAGE and step.get("text") is not None:
            yield ("text",), f"{do} takes no text, only message does; remove it"
        if do == Do.MESSAGE and account is None:
            yield (), "a message goes to one account; add account: with its name"
    if isinstance(account, str) and phones:
        if account not in phones:
            yield ("account",), f"no account has this name; {nearest(account, phones)}"
        elif phones[account] is None:
            yield ("account",), "the sandbox knows accounts by their phone, and this one has none; give it one"


def _shown(account: dict[str, Any]) -> str:
    name = account.get("name")
    return f" ({str(name)!r})" if isinstance(name, str) and may_show(name) else ""
