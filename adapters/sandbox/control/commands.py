"""The commands of the control connection, as values and as JSON objects.

One command is one object: {"do": "reset", "account": "+9996620001"}, {"do": "blackhole", "for": 8}, {"do": "rpc_error",
"code": 420, "text": "FLOOD_WAIT_30", "request": "updates.*", "times": 2}. A wrong command is answered with a sentence
that says what is wrong with it (SandboxError).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from attrs import asdict, frozen

from adapters.sandbox.control import fields
from adapters.sandbox.control.fields import Reader
from adapters.sandbox.control.login_commands import LOGIN_COMMANDS, LoginCommand
from adapters.sandbox.control.media_commands import MEDIA_COMMANDS, MediaCommand
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
    """Send an account a message; without a sender it comes from Telegram itself."""

    account: str
    text: str
    sender: str | None = None


@frozen
class CreateChannel:
    """Create a public channel or, as a megagroup, a group; its members and admins are phone numbers."""

    username: str
    title: str
    megagroup: bool = False
    members: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()


@frozen
class PostMessage:
    """Write a message in a channel; without a sender as the channel itself."""

    username: str
    text: str
    sender: str | None = None
    reply_to: int | None = None


@frozen
class FreezeAccount:
    """Freeze an account; ``until`` (Unix seconds) is when it will be deleted, and 0 ends it."""

    account: str
    until: int
    appeal: str = ""


@frozen
class EditPosted:
    """Give a message another text; the chat is a channel, or the number of an account whose ids count."""

    chat: str
    id: int
    text: str


@frozen
class DeletePosted:
    """Delete messages of a channel, or private ones for both sides."""

    chat: str
    ids: tuple[int, ...]


@frozen
class Fill:
    """Give a channel a history, until it has at least this many messages."""

    username: str
    upto: int


@frozen
class GetHistory:
    """Return what was written in a channel after this message, as much as one answer holds."""

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
    """Restart the maximum of simultaneous handshakes from those in progress now."""


@frozen
class GetStats:
    """Return what happened so far."""


Action: TypeAlias = Fault | Clear | Push | PostMessage | EditPosted | DeletePosted | FreezeAccount
"""What a scenario can do."""


@frozen
class TimedAction:
    """One moment of a scenario. Raises SandboxError for a time out of range."""

    at: float
    """Seconds since the scenario was started."""
    action: Action
    """Nearly always a fault; ``Clear`` and what changes chats are allowed too."""

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.at <= MAX_SCENARIO_SECONDS:
            raise SandboxError(
                f"A step of a scenario is at 0 to {MAX_SCENARIO_SECONDS:.0f} s after its start, not at {self.at} s."
            )


@frozen
class Scenario:
    """Actions that are performed in the order of their times, beginning now."""

    steps: tuple[TimedAction, ...]


Command: TypeAlias = (
    Action
    | CreateChannel
    | Fill
    | GetHistory
    | Listen
    | Authorize
    | ResetCounters
    | GetStats
    | LoginCommand
    | MediaCommand
    | Scenario
)

COMMANDS: Final[Mapping[str, tuple[Callable[..., Any], Mapping[str, Reader]]]] = {
    "clear": (Clear, {"account": fields.read_optional_text}),
    "push": (Push, {"account": fields.read_text, "text": fields.read_text, "sender": fields.read_optional_text}),
    "channel": (
        CreateChannel,
        {
            "username": fields.read_text,
            "title": fields.read_text,
            "megagroup": fields.read_flag,
            "members": fields.read_texts,
            "admins": fields.read_texts,
        },
    ),
    "post": (
        PostMessage,
        {
            "username": fields.read_text,
            "text": fields.read_text,
            "sender": fields.read_optional_text,
            "reply_to": fields.read_optional_int,
        },
    ),
    "freeze": (
        FreezeAccount,
        {"account": fields.read_text, "until": fields.read_count, "appeal": fields.read_optional_text},
    ),
    "edit": (EditPosted, {"chat": fields.read_text, "id": fields.read_int, "text": fields.read_text}),
    "delete": (DeletePosted, {"chat": fields.read_text, "ids": fields.read_ints}),
    "fill": (Fill, {"username": fields.read_text, "upto": fields.read_int}),
    "history": (GetHistory, {"username": fields.read_text, "after": fields.read_count}),
    "listen": (Listen, {"account": fields.read_text}),
    "authorize": (Authorize, {"account": fields.read_text}),
    **LOGIN_COMMANDS,
    **MEDIA_COMMANDS,
    "mark": (ResetCounters, {}),
    "stats": (GetStats, {}),
}
"""The class of each command but faults and scenarios, and the reader of each of its keys."""
NAMES: Final[Mapping[type[Any], str]] = {cast(type[Any], kind): do for do, (kind, _) in COMMANDS.items()}
KEYS: Final[Mapping[str, frozenset[str]]] = {
    **{kind.value: frozenset({"account", "for", *rule.keys}) for kind, rule in FAULT_RULES.items()},
    **{do: frozenset(readers) for do, (_, readers) in COMMANDS.items()},
    "scenario": frozenset({"steps"}),
}
"""Each command with the keys that it knows, besides ``do``."""


def parse(record: object) -> Command:
    """Return the command that a JSON object means. Raises SandboxError, with a sentence, for any other object."""
    if not isinstance(record, dict):
        raise SandboxError('A command is a JSON object such as {"do": "stats"}.')
    do = record.get("do")
    if not isinstance(do, str) or do not in KEYS:
        raise SandboxError(f"There is no command {do!r}; 'do' is one of {', '.join(KEYS)}.")
    if unknown := sorted(str(key) for key in record.keys() - KEYS[do] - {"do"}):
        known = ", ".join(sorted(KEYS[do])) or "no other key"
        raise SandboxError(f"'{do}' has no key {', '.join(unknown)}; it knows {known}.")
    if do == "scenario":
        return _scenario(record.get("steps"))
    if do in COMMANDS:
        kind, readers = COMMANDS[do]
        command: Command = kind(**{key: read(record, key) for key, read in readers.items()})
        return command
    return Fault(
        FaultKind(do),
        account=fields.read_optional_text(record, "account"),
        duration=fields.read_optional_seconds(record, "for"),
        times=fields.read_optional_int(record, "times"),
        request=fields.read_optional_text(record, "request"),
        code=fields.read_optional_int(record, "code"),
        text=fields.read_optional_text(record, "text"),
        seconds=fields.read_optional_seconds(record, "seconds"),
        channel=fields.read_optional_text(record, "channel"),
    )


def encode(command: Command) -> dict[str, Any]:
    """Return the JSON object that means this command; the inverse of ``parse``."""
    match command:
        case Scenario():
            return {"do": "scenario", "steps": [{"at": step.at, **encode(step.action)} for step in command.steps]}
        case Fault():
            options = {key: getattr(command, key) for key in OPTION_KEYS}
            record = {"do": command.kind.value, "account": command.account, "for": command.duration, **options}
        case _:
            record = {"do": NAMES[type(command)], **asdict(command)}
    return {key: value for key, value in record.items() if value is not None}


def scenario(steps: Sequence[TimedAction]) -> Scenario:
    """Return a scenario of these actions. Raises SandboxError when there are too many."""
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
        at = fields.read_optional_seconds(record, "at")
        if at is None:
            raise SandboxError("'at' is missing; it says after how many seconds.")
        action = parse({key: value for key, value in record.items() if key != "at"})
        if not isinstance(action, Action):
            raise SandboxError(
                f"A scenario cannot do '{record['do']}'; it can do faults, clear, push, post, edit and delete."
            )
        return TimedAction(at, action)
    except SandboxError as error:
        raise SandboxError(f"Step {number} of the scenario: {error}") from error
