"""The config: its values, and how they are read from YAML."""

from engine.config.load import ConfigError, load
from engine.config.log_section import LogFormat, LoggingSection, LogLevel
from engine.config.proxies import ProxyConfig, Scheme
from engine.config.scenario import Chaos, Do, Group, SandboxJob, SandboxSection, ScenarioStep, StepCommand
from engine.config.types import (
    AccountConfig,
    Config,
    DatacenterConfig,
    Fleet,
    SandboxConfig,
    Storage,
    Telegram,
    UnknownAccount,
)
from engine.config.values import parse_duration

__all__ = [
    "AccountConfig",
    "Chaos",
    "Config",
    "ConfigError",
    "DatacenterConfig",
    "Do",
    "Fleet",
    "Group",
    "LogFormat",
    "LogLevel",
    "LoggingSection",
    "ProxyConfig",
    "SandboxConfig",
    "SandboxJob",
    "SandboxSection",
    "ScenarioStep",
    "Scheme",
    "StepCommand",
    "Storage",
    "Telegram",
    "UnknownAccount",
    "load",
    "parse_duration",
]
