"""The config: what it may say, and how it is read."""

from engine.config.load import ConfigError, load
from engine.config.proxies import Proxy, Scheme
from engine.config.types import (
    Account,
    Config,
    Datacenter,
    Do,
    Fleet,
    Sandbox,
    SandboxSection,
    ScenarioStep,
    Storage,
    Telegram,
    UnknownAccount,
    nearest,
)
from engine.config.values import parse_duration

__all__ = [
    "Account",
    "Config",
    "ConfigError",
    "Datacenter",
    "Do",
    "Fleet",
    "Proxy",
    "Sandbox",
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
