"""The commands that what to do about an incident comes to: they can be typed as they are."""

from collections.abc import Mapping, Sequence
from typing import Final

from engine.console.shell import engine_command
from states.incident import IncidentKind
from states.snapshot import Action

ACCOUNT: Final = object()
"""Stands for the account in an entry below."""
CAUSE: Final = object()
"""Stands for the incident's cause: the kind of the jobs that failed."""

MAX_COMMAND: Final = 800
"""Characters of a command; nobody types a longer one, and none of it may be left out."""

_Step = tuple[str, tuple[object, ...], tuple[str | object, ...]]
"""A command: its name, its words after the config, and its options."""

_LOOK: Final[_Step] = ("log", (), ("--account", ACCOUNT, "--failed", "-n", "10"))
_LOG_IN: Final[_Step] = ("login", (ACCOUNT,), ())
_RETRY: Final[_Step] = ("retry", (ACCOUNT,), ())
_DOCTOR: Final[_Step] = ("doctor", (), ())
_OF_ACTIONS: Final[Mapping[str, tuple[_Step, ...]]] = {
    Action.LOG_IN.value: (_LOG_IN,),
    Action.STOP_OTHER_COPY.value: (_DOCTOR, _LOG_IN),
    Action.APPEAL.value: (_LOOK,),
    Action.RESTORE_SESSION.value: (("session restore", (ACCOUNT,), ()),),
    Action.MEND_CONFIG.value: (_DOCTOR, ("reload", (), ()), _RETRY),
    Action.RETRY.value: (_LOOK, _RETRY),
}
_OF_KINDS: Final[Mapping[str, tuple[_Step, ...]]] = {
    IncidentKind.OUTAGE.value: (_LOOK, _DOCTOR),
    IncidentKind.FLAPPING.value: (_LOOK, ("log stats", (), ("--since", "24h"))),
    IncidentKind.STORAGE.value: (_DOCTOR,),
    IncidentKind.LIMITED.value: (_RETRY,),
    IncidentKind.STALLED.value: (("log", (), ("--account", ACCOUNT, "--event", "UpdatesStalled", "-n", "10")), _RETRY),
    IncidentKind.JOB_FAILED.value: (("jobs list", (), ("--state", "failed", "--kind", CAUSE)),),
    IncidentKind.CHANNEL.value: (("alerts test", (), ()),),
}


def commands_for(kind: str, cause: str, accounts: Sequence[str], config: object) -> list[str]:
    """Return the commands for an open incident, in their order; of several accounts they name the first.

    ``config`` is the config's path as it is typed, or empty. A command about an account is left out where no account is
    in the incident, and where many lost their connection together.
    """
    steps = _OF_ACTIONS.get(cause, ()) if kind == IncidentKind.NEEDS_PERSON.value else _OF_KINDS.get(kind, ())
    if kind in (IncidentKind.OUTAGE.value, IncidentKind.FLAPPING.value):  # one alone: its own log; many: all together
        steps = steps[:1] if len(accounts) == 1 else steps[1:]
    found = []
    for verb, words, options in steps:
        if ACCOUNT in (*words, *options) and not accounts:
            continue
        given = [accounts[0] if word is ACCOUNT else word for word in words]
        made = [str(accounts[0] if each is ACCOUNT else cause if each is CAUSE else each) for each in options]
        found.append(engine_command(verb, *([config] if config else []), *given, options=_joined(made)))
    return [each for each in found if len(each) <= MAX_COMMAND]


def _joined(options: Sequence[str]) -> list[str]:
    """Return options with their values: one that begins with a dash stands behind ``=``."""
    found: list[str] = []
    for each in options:
        if found and each.startswith("-") and found[-1] in ("--account", "--kind"):
            found[-1] = f"{found[-1]}={each}"
        else:
            found.append(each)
    return found


def is_for_the_first(commands: Sequence[str], accounts: Sequence[str], kind: str) -> bool:
    """Return whether the commands have to be given for each account, and name the first one alone."""
    single = (IncidentKind.NEEDS_PERSON.value, IncidentKind.LIMITED.value, IncidentKind.STALLED.value)
    return bool(commands) and len(accounts) > 1 and kind in single
