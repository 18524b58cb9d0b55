"""The config: what it may say, and how it is read."""

from engine.config.load import ConfigError, load
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
from engine.console.format import nearest

__all__ = [
    "AccountConfig",
    "Chaos",
    "Config",
    "ConfigError",
    "DatacenterConfig",
    "Do",
    "Fleet",
    "Group",
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
    "nearest",
    "parse_duration",
]
