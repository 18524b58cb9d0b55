"""Rules about more than one value. They read the plain document, so that one bad value hides no other problem."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from adapters.file_names import EXTENSION, misplaced_secret, pasted_secret
from adapters.sandbox.faults.kinds import MAX_DELAY_SECONDS, FaultKind
from engine.config.document import Problem
from engine.config.scenario import (
    DO_VALUES,
    EXAMPLES,
    Do,
    StepCommand,
    allowed_keys,
    codes_of,
    needs_end,
    required_keys,
    texts_of,
    to_do,
)
from engine.config.values import to_offset
from engine.console.format import may_show, nearest
from engine.console.names import addressed

STEP_KEYS: Final = ("for", "times", "request", "code", "text", "seconds")
MISSING: Final[Mapping[tuple[Do, str], str]] = {
    (StepCommand.MESSAGE, "account"): "a message goes to one account; add account: with its name"
}
ERROR_TEXT: Final = re.compile(r"[A-Za-z0-9_]{1,128}")


def find_conflicts(document: dict[str, Any], to_session: Callable[[Any], Path], origin: list[int]) -> Iterator[Problem]:
    """Yield the conflicts between values: names, session files, modules, the sandbox's groups and its scenario.

    ``to_session`` returns the path of a session. ``origin`` has for each account the number of the entry in the file
    from which it comes.
    """
    accounts = list(_select_mappings(document.get("accounts")))
    yield from _find_equal_names(accounts, origin)
    yield from _find_pasted_names(accounts)
    yield from _find_double_logins(accounts)
    yield from _find_shared_sessions(accounts, to_session, origin)
    names = {account["name"]: account.get("phone") for _, account in accounts if isinstance(account.get("name"), str)}
    yield from _check_sandbox(document, names)
    yield from _find_unmatched_modules(document.get("work"), list(names))


def _select_mappings(items: object) -> Iterator[tuple[int, dict[str, Any]]]:
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


def _check_sandbox(document: dict[str, Any], phones: dict[str, Any]) -> Iterator[Problem]:
    section, telegram = document.get("sandbox"), document.get("telegram")
    if section is None:
        return
    if isinstance(telegram, dict) and isinstance(telegram.get("datacenter"), dict | None):  # else: sandbox, or bad
        yield Problem(
            ("sandbox",), "works only with telegram.datacenter: sandbox; set that, or remove the section sandbox"
        )
    if not isinstance(section, dict):
        return
    scenario = section.get("scenario")
    if scenario == "chaos":
        if phones and not any(phones.values()):
            text = "chaos hurts accounts by their phone, and none has one; add phone: to one at least"
            yield Problem(("sandbox", "scenario"), text)
    else:
        for key in ("seed", "for"):
            if section.get(key) is not None:
                yield Problem(("sandbox", key), f"{key} is for scenario: chaos alone; remove it")
    yield from _find_equal_groups(section.get("groups"))
    for index, step in _select_mappings(scenario):
        for path, text in _check_step(step, phones):
            yield Problem(("sandbox", "scenario", index, *path), text)


def _find_unmatched_modules(work: object, names: list[str]) -> Iterator[Problem]:
    modules = work.get("modules") if isinstance(work, dict) else None
    for index, module in _select_mappings(modules):
        given = module.get("accounts")
        for pattern in given if isinstance(given, list) else [given]:
            if isinstance(pattern, str) and pattern and not addressed(names, [pattern]):
                wanted = repr(pattern) if may_show(pattern) else "what is written here"
                text = f"no account is named like {wanted}; {nearest(pattern, names)}"
                yield Problem(("work", "modules", index, "accounts"), text)


def _find_equal_groups(groups: object) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, group in _select_mappings(groups):
        name = group.get("name")
        if isinstance(name, str) and (earlier := first.setdefault(name.lower(), index)) != index:
            text = f"groups[{earlier}] and groups[{index}] have the same name; rename one of them"
            yield Problem(("sandbox", "groups", index, "name"), text)


def _check_step(step: dict[str, Any], phones: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the key (or none, for the step itself) and the text of each fault of one step."""
    do, account = step.get("do"), step.get("account")
    if isinstance(do, str) and do in DO_VALUES:
        yield from _check_keys(to_do(do), step)
    if isinstance(account, str) and phones:
        if account not in phones:
            yield ("account",), f"no account has this name; {nearest(account, phones)}"
        elif phones[account] is None:
            yield ("account",), "the sandbox knows accounts by their phone, and this one has none; give it one"


def _check_keys(do: Do, step: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    given = {key for key in STEP_KEYS if step.get(key) is not None}
    allowed = allowed_keys(do)
    if needs_end(do) and not given & {"for", "times"}:
        instead = " or times: 3" if "times" in allowed else ""
        yield (), f"{do} lasts, and needs to know how long; add for: 10s{instead}"
    for key in required_keys(do):
        if step.get(key) is None and key == "text" and texts_of(do):
            yield (), f"{do} needs text; add text: {texts_of(do)[0]}"
        elif step.get(key) is None:
            yield (), MISSING.get((do, key)) or f"{do} needs {key}; add {key}: {EXAMPLES[key]}"
    for key in STEP_KEYS:
        if key in given and key not in allowed:
            at_once = "happens at once and " if key == "for" else ""
            yield (key,), f"{do} {at_once}takes no '{key}'; remove it"
    code, text = step.get("code"), step.get("text")
    if (codes := codes_of(do)) and isinstance(code, int) and code not in codes:
        yield ("code",), f"must be one of {', '.join(map(str, codes))} for {do}"
    if (texts := texts_of(do)) and isinstance(text, str) and text not in texts:
        yield ("text",), f"must be one of {', '.join(texts)} for {do}"
    elif (
        "text" in allowed and do is not StepCommand.MESSAGE and isinstance(text, str) and not ERROR_TEXT.fullmatch(text)
    ):
        yield ("text",), "must be the text of an error, like FLOOD_WAIT_30: 1 to 128 letters, digits and _"
    if do is FaultKind.SLOW and _is_bad_delay(step.get("seconds")):
        yield ("seconds",), "must be more than 0 s and at most 1h, because it is a delay"
    if do is FaultKind.CLOCK_OFFSET and _parse_seconds(step.get("seconds")) == 0:
        yield ("seconds",), "must not be 0; write 60s for a clock that is ahead, -400s for one that is behind"


def _is_no_error_text(text: object) -> bool:
    return isinstance(text, str) and not ERROR_TEXT.fullmatch(text)


def _parse_seconds(value: object) -> float | None:
    try:
        return to_offset(value)
    except Exception:  # reported already, by the converter
        return None


def _is_bad_delay(value: object) -> bool:
    seconds = _parse_seconds(value)
    return seconds is not None and not 0 < seconds <= MAX_DELAY_SECONDS


def _show_name(account: dict[str, Any]) -> str:
    name = account.get("name")
    return f" ({str(name)!r})" if isinstance(name, str) and may_show(name) else ""
