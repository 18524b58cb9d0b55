"""What a run gives: the journals, what the judges say of it, what was counted, and what happened, to be told."""

import hashlib
import json
from collections.abc import Mapping

from attrs import asdict, field, frozen

from tests.simulation.evidence import Verdict


@frozen
class Happening:
    """One moment of a run, for the diagram: something that happened at a participant, or between two."""

    at: float
    """Virtual seconds since the beginning of the story."""
    who: str
    """The participant: program, engine, account N, network, datacenter, disk."""
    text: str
    """What happened, in words."""
    to: str | None = None
    """The other participant, if it went from one to another."""


@frozen(kw_only=True)
class Outcome:
    """A run that came to its end. The same story on the same commit gives an equal one.

    The process that ran the story writes it as JSON, and the one that started it reads it.
    """

    digest: str
    """SHA-256 of ``journal``."""
    journal: str = field(repr=False)
    """Every row of the engine's database that a run leaves, as text: one line each."""
    verdicts: tuple[Verdict, ...] = ()
    """The promises that were broken."""
    counters: Mapping[str, float] = field(factory=dict)
    """What was counted: requests, updates, sends, kills, ``incident.KIND`` for each that was injected, …"""
    happenings: tuple[Happening, ...] = field(default=(), repr=False)

    @staticmethod
    def digest_of(journal: str) -> str:
        """Return the digest of a journal's text."""
        return hashlib.sha256(journal.encode()).hexdigest()

    def dump(self) -> str:
        """Return it as one JSON object."""
        plain = {
            "digest": self.digest,
            "journal": self.journal,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "counters": dict(self.counters),
            "happenings": [[each.at, each.who, each.text, each.to] for each in self.happenings],
        }
        return json.dumps(plain, sort_keys=True, ensure_ascii=True)

    @classmethod
    def load(cls, text: str) -> "Outcome":
        """Return what ``dump`` wrote."""
        plain = json.loads(text)
        return cls(
            digest=plain["digest"],
            journal=plain["journal"],
            verdicts=tuple(Verdict(**each) for each in plain["verdicts"]),
            counters=plain["counters"],
            happenings=tuple(Happening(*each) for each in plain["happenings"]),
        )
