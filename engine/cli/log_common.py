"""What the subcommands of ``log`` share."""

import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.stores.journal_rows import UnreadableRow
from engine.app.records import open_records
from engine.cli.common import match_accounts
from engine.config import load_outline
from engine.console.format import date_and_time
from engine.console.names import matching
from engine.console.safe_text import one_line

if TYPE_CHECKING:  # only the types
    from engine.journal.ports import JournalRecords


def open_journal(config: Path) -> "JournalRecords":
    """Open the journal of a config. Raises ``ConfigError`` and ``StorageError``."""
    return open_records(load_outline(config))


def journal_accounts(reader: "JournalRecords", pattern: str, *, others: Iterable[str] = ()) -> list[str]:
    """Return the accounts of the journal, or ``others``, that ``--account`` means; exit if there are none.

    An account that nobody else is called like is found by its former names too; stderr says what it is called now.
    """
    known = sorted({*reader.accounts(), *others})
    if matching(known, pattern):
        return match_accounts(known, pattern, option="--account")
    now: dict[str, tuple[float, str]] = {}
    for at, together in groupby(reader.former_names(), key=itemgetter(0)):  # a swap happens at once
        names = {former: name for _, former, name in together}
        now = {former: (until, names.get(name, name)) for former, (until, name) in now.items()}
        now |= {former: (at, name) for former, name in names.items()}
    found = matching(sorted(former for former, (_, name) in now.items() if name in known), pattern)
    for former in found:
        until, name = now[former]
        said = f"{former} has been called {name} since {date_and_time(until)}; this is its journal"
        print(one_line(said), file=sys.stderr)
    meant = list(dict.fromkeys(now[former][1] for former in found))
    return meant or match_accounts(known, pattern, option="--account")


def tell_unreadable(rows: Sequence[UnreadableRow]) -> None:
    """Say on stderr how many rows of the journal were left out, and which is the first."""
    if rows:
        where = (
            f"entry {rows[0].seq}" if rows[0].seq else f"what is stored of {rows[0].account or 'an unknown account'}"
        )
        count = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
        said = f"⚠️ {count} of the journal cannot be read, and left out; the first is {where}: {rows[0].why}"
        print(one_line(said), file=sys.stderr)
