"""The commands of the control connection, as values and as JSON objects.

One command is one object: {"do": "reset", "account": "+9996620001"}, {"do": "blackhole", "for": 8}, {"do":
"rpc_error", "code": 420, "text": "FLOOD_WAIT_30", "request": "updates.*", "times": 2}. What is wrong with a command
is said in a sentence (SandboxError), never shrugged at.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import asdict, frozen

from adapters.sandbox.control import login_commands
from adapters.sandbox.control.fields import (
    flag,
    number,
    seconds_or_none,
    text,
    text_or_none,
    texts,
    whole,
    whole_or_none,
)
from adapters.sandbox.control.login_commands import LoginCommand
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.faults.fault import Fault
from adapters.sandbox.faults.kinds import FAULT_RULES, OPTION_KEYS, FaultKind

MAX_STEPS: Final = 1000
MAX_SCENARIO_SECONDS: Final = 24 * 3600.0


@frozen
class Clear:
    """End the faults of one account, or with None all of them."""

    account: str | None = None


@frozen
class Push:
    """A new message for an account; without a sender it comes from Telegram itself."""

    account: str
    text: str
    sender: str | None = None


@frozen
class CreateChannel:
    """A public channel or, as a megagroup, a group; its members and admins are phone numbers."""

    username: str
    title: str
    megagroup: bool = False
    members: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()


@frozen
class PostMessage:
    """A new message in a channel; without a sender the channel itself speaks."""

    username: str
    text: str
    sender: str | None = None


@frozen
class Fill:
    """Give a channel a history, until it has at least this many messages."""

    username: str
    upto: int


@frozen
class GetHistory:
    """Tell what was written in a channel after this message, as much as one answer holds."""

    username: str
    after: int = 0


@frozen
class Listen:
    """Open the account's own port."""

    account: str


@frozen
class Authorize:
    """Make an auth key that is logged in as this account, so that a client needs no login."""

    account: str


@frozen
class ResetCounters:
    """Count the most handshakes at once anew, from those that are under way now."""


@frozen
class GetStats:
    """Tell what happened so far."""


Action: TypeAlias = Fault | Clear | Push | PostMessage
"""What a scenario can do."""


@frozen
class TimedAction:
    """One moment of a scenario. Raises SandboxError for a time out of range."""

    at: float
    """Seconds since the scenario was started."""
    fault: Action
    """What is done then: nearly always a fault; `Clear`, `Push` and `Post` are allowed too."""

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.at <= MAX_SCENARIO_SECONDS:
            raise SandboxError(
                f"A step of a scenario is at 0 to {MAX_SCENARIO_SECONDS:.0f} s after its start, not at {self.at} s."
            )


@frozen
class Scenario:
    """Steps that are done in the order of their times, beginning now."""

    steps: tuple[TimedAction, ...]


Command: TypeAlias = (
    Action | CreateChannel | Fill | GetHistory | Listen | Authorize | ResetCounters | GetStats | LoginCommand | Scenario
)

KEYS: Final[Mapping[str, frozenset[str]]] = {
    **{kind.value: frozenset({"account", "for", *rule.keys}) for kind, rule in FAULT_RULES.items()},
    "clear": frozenset({"account"}),
    "push": frozenset({"account", "text", "sender"}),
    "channel": frozenset({"username", "title", "megagroup", "members", "admins"}),
    "post": frozenset({"username", "text", "sender"}),
    "fill": frozenset({"username", "upto"}),
    "history": frozenset({"username", "after"}),
    "listen": frozenset({"account"}),
    "authorize": frozenset({"account"}),
    **login_commands.KEYS,
    "mark": frozenset(),
    "stats": frozenset(),
    "scenario": frozenset({"steps"}),
}
"""Each command with the keys that it knows, besides `do`."""


def parse(record: object) -> Command:
    """The command that a JSON object means. Raises SandboxError, with a sentence, for any other."""
    if not isinstance(record, dict):
        raise SandboxError('A command is a JSON object such as {"do": "stats"}.')
    do = record.get("do")
    if not isinstance(do, str) or do not in KEYS:
        raise SandboxError(f"There is no command {do!r}; 'do' is one of {', '.join(KEYS)}.")
    if unknown := sorted(str(key) for key in record.keys() - KEYS[do] - {"do"}):
        known = ", ".join(sorted(KEYS[do])) or "no other key"
        raise SandboxError(f"'{do}' has no key {', '.join(unknown)}; it knows {known}.")
    if do in login_commands.KEYS:
        return login_commands.parse(do, record)
    match do:
        case "clear":
            return Clear(text_or_none(record, "account"))
        case "push":
            return Push(text(record, "account"), text(record, "text"), text_or_none(record, "sender"))
        case "channel":
            return CreateChannel(
                text(record, "username"),
                text(record, "title"),
                flag(record, "megagroup"),
                texts(record, "members"),
                texts(record, "admins"),
            )
        case "post":
            return PostMessage(text(record, "username"), text(record, "text"), text_or_none(record, "sender"))
        case "fill":
            return Fill(text(record, "username"), whole(record, "upto"))
        case "history":
            return GetHistory(text(record, "username"), number(record, "after"))
        case "listen":
            return Listen(text(record, "account"))
        case "authorize":
            return Authorize(text(record, "account"))
        case "mark":
            return ResetCounters()
        case "stats":
            return GetStats()
        case "scenario":
            return _scenario(record.get("steps"))
    return Fault(
        FaultKind(do),
        account=text_or_none(record, "account"),
        duration=seconds_or_none(record, "for"),
        times=whole_or_none(record, "times"),
        request=text_or_none(record, "request"),
        code=whole_or_none(record, "code"),
        text=text_or_none(record, "text"),
        seconds=seconds_or_none(record, "seconds"),
    )


def encode(command: Command) -> dict[str, Any]:
    """The JSON object that means this command; the inverse of `parse`."""
    match command:
        case Fault():
            options = {key: getattr(command, key) for key in OPTION_KEYS}
            record = {"do": command.kind.value, "account": command.account, "for": command.duration, **options}
        case Clear():
            record = {"do": "clear", "account": command.account}
        case Push():
            record = {"do": "push", "account": command.account, "text": command.text, "sender": command.sender}
        case CreateChannel():
            record = {"do": "channel", **asdict(command)}
        case PostMessage():
            record = {"do": "post", **asdict(command)}
        case Fill():
            record = {"do": "fill", **asdict(command)}
        case GetHistory():
            record = {"do": "history", **asdict(command)}
        case Listen():
            record = {"do": "listen", "account": command.account}
        case Authorize():
            record = {"do": "authorize", "account": command.account}
        case ResetCounters():
            record = {"do": "mark"}
        case GetStats():
            record = {"do": "stats"}
        case LoginCommand():
            record = login_commands.encode(command)
        case Scenario():
            return {"do": "scenario", "steps": [{"at": step.at, **encode(step.fault)} for step in command.steps]}
    return {key: value for key, value in record.items() if value is not None}


def scenario(steps: Sequence[TimedAction]) -> Scenario:
    """A scenario of these steps. Raises SandboxError when there are too many."""
    if len(steps) > MAX_STEPS:
        raise SandboxError(f"A scenario has at most {MAX_STEPS} steps, not {len(steps)}.")
    return Scenario(tuple(sorted(steps, key=lambda step: step.at)))


def _scenario(steps: object) -> Scenario:
    if not isinstance(steps, list):
        raise SandboxError("'steps' of a scenario is a list of commands, each with its 'at' in seconds.")
    return scenario([_step(number, record) for number, record in enumerate(steps, 1)])


def _step(number: int, record: object) -> TimedAction:
    try:
        if not isinstance(record, dict):
            raise SandboxError('A step is a command with a time, such as {"at": 5, "do": "reset"}.')
        at = seconds_or_none(record, "at")
        if at is None:
            raise SandboxError("'at' is missing; it says after how many seconds.")
        action = parse({key: value for key, value in record.items() if key != "at"})
        if not isinstance(action, Action):
            raise SandboxError(f"A scenario cannot do '{record['do']}'; it can do faults, clear, push and post.")
        return TimedAction(at, action)
    except SandboxError as error:
        raise SandboxError(f"Step {number} of the scenario: {error}") from error
