"""Rules about more than one value. They read the plain document, so that one bad value hides no other problem."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from adapters.file_names import EXTENSION, misplaced_secret, pasted_secret
from engine.config.document import Problem
from engine.console.format import may_show, nearest
from engine.console.names import addressed


def find_conflicts(document: dict[str, Any], to_session: Callable[[Any], Path], origin: list[int]) -> Iterator[Problem]:
    """Yield the conflicts between values: names, session files, modules, the sandbox's groups and its scenario.

    ``to_session`` returns the path of a session. ``origin`` has for each account the number of the entry in the file
    from which it comes.
    """
    accounts = list(select_mappings(document.get("accounts")))
    yield from _find_equal_names(accounts, origin)
    yield from _find_pasted_names(accounts)
    yield from _find_double_logins(accounts)
    yield from _find_shared_sessions(accounts, to_session, origin)
    storage = document.get("storage")
    if isinstance(storage, dict) and storage.get("session_key") and not storage.get("database"):
        text = "only sessions in a database are encrypted; name one in storage.database, or leave it out"
        yield Problem(("storage", "session_key"), text)
    names = {account["name"]: account.get("phone") for _, account in accounts if isinstance(account.get("name"), str)}
    if document.get("sandbox") is not None:
        from engine.config.scenario_rules import check_sandbox  # noqa: PLC0415 - it knows all faults

        yield from check_sandbox(document, names)
    yield from _find_unmatched_modules(document.get("work"), list(names))
    yield from _find_unmatched_programs(document.get("remote"), list(names))


def select_mappings(items: object) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the mappings of a list, each with its number; nothing for what is no list."""
    for index, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict):
            yield index, item


def _find_equal_names(accounts: list[tuple[int, dict[str, Any]]], origin: list[int]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, account in accounts:
        name = account.get("name")
        if isinstance(name, str) and (earlier := first.setdefault(name, index)) != index:
            if origin[earlier] == origin[index]:
                continue  # files of one wildcard, reported already
            both = f"accounts[{origin[earlier]}] and accounts[{origin[index]}]"
            text = f"{both} have the same name{_show_name(account)}; rename one of them"
            yield Problem(("accounts", index, "name"), text)


def _find_pasted_names(accounts: list[tuple[int, dict[str, Any]]]) -> Iterator[Problem]:
    """Yield names that look like secrets; an account may have the name of its session file, whatever that is."""
    for index, account in accounts:
        name, session = account.get("name"), account.get("session")
        if not isinstance(name, str) or misplaced_secret(name) is not None:  # the latter is reported by its type
            continue
        if (secret := pasted_secret(name)) is None:
            continue
        if not isinstance(session, str) or Path(session).name.removesuffix(EXTENSION) != name:
            text = f"must be what the account is called, and what is written here looks {secret}; give it another name"
            yield Problem(("accounts", index, "name"), text)


def _find_double_logins(accounts: list[tuple[int, dict[str, Any]]]) -> Iterator[Problem]:
    for index, account in accounts:
        if account.get("phone") is not None and account.get("bot_token") is not None:
            text = "a bot logs in with its token, and has no phone; remove one of the two"
            yield Problem(("accounts", index, "bot_token"), text)


def _find_shared_sessions(
    accounts: list[tuple[int, dict[str, Any]]], to_session: Callable[[Any], Path], origin: list[int]
) -> Iterator[Problem]:
    first: dict[object, tuple[int, dict[str, Any]]] = {}
    for index, account in accounts:
        for identity in _identify_session(account.get("session"), to_session):
            earlier, other = first.setdefault(identity, (index, account))
            if earlier != index:
                both = (
                    f"accounts[{origin[earlier]}]{_show_name(other)} and accounts[{origin[index]}]{_show_name(account)}"
                )
                text = f"{both} use the same file; give each account a session of its own"
                yield Problem(("accounts", index, "session"), text)
                break


def _identify_session(session: object, to_session: Callable[[Any], Path]) -> Iterator[object]:
    """Yield what identifies a session file: its path without links and, if it exists, its inode."""
    try:
        path = to_session(session)
    except Exception:  # reported already, by the converter
        return
    yield path
    try:
        status = os.stat(path)
    except OSError:
        return
    yield status.st_dev, status.st_ino


def _find_unmatched_modules(work: object, names: list[str]) -> Iterator[Problem]:
    modules = work.get("modules") if isinstance(work, dict) else None
    for index, module in select_mappings(modules):
        for text in _unmatched(module.get("accounts"), names):
            yield Problem(("work", "modules", index, "accounts"), text)


def _find_unmatched_programs(remote: object, names: list[str]) -> Iterator[Problem]:
    programs = remote.get("programs") if isinstance(remote, dict) else None
    for name, program in programs.items() if isinstance(programs, dict) else ():
        for text in _unmatched(program.get("accounts") if isinstance(program, dict) else None, names):
            yield Problem(("remote", "programs", name, "accounts"), text)


def _unmatched(given: object, names: list[str]) -> Iterator[str]:
    """Yield a sentence for each pattern that means no account."""
    for pattern in given if isinstance(given, list) else [given]:
        if isinstance(pattern, str) and pattern and not addressed(names, [pattern]):
            wanted = repr(pattern) if may_show(pattern) else "what is written here"
            yield f"no account is named like {wanted}; {nearest(pattern, names)}"


def _show_name(account: dict[str, Any]) -> str:
    name = account.get("name")
    return f" ({str(name)!r})" if isinstance(name, str) and may_show(name) else ""
