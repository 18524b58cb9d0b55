"""What the screen shows, wherever it comes from: from the engine in this process, or from its files and its socket."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from attrs import frozen

from engine.console.account_status import AccountStatus
from engine.console.ranking import Ranking
from engine.console.status import EngineInfo
from engine.journal.explain import Explanation
from engine.screen.model import Do
from states import Entry
from states.incident import Incident
from states.jobs import JobSummary

ENTRIES: Final = 300
"""Number of an account's newest records that the screen has."""


class JournalUnreadable(Exception):
    """The journal cannot be read; the text is a sentence."""


class ScreenSource(Protocol):
    """What the screen reads, and what it can ask for."""

    @property
    def info(self) -> EngineInfo:
        """Whether the engine runs."""

    @property
    def node(self) -> str:
        """What is to be said of the node whose accounts these are; empty if all accounts are one engine's."""

    @property
    def ranking(self) -> Ranking:
        """All accounts, worst first."""

    @property
    def jobs(self) -> JobSummary:
        """The jobs."""

    @property
    def incidents(self) -> Sequence[Incident]:
        """The open incidents, worst first."""

    @property
    def lines(self) -> Iterable[tuple[int, str]]:
        """The last lines of the log, each with its level; none where the log is somebody else's."""

    @property
    def quits(self) -> bool:
        """Whether leaving the screen ends nothing else."""

    def knows(self, account: str) -> bool:
        """Return whether there is such an account; one that reconnects for a reload may be in no ranking meanwhile."""

    def trouble_since(self, account: str, at: AccountStatus) -> float | None:
        """Return since when an account is in trouble (Unix seconds); None if it is not, or if that is not known."""

    def tell(self, level: int, line: str) -> None:
        """Show a line among those of the log."""

    async def follow(self) -> None:
        """Keep all of the above up to date, until cancelled."""

    async def entries(self, account: str) -> Sequence[Entry]:
        """Return the account's newest ``ENTRIES`` records, oldest first. Raises ``JournalUnreadable``."""

    async def explain(self, seq: int) -> Explanation:
        """Return the explanation of a record. Raises ``JournalUnreadable``."""

    async def perform(self, do: Do, account: str) -> str:
        """Do it, through what answers the commands of that name; return the sentence that says what came of it."""

    async def acknowledge(self, incident: int) -> str:
        """Note that a person knows of an incident, as ``incidents ack`` does; return what came of it, in a sentence."""


@frozen
class OpenedJournal:
    """The open account's journal; ``entries`` is None while it is read."""

    account: str
    entries: Sequence[Entry] | None = None
    trouble: str = ""
    """Why it cannot be read."""


@frozen
class Explained:
    """The explanation of a record; None while it is made."""

    seq: int
    explanation: Explanation | None = None
    trouble: str = ""
