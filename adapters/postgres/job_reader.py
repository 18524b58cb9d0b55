"""Reads jobs for commands, and what they have collected, with nodes running or without."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import define, field

from adapters.postgres import job_statements as of_jobs
from adapters.postgres.blocking import StoreReader
from adapters.postgres.jobs import counts_from
from adapters.postgres.statements import clean
from adapters.sqlite.errors import Undecodable
from adapters.sqlite.job_codec import job_from
from adapters.sqlite.job_reader import MAX_NUMBER, decoded
from states.job import Job

PAGE_ROWS: Final = 1000
_COLUMNS: Final = frozenset({"state", "account", "kind"})
"""The columns that jobs can be chosen by."""


@define(eq=False)
class PostgresJobReader(StoreReader):
    """Reads the jobs of a fleet. A context manager; not for an event loop."""

    on_unreadable: Callable[[int, str], None] = field(default=lambda number, why: None)
    """Called for each job that ``jobs`` leaves out because its row cannot be read: its number, and why."""

    def job(self, number: int) -> Job | None:
        """Return a job by its number."""
        if not 0 < number <= MAX_NUMBER:
            return None
        rows = self._store.rows(f"{of_jobs.SELECT_JOB} WHERE id = %s", (number,))
        return job_from(rows[0]) if rows else None

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many jobs there are, by kind and state."""
        return counts_from(self._store.rows(of_jobs.COUNTS))

    def count_failed(self, accounts: Collection[str], since: float, until: float) -> int:
        """Return how many jobs of these accounts have failed from ``since`` to before ``until`` (Unix seconds).

        Those that were retried meanwhile have not.
        """
        query = """SELECT count(*) FROM jobs WHERE state = 'failed' AND ended >= %s AND ended < %s
            AND worker = ANY(%s::text[])"""
        return int(self._store.rows(query, (since, until, [clean(name) for name in accounts]))[0][0])

    def jobs(self, wanted: Mapping[str, Sequence[str] | None], *, last: int | None = None) -> Iterator[Job]:
        """Yield the jobs whose columns have one of the values that ``wanted`` has for them (None: any), oldest first.

        ``last`` limits the result to the newest so many. Jobs are read page by page, so that a slow consumer holds
        nothing up.
        """
        filters = {name: list(map(clean, values)) for name, values in wanted.items() if values is not None}
        assert filters.keys() <= _COLUMNS
        where = " AND ".join(["id > %s", *(f"{name} = ANY(%s::text[])" for name in filters)])
        values, after = list(filters.values()), 0
        if last is not None:
            query = f"SELECT min(id) FROM (SELECT id FROM jobs WHERE {where} ORDER BY id DESC LIMIT %s) AS newest"
            first = self._store.rows(query, [0, *values, last])[0][0]
            if first is None:
                return
            after = first - 1
        while True:
            page = self._store.rows(
                f"{of_jobs.SELECT_JOB} WHERE {where} ORDER BY id LIMIT {PAGE_ROWS}", [after, *values]
            )
            yield from self._decoded(page)
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]

    def newest_of(self, account: str, count: int, *, among: int) -> list[Job]:
        """Return the newest jobs that are for an account, or were done by it, among the newest of all; newest first."""
        where = "id > (SELECT coalesce(max(id), 0) - %s FROM jobs) AND (account = %s OR worker = %s)"
        query = f"{of_jobs.SELECT_JOB} WHERE {where} ORDER BY id DESC LIMIT %s"
        name = clean(account)
        return list(self._decoded(self._store.rows(query, (among, name, name, count))))

    def _decoded(self, rows: Sequence[tuple[Any, ...]]) -> Iterator[Job]:
        for row in rows:
            try:
                yield job_from(row)
            except Undecodable as exc:
                self.on_unreadable(row[0], str(exc))

    def trace(self, number: int) -> str | None:
        """Return the traceback of a job's last failure, if one is kept."""
        rows = self._store.rows("SELECT trace FROM job_traces WHERE job = %s", (number,))
        return str(rows[0][0]) if rows else None

    def results(self, number: int, limit: int) -> list[Any]:
        """Return the first ``limit`` results that a job has stored."""
        query = "SELECT value FROM job_results WHERE job = %s ORDER BY number LIMIT %s"
        return [decoded(value) for (value,) in self._store.rows(query, (number, limit))]

    def messages(self, chat: int) -> Iterator[tuple[int, str]]:
        """Yield number and text of the messages collected from a chat in which all members see the same numbers."""
        after = -MAX_NUMBER
        query = f"""SELECT id, text FROM messages WHERE owner = '' AND chat = %s AND id > %s
            ORDER BY id LIMIT {PAGE_ROWS}"""
        while page := self._store.rows(query, (chat, after)):
            yield from ((number, text) for number, text in page)
            after = page[-1][0]


MESSAGE_COLUMNS: Final = (
    "owner", "chat", "id", "at", "sender", "text", "edited", "deleted", "reply_to", "media", "media_id", "media_size",
    "media_name", "raw",
)  # fmt: skip


@define(eq=False)
class PostgresMessageReader(StoreReader):
    """Reads the messages of a chat. A context manager; not for an event loop."""

    def chat_named(self, name: str) -> int | None:
        """Return the id of the chat that a job calls so, whichever job has read it last; None if none has."""
        wanted = clean(name).lstrip("@").lower()
        # Only a text that was written in these letters is looked at closer: PostgreSQL 14 cannot ask what is JSON.
        part = json.dumps(wanted, ensure_ascii=False)[1:-1]
        query = """SELECT data, checkpoint FROM jobs WHERE checkpoint IS NOT NULL AND strpos(lower(data), %s) > 0
            ORDER BY id DESC"""
        for data, checkpoint in self._store.rows(query, (part,)):
            given, kept = decoded(data), decoded(checkpoint)
            if isinstance(given, dict) and isinstance(kept, dict) and isinstance(kept.get("chat"), int):
                chat: int = kept["chat"]
                if str(given.get("chat", "")).lstrip("@").lower() == wanted:
                    return chat
        return None

    def messages(self, chat: int, since: float | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield ``MESSAGE_COLUMNS`` of the chat's messages of this time and later, by owner and number.

        They are read in pages, so that a slow consumer holds nothing up; what is stored meanwhile may be there.
        """
        for owner in self._owners():
            after = -MAX_NUMBER
            query = f"""SELECT {", ".join(MESSAGE_COLUMNS)} FROM messages WHERE owner = %s AND chat = %s AND id > %s
                AND at >= %s ORDER BY id LIMIT {PAGE_ROWS}"""
            while page := self._store.rows(query, (owner, chat, after, -1e15 if since is None else since)):
                yield from page
                after = page[-1][2]

    def _owners(self) -> Iterator[str]:
        """Yield who has messages: one look into the index for each."""
        owner = self._store.rows("SELECT min(owner) FROM messages")[0][0]
        while owner is not None:
            yield owner
            owner = self._store.rows("SELECT min(owner) FROM messages WHERE owner > %s", (owner,))[0][0]
