"""The values of a whole config, frozen. All times are seconds; no ``repr`` shows a secret."""

from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import field, frozen

from engine.config.alerts import AlertConfig
from engine.config.log_section import LoggingSection
from engine.config.node import NodeSection
from engine.config.remote import RemoteSection
from engine.config.scenario import SandboxSection
from engine.config.sections import (
    AccountConfig,
    RequestsSection,
    Storage,
    Telegram,
    UnknownAccount,
    UsernamesSection,
    positive,
)
from engine.config.web import HealthSection, HeartbeatSection, MetricsSection, WebSection
from engine.config.work import WorkSection
from engine.console.format import nearest
from engine.console.names import named
from states.incident_book import IncidentPolicy
from states.schedules import Policy


def _not_empty(_: Any, attribute: "attrs.Attribute[Any]", value: tuple[object, ...]) -> None:
    if not value:
        raise ValueError(
            f"{attribute.name} must have at least one entry, like - {{name: Account 1, session: account1}}"
        )


@frozen(kw_only=True)
class Fleet:
    """How many accounts connect at once, and the seconds between two starts."""

    connects_at_once: int = field(default=32, validator=positive)
    """How many accounts may be connecting at the same time."""
    stagger: float | Literal["auto"] = 0.1
    """How far apart two attempts start. With hundreds of accounts, write ``auto``: as close together as this machine
    and the datacenter allow, which is measured as it goes."""


@frozen(kw_only=True)
class Config:
    """A whole config; ``path`` is the file from which it was read."""

    path: Path = Path("config.yaml")
    telegram: Telegram
    """Your application, and the datacenter that the accounts connect to."""
    accounts: tuple[AccountConfig, ...] = field(validator=_not_empty)
    """The accounts: a list with at least one entry."""
    storage: Storage = field(factory=Storage)
    """The engine's own files."""
    node: NodeSection = field(factory=NodeSection)
    """What this engine is among the nodes that share ``storage.database``: see ``docs/nodes.md``. Without a database it
    means nothing."""
    states: Policy = field(factory=Policy)
    """How long each state waits for what. ``auth_failed`` has no schedule, because it waits for the operator."""
    fleet: Fleet = Fleet()
    """How the accounts share the way to Telegram."""
    requests: RequestsSection = field(factory=RequestsSection)
    """What becomes of a request that Telegram asks to wait."""
    usernames: UsernamesSection = field(factory=UsernamesSection)
    """How many usernames an account may look up."""
    incidents: IncidentPolicy = field(factory=IncidentPolicy)
    """When a trouble becomes an incident."""
    logging: LoggingSection = field(factory=LoggingSection)
    """The form of log lines, and which of them are written."""
    work: WorkSection = field(factory=WorkSection)
    """Your own modules, and how fast jobs may go."""
    remote: RemoteSection = field(factory=RemoteSection)
    """Which other programs on this machine may send requests through the engine: see ``docs/remote.md``."""
    alerts: tuple[AlertConfig, ...] = ()
    """Who is told of incidents, and how: a list of entries, each with addresses or a command."""
    web: WebSection | None = None
    """The web server: health at `/healthz` and `/readyz`, metrics at `/metrics`. It runs only where this section is."""
    health: HealthSection = field(factory=HealthSection)
    """What counts as ready."""
    heartbeat: HeartbeatSection | None = None
    """A URL that is fetched regularly, so that another machine notices when this one is silent. Left out, there is
    none."""
    metrics: MetricsSection = field(factory=MetricsSection)
    """The series at `/metrics`."""
    sandbox: SandboxSection = field(factory=SandboxSection)
    """What the sandbox has in it, and what it does to the accounts. Only with ``telegram.datacenter: sandbox``."""

    def __repr__(self) -> str:
        count = len(self.accounts)
        return f"<Config {self.path.name}: {count} account{'s' if count != 1 else ''}>"

    def account(self, name: str) -> AccountConfig:
        """Return the account called ``name``; raises ``UnknownAccount``."""
        by_name = {account.name: account for account in self.accounts}
        if (found := named(by_name, name)) is not None:
            return by_name[found]
        hint = nearest(name, by_name)
        raise UnknownAccount(f"{self.path.name} has no account {name!r}; {hint}")
