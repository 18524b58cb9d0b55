"""The commands of the control connection, as values and as JSON objects.

One command is one object: {"do": "reset", "account": "+9996620001"}, {"do": "blackhole", "for": 8}, {"do":
"rpc_error", "code": 420, "text": "FLOOD_WAIT_30", "request": "updates.*", "times": 2}. What is wrong with a command
is said in a sentence (SandboxError), never shrugged at.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from adapters.sandbox import login_commands
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.faults import OPTION_KEYS, TRAITS, Fault, FaultKind
from adapters.sandbox.login_commands import LoginCommand
from adapters.sandbox.reading import flag, number, seconds_or_none, text, text_or_none, texts, whole, whole_or_none

MOST_STEPS: Final = 1000
LONGEST_SCENARIO_SECONDS: Final = 24 * 3600.0


@attrs.frozen
class Clear:
    """End the faults of one account, or with None all of them."""

    account: str | None = None


@attrs.frozen
class Push:
    """A new message for an account; without a sender it comes from Telegram itself."""

    account: str
    text: str
    sender: str | None = None


@attrs.frozen
class CreateChannel:
    """A public channel or, as a megagroup, a group; its members and admins are phone numbers."""

    username: str
    title: str
    megagroup: bool = False
    members: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()


@attrs.frozen
class Post:
    """A new message in a channel; without a sender the channel itself speaks."""

    username: str
    text: str
    sender: str | None = None


@attrs.frozen
class Fill:
    """Give a channel a history, until it has at least this many messages."""

    username: str
    upto: int


@attrs.frozen
class AskHistory:
    """Tell what was written in a channel after this message, as much as one answer holds."""

    username: str
    after: int = 0


@attrs.frozen
class Listen:
    """Open the account's own port."""

    account: str


@attrs.frozen
class Authorize:
    """Make an auth key that is logged in as this account, so that a client needs no login."""

    account: str


@attrs.frozen
class Mark:
    """Count the most handshakes at once anew, from those that are under way now."""


@attrs.frozen
class AskStats:
    """Tell what happened so far."""


Action: TypeAlias = Fault | Clear | Push | Post
"""What a scenario can do."""


@attrs.frozen
class Step:
    """One moment of a scenario. Raises SandboxError for a time out of range."""

    at: float
    """Seconds since the scenario was started."""
    fault: Action
    """What is done then: nearly always a fault; `Clear`, `Push` and `Post` are allowed too."""

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.at <= LONGEST_SCENARIO_SECONDS:
            raise SandboxError(
                f"A step of a scenario is at 0 to {LONGEST_SCENARIO_SECONDS:.0f} s after its start, not at {self.at} s."
            )


@attrs.frozen
class Scenario:
    """Steps that are done in the order of their times, beginning now."""

    steps: tuple[Step, ...]


Command: TypeAlias = (
    Action | CreateChannel | Fill | AskHistory | Listen | Authorize | Mark | AskStats | LoginCommand | Scenario
)

KEYS: Final[Mapping[str, frozenset[str]]] = {
    **{kind.value: frozenset({"account", "for"}) | TRAITS[kind].keys for kind in FaultKind},
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
            return Post(text(record, "username"), text(record, "text"), text_or_none(record, "sender"))
        case "fill":
            return Fill(text(record, "username"), whole(record, "upto"))
        case "history":
            return AskHistory(text(record, "username"), number(record, "after"))
        case "listen":
            return Listen(text(record, "account"))
        case "authorize":
            return Authorize(text(record, "account"))
        case "mark":
            return Mark()
        case "stats":
            return AskStats()
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
            record = {"do": "channel", **attrs.asdict(command)}
        case Post():
            record = {"do": "post", **attrs.asdict(command)}
        case Fill():
            record = {"do": "fill", **attrs.asdict(command)}
        case AskHistory():
            record = {"do": "history", **attrs.asdict(command)}
        case Listen():
            record = {"do": "listen", "account": command.account}
        case Authorize():
            record = {"do": "authorize", "account": command.account}
        case Mark():
            record = {"do": "mark"}
        case AskStats():
            record = {"do": "stats"}
        case LoginCommand():
            record = login_commands.encode(command)
        case Scenario():
            return {"do": "scenario", "steps": [{"at": step.at, **encode(step.fault)} for step in command.steps]}
    return {key: value for key, value in record.items() if value is not None}


def scenario(steps: Sequence[Step]) -> Scenario:
    """A scenario of these steps. Raises SandboxError when there are too many."""
    if len(steps) > MOST_STEPS:
        raise SandboxError(f"A scenario has at most {MOST_STEPS} steps, not {len(steps)}.")
    return Scenario(tuple(sorted(steps, key=lambda step: step.at)))


def _scenario(steps: object) -> Scenario:
    if not isinstance(steps, list):
        raise SandboxError("'steps' of a scenario is a list of commands, each with its 'at' in seconds.")
    return scenario([_step(number, record) for number, record in enumerate(steps, 1)])


def _step(number: int, record: object) -> Step:
    try:
        if not isinstance(record, dict):
            raise SandboxError('A step is a command with a time, such as {"at": 5, "do": "reset"}.')
        at = seconds_or_none(record, "at")
        if at is None:
            raise SandboxError("'at' is missing; it says after how many seconds.")
        action = parse({key: value for key, value in record.items() if key != "at"})
        if not isinstance(action, Action):
            raise SandboxError(f"A scenario cannot do '{record['do']}'; it can do faults, clear, push and post.")
        return Step(at, action)
    except SandboxError as error:
        raise SandboxError(f"Step {number} of the scenario: {error}") from error
