"""A story: what a seed stands for, as plain data. The same story gives the same run, byte for byte.

It says how long the run is, for how many accounts, under which settings, what goes wrong and when, and what work there
is. It is written as JSON and read back without loss, so that a failing one can be kept, shrunk and run again.
Nothing here imports Telethon or the engine: a world replaces their sources of chance and time before it loads them.
"""

import json
import random
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import attrs
import cattrs
from attrs import field, frozen

from adapters.sandbox.faults.kinds import FAULT_RULES, FaultKind

MAX_ACCOUNTS: Final = 10
MAX_HOURS: Final = 24 * 365
HOUR: Final = 3600.0
DAY: Final = 24 * HOUR


class IncidentKind(StrEnum):
    """What can go wrong, or be done to the engine: a group, a point, and a name in it.

    A kind of ``datacenter`` or ``credentials`` whose name is that of a fault of the sandbox is that fault.
    """

    NETWORK_LATENCY = "network.latency"
    """Bytes arrive ``value`` seconds later, in both directions, for ``seconds``."""
    NETWORK_RESET = "network.reset"
    """Every open link gets a RST, at once."""
    NETWORK_HALF_OPEN = "network.half_open"
    """Open links carry nothing in either direction, and nobody is told; new links are as before."""
    NETWORK_SILENT_UP = "network.silent_up"
    """What the clients send is lost."""
    NETWORK_SILENT_DOWN = "network.silent_down"
    """What the datacenter sends is lost."""
    NETWORK_REFUSED = "network.refused"
    """New links are refused with a RST; open ones stay."""
    NETWORK_SYN_DROPPED = "network.syn_dropped"
    """New links hang without an answer; open ones stay."""
    NETWORK_DRIP = "network.drip"
    """Writes are cut into pieces of ``value`` bytes, each of which travels on its own."""
    NETWORK_GONE = "network.gone"
    """There is no network: open links are silent, and new ones have no route. Always for all accounts."""

    DATACENTER_RESTART = "datacenter.restart"
    """The datacenter closes all links and its port, and is back after ``seconds`` with all that it stored."""
    DATACENTER_RESET = "datacenter.reset"
    DATACENTER_CLOSE = "datacenter.close"
    DATACENTER_BLACKHOLE = "datacenter.blackhole"
    DATACENTER_REFUSE = "datacenter.refuse"
    DATACENTER_SYN_DROP = "datacenter.syn_drop"
    DATACENTER_ACCEPT_THEN_CLOSE = "datacenter.accept_then_close"
    DATACENTER_SLOW = "datacenter.slow"
    """``value`` is the delay of an answer, in seconds."""
    DATACENTER_RPC_ERROR = "datacenter.rpc_error"
    """``value`` is the code and the text: ``420 FLOOD_WAIT_5``."""
    DATACENTER_RESET_BEFORE = "datacenter.reset_before"
    DATACENTER_RESET_AFTER = "datacenter.reset_after"
    DATACENTER_TRANSPORT_ERROR = "datacenter.transport_error"
    """``value`` is the code."""
    DATACENTER_GARBAGE = "datacenter.garbage"
    DATACENTER_BAD_SALT = "datacenter.bad_salt"
    DATACENTER_BAD_MSG = "datacenter.bad_msg"
    """``value`` is the code."""
    DATACENTER_CLOCK_OFFSET = "datacenter.clock_offset"
    """``value`` is the offset, in seconds."""
    DATACENTER_WRONG_MSG_KEY = "datacenter.wrong_msg_key"
    DATACENTER_LOST_UPDATE = "datacenter.lost_update"
    DATACENTER_LOST_DIFFERENCE = "datacenter.lost_difference"
    DATACENTER_WRONG_PTS = "datacenter.wrong_pts"
    DATACENTER_UNKNOWN_UPDATE = "datacenter.unknown_update"
    DATACENTER_TOO_LONG = "datacenter.too_long"
    DATACENTER_HOSTILE = "datacenter.hostile"
    """``value`` is the text that says what is hostile."""

    CREDENTIALS_REVOKE = "credentials.revoke"
    """``value`` is the error: SESSION_REVOKED, AUTH_KEY_UNREGISTERED, USER_DEACTIVATED, …"""
    CREDENTIALS_DUPLICATE = "credentials.duplicate"
    CREDENTIALS_FORGET_KEY = "credentials.forget_key"

    CLOCK_STEP = "clock.step"
    """The wall clock jumps by ``value`` seconds, backwards if negative; the monotonic clock goes on."""
    CLOCK_SUSPEND = "clock.suspend"
    """The lid is closed for ``seconds``: nothing of the engine runs, and then all of that time has passed at once."""

    DISK_FULL = "disk.full"
    """Writes fail with ENOSPC. The disk is full as a whole, whatever ``account`` is."""
    DISK_BROKEN = "disk.broken"
    """Writes fail with EIO, on all of the disk."""
    DISK_SLOW = "disk.slow"
    """Each write takes ``value`` seconds."""
    DISK_LOCKED = "disk.locked"
    """Another process holds the write lock."""

    PROCESS_KILL = "process.kill"
    """``kill -9``; the engine is started again after ``seconds``."""
    PROCESS_KILL_AT_WRITE = "process.kill_at_write"
    """As ``process.kill``, at the ``value``-th write to the disk from now on."""
    PROCESS_POWER_CUT = "process.power_cut"
    """As ``process.kill``, and what was not synced is lost."""
    PROCESS_RESTART = "process.restart"
    """The engine is asked to stop, and started again ``seconds`` after it ended."""

    CONTROL_PAUSE = "control.pause"
    """The account is paused, and resumed after ``seconds``."""
    CONTROL_RECONNECT = "control.reconnect"
    CONTROL_STATUS = "control.status"
    CONTROL_JOBS_CANCEL = "control.jobs_cancel"
    """The oldest job that is not done is cancelled."""
    CONTROL_JOBS_RETRY = "control.jobs_retry"
    """The failed jobs are tried again."""

    @property
    def group(self) -> str:
        """Where it happens: network, datacenter, credentials, clock, disk, process or control."""
        return self.value.partition(".")[0]

    @property
    def fault(self) -> FaultKind | None:
        """The sandbox's fault of this kind, or None for what the sandbox does not do."""
        group, _, name = self.value.partition(".")
        return FaultKind(name) if group in ("datacenter", "credentials") and name != "restart" else None


FOR_ALL: Final = frozenset(
    {
        IncidentKind.NETWORK_GONE,
        IncidentKind.DATACENTER_RESTART,
        IncidentKind.CLOCK_STEP,
        IncidentKind.CLOCK_SUSPEND,
        IncidentKind.PROCESS_KILL,
        IncidentKind.PROCESS_KILL_AT_WRITE,
        IncidentKind.PROCESS_POWER_CUT,
        IncidentKind.PROCESS_RESTART,
    }
)
"""The kinds that have no account."""


@frozen(kw_only=True)
class Incident:
    """One thing that goes wrong, or is done to the engine. What ``value`` is, its kind says."""

    at: float = field(validator=attrs.validators.ge(0))
    """Virtual seconds since the beginning of the story."""
    kind: IncidentKind
    seconds: float = 0.0
    """How long it lasts; 0 is a moment."""
    account: int | None = None
    """The number of the account, from 1; None is all of them."""
    value: int | float | str | None = None
    times: int | None = None
    """After how many acts a fault of the sandbox is over."""
    request: str | None = None
    """Which requests a fault of the sandbox hits, as a pattern of their names."""

    @property
    def ends(self) -> float:
        """When it is over, in virtual seconds since the beginning."""
        return self.at + self.seconds

    def fault_options(self) -> dict[str, Any]:
        """Return the arguments of the sandbox's ``Fault`` but ``account``; only for a kind that has one."""
        assert self.kind.fault is not None, f"{self.kind} is no fault of the sandbox"
        given: dict[str, Any] = {
            "kind": self.kind.fault.value,
            "duration": self.seconds or None,
            "times": self.times,
            "request": self.request,
        }
        keys = FAULT_RULES[self.kind.fault].keys
        match self.value:
            case None:
                pass
            case str() if "code" in keys and "text" in keys:
                code, _, text = self.value.partition(" ")
                given |= {"code": int(code), "text": text}
            case str():
                given["text"] = self.value
            case int() | float() if "seconds" in keys:
                given["seconds"] = float(self.value)
            case _:
                given["code"] = int(self.value)
        return {key: value for key, value in given.items() if value is not None}


@frozen(kw_only=True)
class JobOrder:
    """Jobs that are added at one time: ``send`` and ``collect`` are the product's, ``steps`` is one of our own."""

    at: float
    kind: str = "send"
    account: int | None = None
    """None is any account that is healthy."""
    count: int = 1
    """How many."""
    every: float = 0.0
    """Seconds between one and the next."""
    steps: int = 1
    """Of a ``steps`` job: how many, with a checkpoint after each, and each of them sends one message."""
    seconds: float = 0.0
    """How long each step takes."""
    failing: float = 0.0
    """Which part of the attempts raises an error of its own, from 0 to 1."""


@frozen(kw_only=True)
class Workload:
    """What there is to do."""

    updates_per_day: float = 0.0
    """Messages that arrive at each account, on average."""
    handler_seconds: float = 0.0
    """How long a handler takes at most; 0 is at once."""
    handler_failing: float = 0.0
    """Which part of the calls of a handler raises an error, from 0 to 1."""
    followers: int = 0
    """Readers of ``follow()``, each of which keeps its place over restarts."""
    subscribers: int = 0
    """Readers of ``subscribe()``."""
    jobs: tuple[JobOrder, ...] = ()


@frozen(kw_only=True)
class Story:
    """A run: how long, for whom, under which settings, with which incidents and which work."""

    seed: int
    """Everything that the story does not say is drawn from it: latencies, interleavings, keys, arrivals."""
    hours: float = field(validator=[attrs.validators.gt(0), attrs.validators.le(MAX_HOURS)])
    accounts: int = field(default=1, validator=[attrs.validators.ge(1), attrs.validators.le(MAX_ACCOUNTS)])
    settings: Mapping[str, Any] = field(factory=dict)
    """Values of the config that differ from its defaults, by their dotted paths: ``states.healthy.probe_every``."""
    incidents: tuple[Incident, ...] = ()
    """In the order of their times."""
    workload: Workload = Workload()

    def __attrs_post_init__(self) -> None:
        placed: tuple[Incident | JobOrder, ...] = (*self.incidents, *self.workload.jobs)
        for each in placed:
            if each.account is not None and not 1 <= each.account <= self.accounts:
                raise ValueError(f"A story of {self.accounts} accounts has none with the number {each.account}.")
            if not 0 <= each.at <= self.seconds:
                raise ValueError(f"A story of {self.seconds:g} s has nothing at {each.at:g} s.")

    @property
    def seconds(self) -> float:
        """How long it is, in virtual seconds."""
        return self.hours * HOUR

    @property
    def quiet_from(self) -> float:
        """When the last incident is over, in virtual seconds since the beginning; 0 without any."""
        return max((incident.ends for incident in self.incidents), default=0.0)

    def config(self) -> dict[str, Any]:
        """Return the settings as the sections of a config: states, fleet, work, storage and so on."""
        document: dict[str, Any] = {}
        for path, value in self.settings.items():
            *sections, key = path.split(".")
            place = document
            for section in sections:
                place = place.setdefault(section, {})
            place[key] = value
        return document

    def random(self, *purpose: object) -> random.Random:
        """Return a source of chance for one purpose, which no other purpose disturbs."""
        return random.Random(":".join(map(str, (self.seed, *purpose))))

    def arrivals(self, account: int) -> Iterator[float]:
        """Yield when messages arrive at an account, in virtual seconds since the beginning, until the story ends."""
        rate = self.workload.updates_per_day / DAY
        chance = self.random("arrivals", account)
        at = 0.0
        while rate > 0 and (at := at + chance.expovariate(rate)) < self.seconds:
            yield at

    def dump(self) -> str:
        """Return the story as JSON, always the same text for the same story; what is at its default is left out."""
        return json.dumps(_without_defaults(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, text: str) -> "Story":
        """Return the story that ``dump`` wrote. Raises ValueError, with what is wrong, for other text."""
        try:
            found = json.loads(text)
            if not isinstance(found, dict):
                raise TypeError(f"an object is expected, and not {type(found).__name__}")
            return _CONVERTER.structure(found, cls)
        except (BaseExceptionGroup, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"This is no story: {'; '.join(_reasons(error))}.") from None


def _reasons(error: BaseException) -> Iterator[str]:
    for each in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _reasons(each)
    if not isinstance(error, BaseExceptionGroup):
        yield str(error)


_CONVERTER: Final = cattrs.Converter(forbid_extra_keys=True)
_CONVERTER.register_structure_hook(int | float | str | None, lambda value, _: value)
_CONVERTER.register_structure_hook_func(lambda kind: kind == Mapping[str, Any], lambda value, _: dict(value))


def _without_defaults(value: Any) -> Any:
    """Return attrs objects as mappings without the fields that are at their defaults, and 2.0 as 2."""
    if attrs.has(type(value)):
        kept = {}
        for each in attrs.fields(type(value)):
            own = getattr(value, each.name)
            default = each.default.factory() if isinstance(each.default, attrs.Factory) else each.default  # type: ignore[arg-type]
            if own != default:
                kept[each.name] = _without_defaults(own)
        return kept
    if isinstance(value, tuple | list):
        return [_without_defaults(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_defaults(item) for key, item in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
