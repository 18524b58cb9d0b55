"""What the journal writes in one batch: one statement, with the fence of the node's life and the number of the batch.

One statement is one transaction: a process that is stopped between two statements would keep its locks, and hold up
its own death. The rows of one kind are one array for each of their columns.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from attrs import define, field, frozen

from adapters.postgres.arrays import BinaryArray, array_of
from adapters.postgres.fence import FENCE
from adapters.postgres.statements import Row, clean
from adapters.sqlite.codec import encode_snapshot
from adapters.sqlite.queue import storable
from states.snapshot import Snapshot

_MAX_INTEGER: Final = 2**63 - 1
_ANY_LIFE: Final = -1
_encode: Final = msgspec.json.Encoder().encode


@define
class JournalNumbers:
    """The numbers by which the tables know names, and how many records each account has."""

    names: dict[str, int] = field(factory=dict)
    records: dict[str, int] = field(factory=dict)


Columns = Sequence[Sequence[Any]]
"""The values of each column, in the order of the kind's ``columns``."""


@frozen(eq=False)
class JournalRows:
    """One kind of row: its columns, each with its type, and the function that makes their values.

    Cells in ``names`` are names, which are stored by number; those in ``whole`` are whole numbers. With ``latest``, of
    rows with the same first so many cells only the last is stored. Kinds with a lower ``order`` come first.
    """

    name: str
    columns: dict[str, str]
    values: Callable[[Sequence[Row], JournalNumbers], Columns]
    names: tuple[int, ...] = ()
    whole: tuple[int, ...] = ()
    latest: int = 0
    order: int = 0
    constants: tuple[str, ...] = ()

    def storable(self, row: Sequence[Any]) -> Row:
        """Return a row as PostgreSQL can store it. Raises ``TypeError`` or ``ValueError`` for one that it cannot."""
        if isinstance(row[-1], Snapshot):
            made: Row = (*storable(row[:-1]), row[-1])
        else:
            made = storable(row)
        for cell in self.whole:
            if not isinstance(row[cell], int | None) or not -_MAX_INTEGER <= (row[cell] or 0) <= _MAX_INTEGER:
                raise ValueError(f"{row[cell]} cannot be stored")
        for cell in self.names:
            if "\0" in made[cell]:
                made = (*made[:cell], clean(made[cell]), *made[cell + 1 :])
        return made

    def calls(self, rows: Sequence[Row], constants: Sequence[Any] = ()) -> list[tuple[str, Sequence[Row]]]:
        """Return the rows to store, with the name of their kind."""
        if self is PRESENCE:
            return _presences(rows)
        if self.latest == 1:
            rows = list({row[0]: row for row in rows}.values())
        elif self.latest:
            rows = list({row[: self.latest]: row for row in rows}.values())
        return [(self.name, rows)]

    @property
    def source(self) -> str:
        """The rows in SQL, ``n`` is their order; none if the batch is not to be stored."""
        arrays = ", ".join(f"%({self.name}_{column})s::{kind}[]" for column, kind in self.columns.items())
        return f"turn CROSS JOIN unnest({arrays}) WITH ORDINALITY AS given ({', '.join(self.columns)}, n)"

    def arrays(self, rows: Sequence[Row], numbers: JournalNumbers) -> dict[str, BinaryArray]:
        """Return the values of these rows by the names that ``source`` has for them."""
        made = self.values(rows, numbers) if rows else [()] * len(self.columns)
        return {
            f"{self.name}_{column}": array_of(kind, values)
            for (column, kind), values in zip(self.columns.items(), made, strict=True)
        }


def _plain(rows: Sequence[Row], _: JournalNumbers) -> Columns:
    return list(zip(*rows, strict=True))


def _of_accounts(rows: Sequence[Row], numbers: JournalNumbers) -> Columns:
    """Return the cells as they are, but for the first one, a name."""
    accounts, *rest = zip(*rows, strict=True)
    return [_numbers(accounts, numbers), *rest]


def _numbers(names: Sequence[str], numbers: JournalNumbers) -> Sequence[int]:
    return list(map(numbers.names.__getitem__, names))


def _records(rows: Sequence[Row], numbers: JournalNumbers) -> Columns:
    accounts, lives, sources, events, targets, rules, attempts, failures, at, dwell, *times, bodies = zip(
        *rows, strict=True
    )
    records, counted = numbers.records, []
    for account in accounts:
        records[account] = number = records[account] + 1
        counted.append(number)
    named = [_numbers(each, numbers) for each in (accounts, sources, events, targets, rules)]
    counts = [_encode(each).decode() for each in zip(attempts, failures, *times, strict=True)]
    return [named[0], counted, lives, *named[1:], at, dwell, counts, bodies]


def _snapshots(rows: Sequence[Row], numbers: JournalNumbers) -> Columns:
    accounts, at, snapshots = zip(*rows, strict=True)
    counted = [numbers.records[account] for account in accounts]
    return [_numbers(accounts, numbers), counted, at, list(map(encode_snapshot, snapshots))]


POLICY: Final = JournalRows("policy", {"key": "text", "policy": "text"}, _plain, latest=1)
"""(its key, policy as JSON)"""
LIFE: Final = JournalRows(
    "life",
    {"account": "integer", "life": "bigint", "at": "double precision", "policy": "text", "snapshot": "text"},
    _of_accounts,
    names=(0,),
    whole=(1,),
    latest=2,
    order=1,
)
"""(account, life, at, the key of its policy, snapshot as JSON)"""
RECORD: Final = JournalRows(
    "record",
    {
        "account": "integer", "number": "bigint", "life": "bigint", "source": "integer", "event": "integer",
        "target": "integer", "rule": "integer", "at": "double precision", "dwell": "double precision",
        "counts": "text", "body": "text",
    },
    _records,
    names=(0, 2, 3, 4, 5),
    whole=(1, 6, 7),
    order=2,
)  # fmt: skip
"""As ``adapters.sqlite.schema.RECORD``."""
SNAPSHOT: Final = JournalRows(
    "snapshot",
    {"account": "integer", "number": "bigint", "at": "double precision", "snapshot": "text"},
    _snapshots,
    names=(0,),
    latest=1,
    order=3,
)
"""(account, at, the snapshot itself: most are followed by another one in the same batch, and are not encoded)"""
_PRESENT: Final = {"account": "integer", "life": "bigint", "engine": "text"}
PRESENCE: Final = JournalRows("present", _PRESENT, _of_accounts, names=(0,), whole=(1,), order=4)
"""(account, life, identity of the engine that lives it; None: none does any more)"""
_ABSENCE: Final = JournalRows("absent", _PRESENT, _of_accounts, names=(0,), order=5)
LOGIN: Final = JournalRows(
    "login",
    {"account": "integer", "login": "text", "user_id": "bigint"},
    _of_accounts,
    names=(0,),
    whole=(2,),
    latest=1,
    order=6,
)
"""(account, fingerprint of its key, its user or None)"""

KINDS: Final = {kind.name: kind for kind in (POLICY, LIFE, RECORD, SNAPSHOT, PRESENCE, _ABSENCE, LOGIN)}


def _presences(rows: Sequence[Row]) -> list[tuple[str, Sequence[Row]]]:
    """Return what the rows come to, in their order: who lives which account, and which lives are nobody's."""
    present: dict[str, Row] = {}
    absent: dict[tuple[str, int], Row] = {}
    for account, life, engine in rows:
        if engine is not None:
            present[account] = (account, life, engine)
            absent = {key: row for key, row in absent.items() if key[0] != account}
        elif account not in present:
            absent[account, life] = (account, life, None)
        elif present[account][1] == life:
            del present[account]
            absent[account, _ANY_LIFE] = (account, _ANY_LIFE, None)
    return [(PRESENCE.name, list(present.values())), (_ABSENCE.name, list(absent.values()))]


_PARTS: Final = {
    "policy": "INSERT INTO policies (key, policy) SELECT key, policy FROM {rows} ON CONFLICT DO NOTHING",
    "life": """INSERT INTO lives (account, life, at, policy, snapshot)
        SELECT account, life, at, policy, snapshot FROM {rows}
        ON CONFLICT (account, life)
        DO UPDATE SET at = excluded.at, policy = excluded.policy, snapshot = excluded.snapshot""",
    "record": """INSERT INTO journal (account, number, life, source, event, target, rule, at, dwell, counts, body)
        SELECT account, number, life, source, event, target, rule, at, dwell, counts, body FROM {rows} ORDER BY n
        RETURNING account, seq, at""",
    "hours": """INSERT INTO journal_hours (hour, node, seq)
        SELECT floor(at / 3600), %(node)s, min(seq) FROM stored_record GROUP BY 1 ON CONFLICT DO NOTHING""",
    # Without a record in the batch, what is stored of the account's last one stays.
    "snapshot": """INSERT INTO snapshots AS former (account, seq, number, at, snapshot)
        SELECT given.account, coalesce(last.seq, 0), number, at, snapshot
        FROM {rows} LEFT JOIN (SELECT account, max(seq) AS seq FROM stored_record GROUP BY account) AS last
            ON last.account = given.account
        ON CONFLICT (account) DO UPDATE
        SET seq = greatest(former.seq, excluded.seq), number = excluded.number, at = excluded.at,
            snapshot = excluded.snapshot""",
    "present": """INSERT INTO present (account, life, engine) SELECT account, life, engine FROM {rows}
        ON CONFLICT (account) DO UPDATE SET life = excluded.life, engine = excluded.engine""",
    "absent": f"""DELETE FROM present USING {{rows}}
        WHERE present.account = given.account AND given.life IN (present.life, {_ANY_LIFE})""",
    "login": """INSERT INTO logins (account, login, "user") SELECT account, login, user_id FROM {rows}
        ON CONFLICT (account) DO UPDATE SET login = excluded.login, "user" = excluded."user\"""",
}

_BEGIN: Final = f"""WITH fence AS ({FENCE.replace("%s", "%(node)s")}),
    turn AS (INSERT INTO journal_batches AS stored (node, batch) SELECT id, %(batch)s FROM fence
        ON CONFLICT (node) DO UPDATE SET batch = excluded.batch WHERE stored.batch < excluded.batch RETURNING node)"""
_END: Final = " SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM turn)"
"""Whether the life goes on, and whether this batch was stored now, and not before."""


def needed_kinds(names: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds of a batch in their order; a snapshot asks for the records, even if there are none."""
    found = set(names)
    if SNAPSHOT.name in found:
        found.add(RECORD.name)
    return tuple(name for name in KINDS if name in found)


@lru_cache(maxsize=64)
def batch_sql(kinds: tuple[str, ...]) -> str:
    """Return the statement that stores a batch with rows of these kinds."""
    parts = [f"stored_{name} AS ({_PARTS[name].format(rows=KINDS[name].source)})" for name in kinds]
    if RECORD.name in kinds:
        parts.append(f"stored_hours AS ({_PARTS['hours']})")
    return ", ".join([_BEGIN, *parts]) + _END
