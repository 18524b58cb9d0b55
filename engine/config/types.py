"""The values of a whole config, frozen. All times are seconds; no ``repr`` shows a secret."""

from typing import Literal

from attrs import field, frozen

from engine.config.log_section import LoggingSection
from engine.config.outline import Outline, positive
from engine.config.scenario import SandboxSection
from engine.config.work import WorkSection
from states.schedules import Policy


@frozen(kw_only=True)
class Fleet:
    """How many accounts connect at once, and the seconds between two starts."""

    connects_at_once: int = field(default=32, validator=positive)
    """How many accounts may be connecting at the same time."""
    stagger: float | Literal["auto"] = 0.1
    """How far apart two attempts start. With hundreds of accounts, write ``auto``: as close together as this machine
    and the datacenter allow, which is measured as it goes."""


@frozen(kw_only=True)
class Config(Outline):
    """A whole config."""

    states: Policy = field(factory=Policy)
    """How long each state waits for what. ``auth_failed`` has no schedule, because it waits for the operator."""
    fleet: Fleet = Fleet()
    """How the accounts share the way to Telegram."""
    logging: LoggingSection = field(factory=LoggingSection)
    """The form of log lines, and which of them are written."""
    work: WorkSection = field(factory=WorkSection)
    """Your own modules, and how fast jobs may go."""
    sandbox: SandboxSection = field(factory=SandboxSection)
    """What the sandbox has in it, and what it does to the accounts. Only with ``telegram.datacenter: sandbox``."""

    def __repr__(self) -> str:
        count = len(self.accounts)
        return f"<Config {self.path.name}: {count} account{'s' if count != 1 else ''}>"
