"""Turns plain values into a ``Config`` with cattrs, and the errors of cattrs into sentences with key paths."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
from cattrs import (
    ClassValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.gen import make_dict_structure_fn, override

from engine.config.document import KeyPath, Problem
from engine.config.log_section import LogFormat, LoggingSection, LogLevel, to_loggers
from engine.config.proxies import ProxyConfig, to_proxy
from engine.config.scenario import DO_VALUES, Chaos, Do, Group, SandboxJob, SandboxSection, ScenarioStep, to_do
from engine.config.types import AccountConfig, Config, DatacenterConfig, Fleet, SandboxConfig, Storage, Telegram
from engine.config.values import (
    AlreadyReported,
    describe,
    describe_type,
    one_of,
    to_duration,
    to_int,
    to_number,
    to_offset,
    to_optional_text,
    to_path,
    to_phone,
    to_public_key,
    to_session,
    to_stagger,
    to_text,
)
from engine.config.work import Module, WorkSection, to_hours
from engine.console.format import nearest
from states.pace import Budget, KindPolicy
from states.schedules import (
    Backoff,
    BackoffSchedules,
    FileBackoff,
    Health,
    Patience,
    Policy,
    ServerGiven,
    ShuttingDown,
    Suspicion,
    Then,
)

Read = Callable[[Any, Any], Any]  # (plain value, wanted type) -> structured value
Prepare = Callable[[dict[str, Any]], dict[str, Any]]  # fills in values that the section's class cannot know

_KEYS: Final = {"duration": "for"}  # attribute: key, for keys that are keywords of Python


def build_converter(folder: Path) -> Converter:
    """Return a converter that can structure a ``Config``; relative paths start at ``folder``."""
    converter = Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook(str, to_text)
    converter.register_structure_hook(int, to_int)
    converter.register_structure_hook(float, to_duration)  # fields that are not durations are named below
    converter.register_structure_hook(Then, lambda value, _: Then(one_of(tuple(Then))(value)))
    converter.register_structure_hook(LogFormat, lambda value, _: LogFormat(one_of(tuple(LogFormat))(value)))
    converter.register_structure_hook(LogLevel, lambda value, _: LogLevel(one_of(tuple(LogLevel))(value)))
    converter.register_structure_hook(Do, lambda value, _: to_do(one_of(DO_VALUES)(value)))
    sections: tuple[type[Any], ...] = (Group, Policy, Patience, Suspicion, Health, ServerGiven, ShuttingDown)
    for section in sections:
        _register(converter, section)
    _register(converter, Fleet, stagger=to_stagger)
    _register(converter, Config, prepare=lambda given: {"storage": {}} | given)  # its default is relative to the file
    _register(converter, Storage, _fill_directory, directory=lambda value, _: to_path(value, folder))
    for back_off in (Backoff, FileBackoff):
        _register(converter, back_off, factor=to_number, jitter=to_number)
    _register(converter, BackoffSchedules, prepare=_fill_schedules)
    _register(converter, ScenarioStep, seconds=to_offset)
    _register(converter, SandboxSection, scenario=partial(_to_scenario, converter))
    _register(converter, Telegram, datacenter=partial(_to_datacenter, converter))
    _register(converter, DatacenterConfig, public_key=lambda value, _: to_public_key(value, folder))
    _register(converter, SandboxJob, data=_to_data)
    _register(converter, Budget, jitter=to_number)
    _register(converter, KindPolicy, hours=lambda value, _: to_hours(value))
    _register(converter, Module, accounts=_to_names)
    _register(
        converter,
        WorkSection,
        retry=partial(_to_retry, converter),
        kinds=partial(_to_kinds, converter),
        modules=partial(_to_modules, converter),
    )
    _register(converter, LoggingSection, levels=partial(_to_levels, converter))
    converter.register_structure_hook(ProxyConfig, to_proxy)
    proxy = partial(_to_proxies, converter)
    session = partial(_to_session, folder)
    _register(converter, AccountConfig, session=session, phone=to_phone, bot_token=to_optional_text, proxy=proxy)
    return converter


def list_problems(error: BaseException, path: KeyPath = ()) -> Iterator[Problem]:
    """Yield a problem for each leaf of a tree of cattrs errors; ``path`` is the key path of its root."""
    match error:
        case AlreadyReported():
            return
        case ClassValidationError():
            noted, others = error.group_exceptions()
            for inner, note in noted:
                yield from list_problems(inner, (*path, _KEYS.get(note.name, note.name)))
            for inner in others:
                yield from list_problems(inner, path)
        case IterableValidationError():
            for inner, item in error.group_exceptions()[0]:
                yield from list_problems(inner, (*path, item.index))
        case ForbiddenExtraKeysError():
            for key in sorted(error.extra_fields):
                yield Problem((*path, key), _describe_unknown_key(error.cl, key))
        case KeyError():
            yield Problem(path, "is required, and missing; add it")
        case ValueError():
            yield Problem(path, str(error))
        case _:
            raise error  # a bug in this program, not a mistake in the config


def _describe_unknown_key(section: type[Any], key: str) -> str:
    if section is Policy and key == "auth_failed":
        return "auth_failed has no schedule, because it waits for the operator; remove the key"
    known = [_KEYS.get(name, name) for name in attrs.fields_dict(section) if (section, name) != (Config, "path")]
    return f"unknown key; {nearest(key, known)}"


def _register(converter: Converter, section: type[Any], prepare: Prepare | None = None, **reads: Read) -> None:
    """Register a section: a mapping with the section's fields. It may be empty if no field is required."""
    fields = attrs.fields(section)
    overrides: dict[str, Any] = {
        field.name: override(
            rename=_KEYS.get(field.name),
            omit=(section, field.name) == (Config, "path"),  # not a key: load() sets it
            struct_hook=_add_validator(field, reads.get(field.name) or _require_list(field, converter.structure)),
        )
        for field in fields
    }
    structure = make_dict_structure_fn(section, converter, **overrides)
    optional = all(field.default is not attrs.NOTHING for field in fields)

    def read(value: Any, wanted: Any) -> Any:
        if value is None and optional:  # all lines of the section are comments
            value = {}
        if not isinstance(value, dict):
            raise ValueError(f"must be a mapping (key: value), not {describe_type(value)}")
        return structure(prepare(value) if prepare else value, wanted)

    converter.register_structure_hook(section, read)


def _add_validator(field: "attrs.Attribute[Any]", read: Read) -> Read:
    """Return a function that reads a value and runs the field's validator on it.

    The constructor would run the validators, too, but stop at the first bad field.
    """

    def read_field(value: Any, wanted: Any) -> Any:
        try:
            result = read(value, wanted)
            if field.validator is not None:
                field.validator(None, field, result)
        except ValueError as error:
            raise ValueError(str(error).removeprefix(f"{field.name} ")) from None
        return result

    return read_field


def _require_list(field: "attrs.Attribute[Any]", read: Read) -> Read:
    """Return ``read``, restricted to lists if the field is a tuple: cattrs would accept text, too."""
    is_tuple = str(field.type).startswith("tuple[")

    def read_listed(value: Any, wanted: Any) -> Any:
        if is_tuple and not isinstance(value, list):
            raise ValueError(f"must be a list, not {describe_type(value)}")
        return read(value, wanted)

    return read_listed


def _fill_schedules(schedules: dict[str, Any]) -> dict[str, Any]:
    """Complete each schedule with its own defaults: those of ``database`` differ from those of ``Backoff()``."""
    own = attrs.asdict(BackoffSchedules())
    return {
        name: own[name] | (given or {}) if name in own and isinstance(given, dict | None) else given
        for name, given in schedules.items()
    }


def _fill_directory(storage: dict[str, Any]) -> dict[str, Any]:
    return {"directory": str(Storage().directory)} | storage


def _to_datacenter(converter: Converter, value: Any, _: Any) -> DatacenterConfig | SandboxConfig | None:
    match value:
        case None:
            return None
        case "sandbox":
            return SandboxConfig()
        case dict():
            return converter.structure(value, DatacenterConfig)
        case _:
            raise ValueError(
                f"must be sandbox, or a mapping {{id, host, port, public_key}}, or left out, not {describe(value)}"
            )


def _to_session(folder: Path, value: Any, _: Any) -> Path:
    return to_session(value, folder)


def _to_proxies(converter: Converter, value: Any, _: Any) -> tuple[ProxyConfig | None, ...]:
    """Return the proxies of an account: none, one, or a list that is tried in order."""
    match value:
        case None:
            return ()
        case []:
            raise ValueError("must have at least one proxy in its list, or be left out")
        case list():
            return tuple(converter.structure(value, tuple[ProxyConfig, ...]))
        case _:
            return (to_proxy(value),)


def _to_data(value: Any, _: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping such as {{chat: '@holdfast_news'}}, not {describe_type(value)}")
    return value


def _to_names(value: Any, _: Any) -> tuple[str, ...]:
    """Return names or patterns of accounts: one, or a list."""
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("must be an account's name, a pattern such as 'News *', or a list of these")
    return tuple(names)


def _to_retry(converter: Converter, value: Any, _: Any) -> Backoff:
    if isinstance(value, dict) and "then" in value:
        raise ValueError("after that many failures a job waits for the operator, so 'then' has no effect; remove it")
    return converter.structure(value, Backoff)


def _to_kinds(converter: Converter, value: Any, _: Any) -> dict[str, KindPolicy]:
    if not isinstance(value, dict | None):
        raise ValueError(f"must be a mapping (kind: its rules), not {describe_type(value)}")
    return converter.structure(value or {}, dict[str, KindPolicy])


def _to_levels(converter: Converter, value: Any, _: Any) -> dict[str, LogLevel]:
    return converter.structure(to_loggers(value), dict[str, LogLevel])


def _to_modules(converter: Converter, value: Any, _: Any) -> tuple[Module, ...]:
    """Return the modules in a list; a module for all accounts may be given by its name alone."""
    if not isinstance(value, list):
        raise ValueError(f"must be a list, not {describe_type(value)}")
    return converter.structure(
        [{"module": each} if isinstance(each, str) else each for each in value], tuple[Module, ...]
    )


def _to_scenario(converter: Converter, value: Any, _: Any) -> Chaos | tuple[ScenarioStep, ...]:
    if value == "chaos":
        return Chaos()
    if isinstance(value, list):
        return converter.structure(value, tuple[ScenarioStep, ...])
    raise ValueError(f"must be chaos, or a list of steps, not {describe(value)}")
