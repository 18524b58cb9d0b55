"""Messages in the formats that they are exported in."""

import csv
import io
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

from engine.console.format import iso

NAMES: Final = (
    "owner", "chat", "id", "at", "sender", "text", "edited", "deleted", "reply_to", "media", "media_id", "media_size",
    "media_name", "raw",
)  # fmt: skip
TIMES: Final = (3, 6, 7)
"""Which of them are times."""
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How texts begin that a spreadsheet would run. Source: https://owasp.org/www-community/attacks/CSV_Injection"""
BATCH: Final = 1000
_TABLE: Final = """CREATE TABLE messages (
    owner TEXT NOT NULL, chat INTEGER NOT NULL, id INTEGER NOT NULL, at TEXT NOT NULL, sender INTEGER,
    text TEXT NOT NULL, edited TEXT, deleted TEXT, reply_to INTEGER, media TEXT, media_id INTEGER, media_size INTEGER,
    media_name TEXT, raw TEXT, PRIMARY KEY (owner, chat, id)) WITHOUT ROWID"""

Row = Sequence[Any]


def readable(row: Row) -> list[Any]:
    """Return a row with its times in ISO 8601 (UTC)."""
    return [iso(value) if number in TIMES and value is not None else value for number, value in enumerate(row)]


def jsonl(rows: Iterable[Row]) -> Iterator[str]:
    """Yield one JSON object on a line for each message; ``raw`` is an object in it."""
    for row in rows:
        values = dict(zip(NAMES, readable(row), strict=True))
        values["raw"] = _parsed(values["raw"])
        yield json.dumps(values, ensure_ascii=False) + "\n"


def _parsed(raw: str | None) -> Any:
    try:
        return None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        return raw


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """Yield lines of CSV (RFC 4180, with a header); a text that a spreadsheet would run begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(NAMES)
    yield text.getvalue()
    for row in rows:
        text.seek(0)
        text.truncate()
        writer.writerow([_harmless(value) for value in readable(row)])
        yield text.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def write_sqlite(path: Path, rows: Iterable[Row]) -> int:
    """Write a database with one table, ``messages``; return how many there are."""
    count, rest = 0, iter(rows)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = OFF")  # nobody sees the file before it is whole
        db.execute(_TABLE)
        while batch := [readable(row) for row in islice(rest, BATCH)]:
            db.execute("BEGIN")
            db.executemany(f"INSERT OR REPLACE INTO messages VALUES ({', '.join('?' * len(NAMES))})", batch)
            db.execute("COMMIT")
            count += len(batch)
    return count
