"""The statistics of a journal's file, for the commands that show them."""

from collections.abc import Collection
from itertools import takewhile
from typing import TYPE_CHECKING

from adapters.system import Holder
from engine.journal.stats import AccountHistory, Stats, measure

if TYPE_CHECKING:  # only the types
    from engine.journal.ports import JournalRecords


def measured(
    reader: "JournalRecords",
    holder: Holder | None,
    since: float | None,
    until: float,
    accounts: Collection[str] | None = None,
) -> Stats:
    """Return the statistics of a period (Unix seconds), of all accounts or of some; ``holder`` is the engine that runs.

    ``since`` None is the beginning.
    """
    first = reader.first_since(since) if since is not None else max(1, reader.first_seq())
    end = reader.first_since(until)
    before = reader.last_moves(first) if since is not None else {}
    named = holder is not None and holder.engine != ""  # an engine of an older version is not: then the clock decides
    present = reader.present(holder.engine) if holder is not None else set()
    histories = {}
    for account, sign in reader.last_seen().items():
        if accounts is not None and account not in accounts:
            continue
        last = before.get(account)
        lives = reader.lives(account, from_life=last.life if last else 0)
        # A life in the running engine has not ended; any other ended with its last sign of life.
        runs = account in present if named else holder is not None and lives and lives[-1].at >= holder.since
        histories[account] = AccountHistory(lives=lives, last=last, ends=until if runs else sign)
    moves = takewhile(lambda move: move.seq < end, reader.moves(first)) if accounts is not None else reader.moves(first)
    return measure(histories, moves, since=since, until=until)
