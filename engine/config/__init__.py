"""The config: what it may say, and how it is read."""

from engine.config.load import ConfigError, load
from engine.config.proxies import Proxy, Scheme
from engine.config.scenario import Chaos, Do, Group, SandboxJob, SandboxSection, ScenarioStep
from engine.config.types import (
    Account,
    Config,
    Datacenter,
    Fleet,
    Sandbox,
    Storage,
    Telegram,
    UnknownAccount,
    nearest,
)
from engine.config.values import parse_duration

__all__ = [
    "Account",
    "Chaos",
    "Config",
    "ConfigError",
    "Datacenter",
    "Do",
    "Fleet",
    "Group",
    "Proxy",
    "Sandbox",
    "SandboxJob",
    "SandboxSection",
    "ScenarioStep",
    "Scheme",
    "Storage",
    "Telegram",
    "UnknownAccount",
    "load",
    "nearest",
    "parse_duration",
]
