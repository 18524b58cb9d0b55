"""The section ``sandbox``: its groups and jobs, the steps of a scenario, and the keys that a step needs and takes."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias

import attrs
from attrs import field, frozen

from adapters.sandbox.faults.kinds import FAULT_RULES, MAX_CODE, MAX_TEXT, MAX_TIMES, FaultKind

_MIN_CHAOS: Final = 10.0  # s; below, no account has the time to heal
_MAX_CHAOS: Final = 86_400.0  # s
_MAX_SEED: Final = 2**63 - 1
_GROUP_NAME: Final = re.compile(r"(?!user\d+$|bot\d+_bot$)[a-z][a-z0-9_]{3,31}", re.ASCII | re.IGNORECASE)
_MAX_GROUPS: Final = 100
_MAX_JOBS: Final = 1000
_MAX_TITLE: Final = 128  # characters
_MAX_MESSAGES: Final = 100_000


class StepCommand(StrEnum):
    """What a step of the sandbox's scenario can do besides injecting a fault."""

    CLEAR = "clear"
    """End the faults of an account, or of all."""
    MESSAGE = "message"
    """Send an account a message."""


Do: TypeAlias = FaultKind | StepCommand
"""What a step of the sandbox's scenario does to an account, or to all."""
DO_VALUES: Final[tuple[Do, ...]] = (*FaultKind, *StepCommand)


def to_do(value: str) -> Do:
    """Return what the word of a config means. Raises ValueError for a word that means nothing."""
    return StepCommand(value) if value in tuple(StepCommand) else FaultKind(value)


def required_keys(do: Do) -> tuple[str, ...]:
    """Return the keys without which a step means nothing; ``at`` and ``do`` apart."""
    match do:
        case StepCommand.CLEAR:
            return ()
        case StepCommand.MESSAGE:
            return ("account",)
        case _:
            return FAULT_RULES[do].required


def allowed_keys(do: Do) -> tuple[str, ...]:
    """Return the keys that a step may have; ``at``, ``do`` and ``account`` apart."""
    match do:
        case StepCommand.CLEAR:
            return ()
        case StepCommand.MESSAGE:
            return ("text",)
        case _:
            return ("for", *FAULT_RULES[do].keys)


def needs_end(do: Do) -> bool:
    """Return whether a step has to say when it ends, because what it does goes on for a while.

    What the operator has to mend (a revoked login, a forgotten key) may last until a step ``clear``.
    """
    return isinstance(do, FaultKind) and not (FAULT_RULES[do].once or FAULT_RULES[do].needs_operator)


def codes_of(do: Do) -> tuple[int, ...]:
    """Return the codes that exist; empty for a step that may have any code or none."""
    return FAULT_RULES[do].codes if isinstance(do, FaultKind) else ()


def texts_of(do: Do) -> tuple[str, ...]:
    """Return the texts that exist; empty for a step that may have any text or none."""
    return FAULT_RULES[do].texts if isinstance(do, FaultKind) else ()


def requests_of(do: Do) -> tuple[str, ...]:
    """Return the requests that a step can hit; empty for a step that can hit any or none."""
    return FAULT_RULES[do].requests if isinstance(do, FaultKind) else ()


EXAMPLES: Final[Mapping[str, str]] = {"code": "420", "text": "FLOOD_WAIT_30", "seconds": "2s"}


def _times(_: Any, attribute: "attrs.Attribute[Any]", value: int | None) -> None:
    if value is not None and not 1 <= value <= MAX_TIMES:
        raise ValueError(f"{attribute.name} must be from 1 to {MAX_TIMES}")


def _code(_: Any, attribute: "attrs.Attribute[Any]", value: int | None) -> None:
    if value is not None and not 1 <= abs(value) <= MAX_CODE:
        raise ValueError(f"{attribute.name} must be the code of an error, like 420 or -503")


def _words(_: Any, attribute: "attrs.Attribute[Any]", value: str | None) -> None:
    if value is not None and not (1 <= len(value) <= MAX_TEXT and value.isprintable()):
        raise ValueError(f"{attribute.name} must be 1 to {MAX_TEXT} printable characters")


def _seed(_: Any, attribute: "attrs.Attribute[Any]", value: int | None) -> None:
    if value is not None and not 0 <= value <= _MAX_SEED:
        raise ValueError(f"{attribute.name} must be a whole number from 0 to {_MAX_SEED}")


def _chaos_time(_: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not _MIN_CHAOS <= value <= _MAX_CHAOS:
        raise ValueError(f"must be from {_MIN_CHAOS:.0f}s to {_MAX_CHAOS / 3600:.0f}h")


def _group_name(_: Any, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not _GROUP_NAME.fullmatch(value):
        raise ValueError(
            f"{attribute.name} must be 4 to 32 letters, digits and _, a letter first, and no account's username "
            "(user and a number), like holdfast_news"
        )


def _title(_: Any, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not (1 <= len(value) <= _MAX_TITLE and value.isprintable() and value.strip()):
        raise ValueError(f"{attribute.name} must be 1 to {_MAX_TITLE} printable characters, and not only blanks")


def _messages(_: Any, attribute: "attrs.Attribute[Any]", value: int) -> None:
    if not 0 <= value <= _MAX_MESSAGES:
        raise ValueError(f"{attribute.name} must be a whole number from 0 to {_MAX_MESSAGES}")


def _few_jobs(_: Any, attribute: "attrs.Attribute[Any]", value: tuple[object, ...]) -> None:
    if len(value) > _MAX_JOBS:
        raise ValueError(f"{attribute.name} must be at most {_MAX_JOBS}; add more by 'jobs add --file'")


def _few_groups(_: Any, attribute: "attrs.Attribute[Any]", value: tuple[object, ...]) -> None:
    if len(value) > _MAX_GROUPS:
        raise ValueError(f"{attribute.name} must be at most {_MAX_GROUPS}; remove some")


@frozen(kw_only=True)
class Group:
    """A group in the sandbox, of which all accounts of the config are members; ``name`` is its public username.

    It has at least ``messages`` messages before the engine starts.
    """

    name: str = field(validator=_group_name)
    """The public username: 4 to 32 letters, digits and ``_``, a letter first."""
    title: str = field(default=attrs.Factory(lambda group: group.name, takes_self=True), validator=_title)
    """The title that people see."""
    messages: int = field(default=0, validator=_messages)
    """How many messages the group's history has, at least, when the engine starts; at most 100,000."""


@frozen(kw_only=True)
class SandboxJob:
    """A job that is added ``times`` times when the engine starts, unless a job like it is still to be done."""

    kind: str
    """The kind of job."""
    data: dict[str, Any]
    """What the job is given."""
    account: str | None = None
    """The account that does it. Left out, any healthy account."""
    times: int = field(default=1, validator=_times)
    """How many such jobs are added, unless one like it is still to be done; at most 10,000."""


@frozen(kw_only=True)
class ScenarioStep:
    """``at`` seconds after the start the sandbox does ``do``, for ``duration`` seconds (key ``for``) or ``times``.

    ``account`` None means all accounts. ``request`` is a pattern of method names, such as ``updates.getState``;
    ``code`` and ``text`` describe an error, ``text`` also the text of a ``message``; ``seconds`` is how slow an answer
    or how wrong a clock is.
    """

    at: float
    """When the step begins, counted from the start."""
    do: Do
    """What happens."""
    account: str | None = None
    """The account that it happens to. Left out, all accounts."""
    duration: float | None = None
    """How long it lasts."""
    times: int | None = field(default=None, validator=_times)
    """After how many times it is over; at most 10,000."""
    request: str | None = field(default=None, validator=_words)
    """Which requests it happens to: a method's name such as ``updates.getState``, or a pattern such as
    ``messages.*``."""
    code: int | None = field(default=None, validator=_code)
    """The code of the error, such as ``420`` or ``-429``."""
    text: str | None = None
    """The text of the error, such as ``FLOOD_WAIT_30``, or of the ``message``."""
    seconds: float | None = None
    """How slow an answer is, or how far a clock is ahead (behind, with a minus)."""
    channel: str | None = field(default=None, validator=_words)
    """The username of the group whose updates it happens to. Left out, all updates."""


@frozen
class Chaos:
    """A random scenario, made by the sandbox from the section's seed."""


@frozen(kw_only=True)
class SandboxSection:
    """The sandbox's groups and jobs, and the faults in it while the engine runs: a list of steps, or random ones.

    ``seed`` and ``duration`` (key ``for``, seconds) belong to ``Chaos``; without a seed each run has its own.
    """

    scenario: Chaos | tuple[ScenarioStep, ...] = ()
    """What the sandbox does, and when: a list of steps, or ``chaos`` for everything that heals by itself, at random."""
    seed: int | None = field(default=None, validator=_seed)
    """The seed of ``chaos``: the same seed is the same chaos. Left out, each run has its own."""
    duration: float = field(default=120.0, validator=_chaos_time)
    """How long ``chaos`` lasts, from 10 s to 24 h."""
    groups: tuple[Group, ...] = field(default=(), validator=_few_groups)
    """Groups with a history, with all accounts in them; at most 100."""
    jobs: tuple[SandboxJob, ...] = field(default=(), validator=_few_jobs)
    """Jobs that are added when the engine starts; at most 1000."""
