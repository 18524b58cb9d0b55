"""The config: its values, and how they are read from YAML."""

from typing import TYPE_CHECKING

from engine.config.load import ConfigError, load, load_outline
from engine.config.outline import Outline
from engine.config.values import parse_duration
from states.lazy_names import lazy_names

if TYPE_CHECKING:
    from engine.config.alerts import AlertConfig
    from engine.config.log_section import LogFormat, LoggingSection, LogLevel
    from engine.config.proxies import ProxyConfig, Scheme
    from engine.config.scenario import Chaos, Do, Group, SandboxJob, SandboxSection, ScenarioStep, StepCommand
    from engine.config.sections import (
        AccountConfig,
        DatacenterConfig,
        RequestsSection,
        SandboxConfig,
        Storage,
        Telegram,
        UnknownAccount,
    )
    from engine.config.types import Config, Fleet
    from engine.config.web import (
        HealthSection,
        HeartbeatSection,
        ListenAddress,
        MetricAccounts,
        MetricsSection,
        WebSection,
    )

__all__ = [
    "AccountConfig",
    "AlertConfig",
    "Chaos",
    "Config",
    "ConfigError",
    "DatacenterConfig",
    "Do",
    "Fleet",
    "Group",
    "HealthSection",
    "HeartbeatSection",
    "ListenAddress",
    "LogFormat",
    "LogLevel",
    "LoggingSection",
    "MetricAccounts",
    "MetricsSection",
    "Outline",
    "ProxyConfig",
    "RequestsSection",
    "SandboxConfig",
    "SandboxJob",
    "SandboxSection",
    "ScenarioStep",
    "Scheme",
    "StepCommand",
    "Storage",
    "Telegram",
    "UnknownAccount",
    "WebSection",
    "load",
    "load_outline",
    "parse_duration",
]

_HOMES = {
    "engine.config.alerts": ("AlertConfig",),
    "engine.config.log_section": ("LogFormat", "LogLevel", "LoggingSection"),
    "engine.config.proxies": ("ProxyConfig", "Scheme"),
    "engine.config.scenario": (
        "Chaos",
        "Do",
        "Group",
        "SandboxJob",
        "SandboxSection",
        "ScenarioStep",
        "StepCommand",
    ),
    "engine.config.sections": (
        "AccountConfig",
        "DatacenterConfig",
        "SandboxConfig",
        "Storage",
        "Telegram",
        "UnknownAccount",
    ),
    "engine.config.types": ("Config", "Fleet"),
    "engine.config.web": (
        "HealthSection",
        "HeartbeatSection",
        "ListenAddress",
        "MetricAccounts",
        "MetricsSection",
        "WebSection",
    ),
}
"""The module of each name, which is imported when the name is first asked for: what only reads needs the outline."""

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's
    __getattr__ = lazy_names(__name__, _HOMES)
