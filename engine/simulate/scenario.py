"""The scenario of a simulation: a YAML file of what goes wrong and when, read like the config."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from attrs import evolve, field, frozen

from adapters.sandbox.faults.kinds import FAULT_RULES, FaultKind
from engine.config.document import Problem
from engine.config.load import ConfigError, line_of, read_document
from engine.config.reader import Faulty, Reader
from engine.config.values import (
    one_of,
    to_duration,
    to_int,
    to_number,
    to_optional_text,
    to_text,
)
from engine.console.format import nearest
from engine.console.names import matching
from engine.simulate.disturbances import MOMENTS, SHARED_KINDS, Disturbance, Kind, ModelKind
from engine.simulate.driver import AccountModel
from engine.simulate.link import refusal_event
from engine.simulate.network import NetworkModel, check_rate
from states.events import Unexpected

KINDS: Final[tuple[Kind, ...]] = (*ModelKind, *SHARED_KINDS)
NEVER_ENDING: Final = (FaultKind.REVOKE, FaultKind.DUPLICATE, FaultKind.FORGET_KEY)
"""What lasts for ever if nothing is said: the operator has to mend it."""
MAX_STEPS: Final = 1000
MAX_AT: Final = 366 * 86_400.0
DIRECT: Final = "direct"
MAX_SHOWN: Final = 8
"""Proxies that are named to a person who looks for one."""
_NEEDED: Final[Mapping[Kind, tuple[str, ...]]] = {ModelKind.LATENCY: ("seconds",), ModelKind.HANDSHAKES: ("rate",)}
_EXAMPLES: Final = {"code": "420", "text": "FLOOD_WAIT_30", "seconds": "2s", "rate": "50"}
_OPTIONS: Final = ("seconds", "code", "text", "rate")
_WHOM: Final = ("account", "share", "proxy")


def to_share(value: object, _: object = None) -> float | None:
    """Return a part of all as a number from 0 to 1: ``30%`` or ``0.3``."""
    if value is None:
        return None
    try:
        of_hundred = isinstance(value, str) and value.endswith("%")
        share = float(str(value)[:-1]) / 100 if of_hundred else to_number(value)
    except ValueError:
        raise ValueError("must be a part of the accounts, like 30% or 0.3") from None
    if not 0 < share <= 1:
        raise ValueError("must be more than 0 and at most 100%")
    return share


def _to_kind(value: object) -> Kind:
    if isinstance(value, str) and value in tuple(FaultKind) and value not in KINDS:
        raise ValueError(f"{value} is a detail of the protocol, which the model does not have; use the sandbox for it")
    word = one_of(KINDS)(value)
    return ModelKind(word) if word in tuple(ModelKind) else FaultKind(word)


def _few(_: Any, __: "attrs.Attribute[Any]", value: tuple[object, ...]) -> None:
    if len(value) > MAX_STEPS:
        raise ValueError(f"must have at most {MAX_STEPS} steps")


def _rate(instance: Any, attribute: "attrs.Attribute[Any]", value: float | None) -> None:
    if value is not None:
        check_rate(instance, attribute, value)


def _at(_: Any, __: "attrs.Attribute[Any]", value: float) -> None:
    if value > MAX_AT:
        raise ValueError("must be at most a year after the start")


def _seconds(_: Any, __: "attrs.Attribute[Any]", value: float | None) -> None:
    if value is not None and not 0 < value <= 3600:
        raise ValueError("must be more than 0 s and at most 1h, because it is a delay")


@frozen(kw_only=True)
class SimulatedStep:
    """``at`` seconds after the start ``do`` happens, for ``duration`` seconds (key ``for``), to all accounts or some.

    The keys are those of a step of the sandbox's scenario, and ``share``, ``proxy`` and ``rate``, which it does not
    have.
    """

    at: float = field(validator=_at)
    do: Kind
    duration: float | None = None
    account: str | None = None
    """A name of the config, or a pattern of names."""
    share: float | None = None
    """Which part of them, chosen by the seed."""
    proxy: str | None = None
    """Only those that reach the datacenter by this proxy; ``direct`` is without one."""
    seconds: float | None = field(default=None, validator=_seconds)
    code: int | None = None
    text: str | None = None
    rate: float | None = field(default=None, validator=_rate)


@frozen(kw_only=True)
class SimulatedScenario:
    """A scenario: the network while nothing is wrong, and the steps."""

    network: NetworkModel = field(factory=NetworkModel)
    scenario: tuple[SimulatedStep, ...] = field(default=(), validator=_few)


def load_scenario(path: Path) -> SimulatedScenario:
    """Return the scenario in a file. Raises ``ConfigError`` with all problems at once."""
    document = read_document(path, "scenario")
    problems, found = list(document.problems), None
    if not problems:
        try:
            found = _reader().read(document.value, SimulatedScenario)
        except Faulty as error:
            problems += error.problems
        except ValueError as error:
            problems.append(Problem((), f"{error}; start with scenario: and a list of steps"))
        if isinstance(document.value, dict):
            problems += _find_conflicts(document.value.get("scenario"))
    if problems or found is None:
        placed = [evolve(each, line=each.line or document.line(each.path)) for each in problems]
        placed.sort(key=lambda each: each.line or 0)
        raise ConfigError(path, list(dict.fromkeys(each.sentence(path.name) for each in placed)))
    return found


def _reader() -> Reader:
    reader = Reader()
    reader.add(str, to_text)
    reader.add(int, to_int)
    reader.add(float, to_duration)
    reader.add(Kind, _to_kind)
    reader.add_section(NetworkModel, spread=to_number, handshakes=to_number)
    rate = lambda value: None if value is None else to_number(value)  # noqa: E731 - as the reader's own for optional
    reader.add_section(SimulatedStep, share=to_share, rate=rate, text=to_optional_text)
    reader.add_section(SimulatedScenario)
    return reader


def _find_conflicts(steps: object) -> Iterator[Problem]:
    """Yield what does not fit together in a step, if each of its values can be read."""
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        if not isinstance(step, dict) or step.get("do") not in KINDS:
            continue
        do = _to_kind(step["do"])
        for path, text in _check_step(do, step):
            yield Problem(("scenario", index, *path), text)


def allowed(do: Kind) -> tuple[str, ...]:
    """Return the options of a kind, besides when, how long and for whom."""
    if isinstance(do, ModelKind):
        return _NEEDED.get(do, ())
    return tuple(key for key in FAULT_RULES[do].keys if key in _OPTIONS)


def _check_step(do: Kind, step: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    given = {key for key in _OPTIONS if step.get(key) is not None}
    needed = _NEEDED.get(do, ()) if isinstance(do, ModelKind) else FAULT_RULES[do].required
    for key in needed:
        if key not in given:
            yield (), f"{do} needs {key}; add {key}: {_EXAMPLES[key]}"
    for key in sorted(given - set(allowed(do))):
        yield (key,), f"{do} takes no '{key}'; remove it"
    if do is ModelKind.HALF_OPEN and step.get("for") is not None:
        yield ("for",), "half_open happens at once and takes no 'for'; remove it"
    elif do not in MOMENTS and do not in NEVER_ENDING and step.get("for") is None:
        yield (), f"{do} lasts, and needs to know how long; add for: 10s"
    elif step.get("for") in (0, "0", "0s"):
        yield ("for",), "must be more than 0 s, or be left out"
    if do is ModelKind.HANDSHAKES:
        for key in _WHOM:
            if step.get(key) is not None:
                yield (key,), "handshakes are counted for all accounts together; remove it"
    code, text = step.get("code"), step.get("text")
    if do is FaultKind.TRANSPORT_ERROR and isinstance(code, int) and code not in FAULT_RULES[do].codes:
        yield ("code",), f"must be one of {', '.join(map(str, FAULT_RULES[do].codes))} for {do}"
    if do is FaultKind.RPC_ERROR and isinstance(code, int) and isinstance(text, str) and _is_foreign(code, text):
        yield ("text",), "the model knows FLOOD_WAIT_30 and the like, and the codes 401 and 500; write one of them"


def _is_foreign(code: int, text: str) -> bool:
    return isinstance(refusal_event((code, text), 0), Unexpected)


def disturbances_of(
    steps: Sequence[SimulatedStep], accounts: Sequence[AccountModel], *, count: int, seed: int, path: Path
) -> list[Disturbance]:
    """Return what goes wrong in a fleet of ``count`` accounts, each like one of the config's, in turn.

    ``accounts`` are those of the config. Raises ``ConfigError`` for a name or a proxy that is not there.
    """
    names, routes = [account.name for account in accounts], [account.route for account in accounts]
    problems: list[Problem] = []
    made = []
    for index, step in enumerate(steps):
        chosen = _choose(index, step, names, routes, problems)
        members = None
        if chosen is not None or step.share is not None:
            mine = range(len(names)) if chosen is None else chosen
            found = [number for first in mine for number in range(first, count, len(names))]
            if step.share is not None:
                size = max(1, round(len(found) * step.share)) if found else 0
                found = random.Random(f"{seed} {index}").sample(found, size)
            members = sorted(found)
        made.append(_make(step, members))
    if problems:
        lines = [line_of(path, each.path) if path.is_file() else None for each in problems]  # a pipe is read once
        placed = [evolve(each, line=line) for each, line in zip(problems, lines, strict=True)]
        raise ConfigError(path, [each.sentence(path.name) for each in placed])
    return made


def _choose(
    index: int, step: SimulatedStep, names: Sequence[str], routes: Sequence[str], problems: list[Problem]
) -> list[int] | None:
    """Return which accounts of the config a step is for; None for all."""
    if step.account is None and step.proxy is None:
        return None
    chosen = list(range(len(names)))
    if step.account is not None:
        meant = set(matching(names, step.account))
        chosen = [number for number in chosen if names[number] in meant]
        if not meant:
            text = f"no account is named like that; {nearest(step.account, names)}"
            problems.append(Problem(("scenario", index, "account"), text))
    if step.proxy is not None:
        if step.proxy not in routes:
            known = sorted(set(routes))  # without logins: they are how proxies are shown
            more = f" and {len(known) - MAX_SHOWN} more" if len(known) > MAX_SHOWN else ""
            text = f"no account has this proxy; there are: {', '.join(known[:MAX_SHOWN])}{more}"
            problems.append(Problem(("scenario", index, "proxy"), text))
        chosen = [number for number in chosen if routes[number] == step.proxy]
    return chosen


def _make(step: SimulatedStep, members: Sequence[int] | None) -> Disturbance:
    moment = step.duration is None and step.do not in NEVER_ENDING
    end = step.at if moment else None if step.duration is None else step.at + step.duration
    return Disturbance(
        begin=step.at,
        end=end,
        kind=step.do,
        members=members,
        seconds=step.seconds or 0.0,
        code=step.code or 0,
        text=step.text or "",
        rate=step.rate or 1.0,
        label=_label(step),
    )


def _label(step: SimulatedStep) -> str:
    """Return what a step is called: what it does, and to whom."""
    whom = [f"{step.share:.3g} of" if step.share is not None and step.share < 0.01 else ""]
    whom = [f"{step.share * 100:g} % of" if step.share is not None else "", step.account or "all"]
    through = f" through {step.proxy}" if step.proxy else ""
    what = step.do.value
    if step.do is ModelKind.HANDSHAKES:
        return f"{what} at {step.rate:g} per second"
    if step.text or step.code:
        what += f" {step.text or step.code}"
    return f"{what}, {' '.join(filter(None, whom))}{through}"


def built_in(duration: float) -> tuple[SimulatedStep, ...]:
    """Return the scenario that is run if none is given, stretched over the duration.

    The network is gone for everybody; then all links are reset at once; then the links of a third are silent.
    """
    length = duration / 30
    return (
        SimulatedStep(at=duration / 6, do=ModelKind.GONE, duration=length),
        SimulatedStep(at=duration / 2, do=FaultKind.RESET),
        SimulatedStep(at=duration * 3 / 4, do=FaultKind.BLACKHOLE, duration=length, share=0.3),
    )
