"""Rules about more than one value of the section ``sandbox``: its groups, and the steps of its scenario."""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from adapters.sandbox.faults.kinds import MAX_DELAY_SECONDS, FaultKind
from engine.config.document import Problem
from engine.config.rules import select_mappings
from engine.config.scenario import (
    DO_VALUES,
    EXAMPLES,
    Do,
    StepCommand,
    allowed_keys,
    codes_of,
    needs_end,
    requests_of,
    required_keys,
    texts_of,
    to_do,
)
from engine.config.values import to_offset
from engine.console.format import nearest

STEP_KEYS: Final = ("for", "times", "request", "code", "text", "seconds", "channel")
MISSING: Final[Mapping[tuple[Do, str], str]] = {
    (StepCommand.MESSAGE, "account"): "a message goes to one account; add account: with its name"
}
ERROR_TEXT: Final = re.compile(r"[A-Za-z0-9_]{1,128}")


def check_sandbox(document: dict[str, Any], phones: dict[str, Any]) -> Iterator[Problem]:
    """Yield the conflicts of the section ``sandbox``; ``phones`` has the accounts by their names."""
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
    for index, step in select_mappings(scenario):
        for path, text in _check_step(step, phones):
            yield Problem(("sandbox", "scenario", index, *path), text)


def _find_equal_groups(groups: object) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, group in select_mappings(groups):
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
    request, requests = step.get("request"), requests_of(do)
    if (
        requests
        and isinstance(request, str)
        and not any(fnmatchcase(name.lower(), request.lower()) for name in requests)
    ):
        yield ("request",), f"must be {' or '.join(requests)} for {do}"
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
