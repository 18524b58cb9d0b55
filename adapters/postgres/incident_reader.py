"""Reads the incidents of a fleet, for commands in a process of their own."""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field

from adapters.postgres import incident_statements as of_incidents
from adapters.postgres.blocking import StoreReader
from adapters.sqlite.errors import Undecodable
from adapters.stores.incidents import MAX_NUMBER, incident_from, left_from, names_by_number, those_of
from states.incident import Incident


@define(eq=False)
class PostgresIncidentReader(StoreReader):
    """Reads the incidents of a fleet, each with the accounts of all nodes. A context manager; not for an event loop."""

    on_unreadable: Callable[[int, str], None] = field(default=lambda number, why: None)
    """Called for each incident that is left out because its row cannot be read: its number, and why."""

    def incidents(
        self,
        *,
        open_only: bool = False,
        last: int | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> list[Incident]:
        """Return the incidents, those that were opened first before the others; ``last`` limits them to the newest.

        With ``since`` and ``until`` (Unix seconds), those that went on at some time from the one to before the other.
        """
        where, values = those_of(open_only, since, until, "%s")
        limit = MAX_NUMBER if last is None else max(0, min(last, MAX_NUMBER))
        # Not by number: each node has a range of its own.
        query = f"{of_incidents.SELECT} WHERE {where} ORDER BY opened DESC, id DESC LIMIT %s"
        return self._decoded(list(reversed(self._store.rows(query, (*values, limit)))))

    def incident(self, number: int) -> Incident | None:
        """Return an incident by its number, or by that of one of its parts; None if there is none.

        Raises ``Undecodable``.
        """
        if not 0 < number <= MAX_NUMBER:
            return None
        rows = self._store.rows(f"{of_incidents.SELECT} WHERE id = {of_incidents.OF_NUMBER}", (number, number))
        return incident_from(rows[0], self._accounts([rows[0][0]]).get(rows[0][0], ())) if rows else None

    def left(self, number: int) -> dict[str, float | None]:
        """Return when each account left an incident (Unix seconds); None for one that was in it to its end, or is.

        An account that was in several of its slots, or with several nodes, left with the last of them.
        """
        if not 0 < number <= MAX_NUMBER:
            return {}
        return left_from(self._store.rows(of_incidents.LEFT, (number, number)))

    def inside(self) -> list[tuple[int, str, str]]:
        """Return what is in the open incidents now: the incident, the slot, the name."""
        return [(number, slot, name) for number, slot, name in self._store.rows(of_incidents.INSIDE)]

    def last_number(self) -> int:
        """Return the greatest number that an incident has had; 0 if there was none."""
        return int(self._store.rows(of_incidents.LAST_NUMBER)[0][0])

    def acknowledged(self) -> list[int]:
        """Return the numbers of the open incidents that a person knows of."""
        return [number for (number,) in self._store.rows(of_incidents.ACKED)]

    def _decoded(self, rows: Sequence[tuple[Any, ...]]) -> list[Incident]:
        accounts = self._accounts([row[0] for row in rows])
        found = []
        for row in rows:
            try:
                found.append(incident_from(row, accounts.get(row[0], ())))
            except Undecodable as exc:
                self.on_unreadable(row[0], str(exc))
        return found

    def _accounts(self, numbers: list[int]) -> dict[int, tuple[str, ...]]:
        """Return the accounts that were ever in these incidents."""
        return names_by_number(self._store.rows(of_incidents.ACCOUNTS, (numbers,)))
