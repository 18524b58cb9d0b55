"""How each section of the config is read."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from engine.config.alerts import AlertConfig, to_addresses, to_command, to_entries, to_kinds, to_quiet
from engine.config.log_section import LogFormat, LoggingSection, LogLevel, to_loggers
from engine.config.node import NodeSection
from engine.config.reader import Reader
from engine.config.remote import RemoteProgram, RemoteSection
from engine.config.scenario import DO_VALUES, Chaos, Do, Group, SandboxJob, SandboxSection, ScenarioStep, to_do
from engine.config.sections import (
    AccountConfig,
    DatacenterConfig,
    RequestsSection,
    SandboxConfig,
    Storage,
    Telegram,
    UsernamesSection,
    to_database,
    to_session_key,
)
from engine.config.types import Config, Fleet
from engine.config.values import (
    MAX_NAME,
    describe,
    describe_type,
    is_name,
    one_of,
    to_bool,
    to_duration,
    to_int,
    to_number,
    to_offset,
    to_optional_text,
    to_own_file,
    to_path,
    to_phone,
    to_public_key,
    to_stagger,
    to_text,
    to_workers,
)
from engine.config.web import (
    HealthSection,
    HeartbeatSection,
    MetricAccounts,
    MetricsSection,
    WebSection,
    to_listen,
    to_ping_url,
    to_share,
)
from engine.config.work import Module, WorkSection, to_hours
from states.incident_book import IncidentPolicy
from states.pace import Budget, KindPolicy
from states.schedules import (
    Backoff,
    BackoffSchedules,
    FileBackoff,
    Health,
    Patience,
    Policy,
    Renewal,
    ServerGiven,
    ShuttingDown,
    Suspicion,
    Then,
)

if TYPE_CHECKING:  # most accounts have none
    from engine.config.proxies import ProxyConfig


def build_reader(folder: Path, to_session: Callable[[Any], Path]) -> Reader:
    """Return a reader of a ``Config``; relative paths start at ``folder``."""
    reader = Reader()
    _add_values(reader)
    written = {
        "alerts": partial(_to_alerts, reader),
        "web": partial(_to_written, reader, WebSection),
        "heartbeat": partial(_to_written, reader, HeartbeatSection),
    }
    reader.add_section(Config, lambda given: {"storage": {}} | given, **written)  # storage is relative to the file
    reader.add_section(
        Storage,
        _fill_directory,
        directory=lambda value: to_path(value, folder),
        database=to_database,
        session_key=to_session_key,
    )
    reader.add_section(Telegram, datacenter=partial(_to_datacenter, reader))
    reader.add_section(DatacenterConfig, public_key=lambda value: to_public_key(value, folder))
    proxy = partial(_to_proxies, reader)
    reader.add_section(AccountConfig, session=to_session, phone=to_phone, bot_token=to_optional_text, proxy=proxy)
    reader.add_section(Fleet, stagger=to_stagger)
    reader.add_section(IncidentPolicy)
    reader.add_section(RequestsSection)
    reader.add_section(UsernamesSection)
    reader.add_section(NodeSection, workers=to_workers)
    reader.add_section(LoggingSection, levels=partial(_to_levels, reader))
    _add_states(reader)
    _add_outward(reader, folder)
    _add_work(reader)
    return reader


def _add_values(reader: Reader) -> None:
    reader.add(str, to_text)
    reader.add(int, to_int)
    reader.add(bool, to_bool)
    reader.add(float, to_duration)  # fields that are not durations are named with their sections
    reader.add(Any, lambda value: value)
    reader.add(Then, lambda value: Then(one_of(tuple(Then))(value)))
    reader.add(LogFormat, lambda value: LogFormat(one_of(tuple(LogFormat))(value)))
    reader.add(LogLevel, lambda value: LogLevel(one_of(tuple(LogLevel))(value)))
    reader.add(MetricAccounts, lambda value: MetricAccounts(one_of(tuple(MetricAccounts))(value)))
    reader.add(Do, lambda value: to_do(one_of(DO_VALUES)(value)))


def _add_states(reader: Reader) -> None:
    """Add the schedules of states."""
    sections: tuple[type[Any], ...] = (Group, Policy, Patience, Suspicion, Health, ServerGiven, ShuttingDown)
    for section in sections:
        reader.add_section(section)
    for back_off in (Backoff, FileBackoff):
        reader.add_section(back_off, factor=to_number, jitter=to_number)
    reader.add_section(Renewal, factor=to_number)
    reader.add_section(BackoffSchedules, _fill_schedules)


def _add_outward(reader: Reader, folder: Path) -> None:
    """Add what tells others of the engine, and lets them in."""
    reader.add_section(
        AlertConfig,
        to=to_addresses,
        exec=lambda value: to_command(value, folder),
        on=to_kinds,
        quiet=to_quiet,
    )
    own_file = partial(to_own_file, folder=folder)
    reader.add_section(WebSection, listen=to_listen, token_file=own_file, reader_token_file=own_file)
    reader.add_section(HealthSection, ready_when=to_share)
    reader.add_section(HeartbeatSection, url=to_ping_url)
    reader.add_section(MetricsSection)
    reader.add_section(RemoteProgram, accounts=_to_names, methods=_to_methods)
    reader.add_section(RemoteSection, programs=partial(_to_programs, reader))


def _add_work(reader: Reader) -> None:
    """Add jobs, and what the sandbox does by itself."""
    reader.add_section(ScenarioStep, seconds=to_offset)
    reader.add_section(SandboxSection, scenario=partial(_to_scenario, reader))
    reader.add_section(SandboxJob, data=_to_data)
    reader.add_section(Budget, jitter=to_number)
    reader.add_section(KindPolicy, hours=to_hours)
    reader.add_section(Module, accounts=_to_names)
    reader.add_section(
        WorkSection,
        retry=partial(_to_retry, reader),
        kinds=partial(_to_kinds, reader),
        modules=partial(_to_modules, reader),
    )


def _fill_schedules(schedules: dict[str, Any]) -> dict[str, Any]:
    """Complete each schedule with its own defaults: those of ``database`` differ from those of ``Backoff()``."""
    own = attrs.asdict(BackoffSchedules())
    return {
        name: own[name] | (given or {}) if name in own and isinstance(given, dict | None) else given
        for name, given in schedules.items()
    }


def _to_data(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping such as {{chat: '@holdfast_news'}}, not {describe_type(value)}")
    return value


def _to_names(value: Any) -> tuple[str, ...]:
    """Return names or patterns of accounts: one, or a list."""
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("must be an account's name, a pattern such as 'News *', or a list of these")
    return tuple(names)


def _to_retry(reader: Reader, value: Any) -> Backoff:
    if isinstance(value, dict) and "then" in value:
        raise ValueError("after that many failures a job waits for the operator, so 'then' has no effect; remove it")
    return reader.read(value, Backoff)


def _to_kinds(reader: Reader, value: Any) -> dict[str, KindPolicy]:
    if not isinstance(value, dict | None):
        raise ValueError(f"must be a mapping (kind: its rules), not {describe_type(value)}")
    return reader.read(value or {}, dict[str, KindPolicy])


def _to_methods(value: Any) -> tuple[str, ...]:
    """Return names or patterns of methods: one, or a list."""
    methods = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in methods):
        raise ValueError("must be a method's name, a pattern such as messages.get*, or a list of these")
    return tuple(methods)


def _to_programs(reader: Reader, value: Any) -> dict[str, RemoteProgram]:
    if not isinstance(value, dict | None):
        raise ValueError(f"must be a mapping (name of the program: what it may do), not {describe_type(value)}")
    for name in value or {}:
        if not isinstance(name, str) or not is_name(name):
            raise ValueError(f"a program's name has 1 to {MAX_NAME} printable characters, with no space at either end")
    return reader.read(value or {}, dict[str, RemoteProgram])


def _to_levels(reader: Reader, value: Any) -> dict[str, LogLevel]:
    return reader.read(to_loggers(value), dict[str, LogLevel])


def _to_modules(reader: Reader, value: Any) -> tuple[Module, ...]:
    """Return the modules in a list; a module for all accounts may be given by its name alone."""
    if not isinstance(value, list):
        raise ValueError(f"must be a list, not {describe_type(value)}")
    return reader.read([{"module": each} if isinstance(each, str) else each for each in value], tuple[Module, ...])


def _to_alerts(reader: Reader, value: Any) -> tuple[AlertConfig, ...]:
    return reader.read(to_entries(value), tuple[AlertConfig, ...])


def _to_scenario(reader: Reader, value: Any) -> Chaos | tuple[ScenarioStep, ...]:
    if value == "chaos":
        return Chaos()
    if isinstance(value, list):
        return reader.read(value, tuple[ScenarioStep, ...])
    raise ValueError(f"must be chaos, or a list of steps, not {describe(value)}")


def _to_written(reader: Reader, section: type[Any], value: Any) -> Any:
    """Return a section that means something by being there, also if all of its lines are comments."""
    return reader.read({} if value is None else value, section)


def _fill_directory(storage: dict[str, Any]) -> dict[str, Any]:
    return {"directory": str(Storage().directory)} | storage


def _to_datacenter(reader: Reader, value: Any) -> DatacenterConfig | SandboxConfig | None:
    match value:
        case None:
            return None
        case "sandbox":
            return SandboxConfig()
        case dict():
            return reader.read(value, DatacenterConfig)
        case _:
            raise ValueError(
                f"must be sandbox, or a mapping {{id, host, port, public_key}}, or left out, not {describe(value)}"
            )


def _to_proxies(reader: Reader, value: Any) -> "tuple[ProxyConfig | None, ...]":
    """Return the proxies of an account: none, one, or a list that is tried in order."""
    if value is None:
        return ()
    from engine.config.proxies import ProxyConfig, to_proxy  # noqa: PLC0415 - most accounts have none

    reader.add(ProxyConfig, to_proxy)
    match value:
        case []:
            raise ValueError("must have at least one proxy in its list, or be left out")
        case list():
            return tuple(reader.read(value, tuple[ProxyConfig, ...]))
        case _:
            return (to_proxy(value),)
