"""What is copied between the two stores: each table as rows that say the same in both.

A row has names where the tables have numbers of names, and neither what only one store needs nor what belongs to a
process that ran. Both sides read and write these rows, so a digest of them compares the two.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import field, frozen

Row = tuple[Any, ...]
"""The values of the columns, in their order."""

KINDS: Final = ("int", "real", "text", "bool", "blob", "name", "account")
"""``name`` is a text that both stores have by number; ``account`` one that PostgreSQL has by another number."""


@frozen
class CopiedColumn:
    """One column: its name in SQLite, its kind, and whether it may be empty."""

    name: str
    kind: str
    optional: bool
    postgres: str
    """Its name in PostgreSQL."""


_OTHER_NAMES: Final = {("ledger", "user"): "user_id", ("ledger_holes", "user"): "user_id",
                       ("ledger_fills", "user"): "user_id", ("logins", "user"): '"user"'}  # fmt: skip


@frozen(eq=False)
class CopiedTable:
    """One table. ``text`` lists its columns with their kinds; a question mark says that a value may be missing."""

    name: str
    text: str
    key: int
    """So many of the first columns tell a row from others."""
    order: str = ""
    """How its rows are read where their order matters: SQL for SQLite, which has it in ``rowid``."""
    columns: tuple[CopiedColumn, ...] = field(init=False)

    @columns.default
    def _read_text(self) -> tuple[CopiedColumn, ...]:
        return tuple(self._columns_of(self.text))

    def _columns_of(self, text: str) -> Iterator[CopiedColumn]:
        for each in text.split(","):
            name, kind = each.split()
            plain = kind.rstrip("?")
            assert plain in KINDS, kind
            yield CopiedColumn(name, plain, plain != kind, _OTHER_NAMES.get((self.name, name), name))

    def named(self, row: Sequence[Any]) -> str:
        """Return how a row is told from others, for a sentence."""
        pairs = zip(self.columns[: self.key], row, strict=False)
        return f"{self.name} (" + ", ".join(f"{column.name} {value!r:.60}" for column, value in pairs) + ")"


POLICIES: Final = CopiedTable("policies", "policy text", 1)
LIVES: Final = CopiedTable(
    "lives",
    "account name, life int, at real, policy text, snapshot text, pruned_to int, base text?",
    2,
    order="rowid",
)
JOURNAL: Final = CopiedTable(
    "journal",
    "seq int, at real, account name, life int, source name, event name, target name, rule name, attempt int, "
    "failures int, delay real?, draw real?, deadline real?, dwell real, body text",
    1,
    order="seq",
)
SNAPSHOTS: Final = CopiedTable("snapshots", "account name, seq int, at real, snapshot text", 1)
RENAMES: Final = CopiedTable("renames", "at real, former text, name text", 3, order="rowid")
INCIDENTS: Final = CopiedTable(
    "incidents",
    "id int, kind text, cause text, fleet bool, severity text, since real, opened real, closed real?, acked real?, "
    "detail text",
    1,
    order="id",
)
MEMBERS: Final = CopiedTable("incident_members", "incident int, slot text, name text, until real?", 3)
ALERTS: Final = CopiedTable(
    "alerts",
    "incident int, channel text, message text?, due real?, told real?, messages int, tries int, over bool, "
    "changed real, about text",
    2,
)
JOBS: Final = CopiedTable(
    "jobs",
    "id int, kind text, account text, data text, priority int, state text, due real?, wait real?, attempts int, "
    "losses int, paid int, worker text?, checkpoint text?, result text?, detail text, error text, results int, "
    "done real?, total real?, added real, began real?, since real?, since_done real?, seen real?, ended real?, "
    "held bool",
    1,
    order="id",
)

TABLES: Final = (
    POLICIES,
    LIVES,
    JOURNAL,
    SNAPSHOTS,
    CopiedTable("logins", "account name, login text, user int?", 1),
    RENAMES,
    JOBS,
    CopiedTable("job_results", "job int, number int, value text", 2),
    CopiedTable("job_traces", "job int, trace text", 1),
    CopiedTable("job_charges", "job int, until real, kind text, account text, length real?", 2),
    CopiedTable(
        "messages",
        "owner text, chat int, id int, at real, sender int?, text text, job int, edited real?, deleted real?, "
        "reply_to int?, media text?, media_id int?, media_size int?, media_name text?, raw text?, version int?",
        3,
    ),
    CopiedTable("message_deletions", "chat int, id int, at real", 2),
    CopiedTable(
        "ledger",
        "user int, box int, login text, after int, upto int, since real, until real, first_id int?, last_id int?",
        4,
    ),
    CopiedTable("ledger_holes", "user int, box int, after int, cause text, upto int, since real, until real", 4),
    CopiedTable(
        "ledger_fills", "user int, chat int, source text, after_id int, upto_id int?, at real, from_at real?", 3
    ),
    INCIDENTS,
    MEMBERS,
    ALERTS,
    CopiedTable("usernames", "name text, peer int?, refusal text, at real", 1),
    CopiedTable("username_lookups", "account account, times text", 1),
    CopiedTable("remote_updates", "account account, number int, at real, place int, mark text, body blob", 2),
    CopiedTable("remote_cursors", "account account, program text, feed text, acknowledged int, at real", 2),
)
"""In the order in which they are written: a row comes after those that it refers to."""

LEFT_OUT_OF_SQLITE: Final = {
    "names": "the rows have the names themselves, and each store numbers them anew",
    "present": "which process lives an account, and none does during a copy",
    "job_counts": "triggers count the jobs again",
    "file_moves": "names that backups in this directory get at the next start",
    "nodes": "lives of processes that share the file",
    "node_accounts": "which of them has an account",
    "node_server": "which process has prepared the file for them",
    "job_places": "jobs that run at nodes, and none does during a copy",
    "incident_ranges": "numbers of nodes; the greatest one is copied by itself",
}
"""Tables of ``engine.db`` that are not copied, and why."""
LEFT_OUT_OF_POSTGRES: Final = {
    "schema_versions": "each store has its own",
    "names": LEFT_OUT_OF_SQLITE["names"],
    "accounts": "the accounts come from the config, and their owners were processes",
    "nodes": "lives of processes",
    "account_commands": "commands of people to nodes that run",
    "replaced_logins": "logins that nobody uses any more, in whose place others were brought",
    "settled_servers": "which server nodes have watched",
    "account_section": "how often nodes have changed the accounts of all",
    "present": LEFT_OUT_OF_SQLITE["present"],
    "journal_hours": "made from the journal",
    "journal_batches": "the last batch of each life of a node",
    "job_counts": LEFT_OUT_OF_SQLITE["job_counts"],
    "job_numbers": "the greatest number is copied by itself",
    "job_limits": "rows that nodes lock, made when they are needed",
    "job_places": "jobs that run at nodes, and none does during a copy",
    "job_moves": "movements of a clock that a life of a node has made",
    "incident_order": "a row that nodes lock",
    "incident_ranges": "the greatest number is copied by itself",
    "incident_parts": "what each life of a node knew of an incident; the incident has the sum",
    "sessions": "copied by adapters/storage_copy/logins.py",
    "session_entities": "copied by adapters/storage_copy/logins.py",
    "session_states": "copied by adapters/storage_copy/logins.py",
    "session_files": "copied by adapters/storage_copy/logins.py",
}
"""Tables of the database that are not copied as such, and why."""
LEFT_OUT_COLUMNS: Final = {
    "jobs.node": "the life that has the job",
    "jobs.clock": "the node by whose clock a wait was computed: it does not move with another one's",
    "job_charges.clock": "as jobs.clock",
    "incidents.node": "the life that knows of it",
    "incidents.alike": "made from the incident: by what other nodes know it",
    "incident_members.part": "each incident has one part again, of its own number",
    "alerts.number": "as incident_members.part",
    "alerts.life": "the life that sends the messages",
    "policies.id": "each store numbers them by itself",
    "policies.key": "made from the policy",
    "lives.id": "their order is kept",
    "lives.tx": "the copy is one transaction",
    "renames.id": "their order is kept",
    "journal.tx": "comes before all that is written later",
    "journal.number": "counted again",
    "journal.counts": "attempt, failures, delay, draw and deadline",
    "snapshots.number": "the number of the account's last record",
}
"""Columns of tables that are copied which are not, and why."""
