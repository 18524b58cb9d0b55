"""Commands to accounts as rows: asked on any host, carried out by the node that owns the account.

A command has a deadline by the server's clock, after which nobody begins it; how many wait for an account is bounded.
Whoever asks reads the answer and deletes the row; what a killed one has left, nodes delete later.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import anyio
from attrs import frozen

from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import BlockingStore, blocking_store
from adapters.postgres.connect import StoreConnection
from adapters.postgres.errors import translating_store_errors
from adapters.postgres.statements import clean

CHANNEL: Final = "holdfast_commands"
MAX_WAITING: Final = 16
"""Commands that wait for one account."""
MAX_DUE: Final = 100
"""Commands that a node reads at a time."""
FIRST_LOOK: Final = 0.05
LOOK_EVERY: Final = 0.5
"""Seconds between two looks for an answer, at first and later."""

_DUE: Final = f"""
    SELECT c.id, a.name, c.verb FROM account_commands c JOIN accounts a ON a.id = c.account
    WHERE a.owner = %(life)s AND c.done IS NULL AND c.expires_at > clock_timestamp() ORDER BY c.id LIMIT {MAX_DUE}"""
_OF_LIFE: Final = """
    FROM accounts a JOIN nodes n ON n.id = a.owner AND n.state <> 'dead'
    WHERE a.id = c.account AND a.owner = %(life)s AND c.done IS NULL"""
_BEGIN: Final = f"""
    UPDATE account_commands c SET taken_by = %(life)s {_OF_LIFE}
        AND c.id = ANY(%(ids)s) AND c.expires_at > clock_timestamp() RETURNING c.id"""
_ANSWER: Final = f"""
    UPDATE account_commands c SET done = %(done)s, said = %(said)s {_OF_LIFE} AND c.id = %(id)s RETURNING c.id"""
_TIDY: Final = "DELETE FROM account_commands WHERE expires_at < clock_timestamp() - interval '10 minutes'"

_ASK: Final = f"""
    INSERT INTO account_commands (account, verb, expires_at)
    SELECT a.id, %(verb)s, clock_timestamp() + make_interval(secs => %(timeout)s) FROM accounts a
    WHERE a.name = ANY(%(names)s) AND a.hosts <> '' AND (
        SELECT count(*) FROM account_commands c
        WHERE c.account = a.id AND c.done IS NULL AND c.expires_at > clock_timestamp()) < {MAX_WAITING}
    RETURNING id, (SELECT name FROM accounts WHERE accounts.id = account)"""
_ANSWERED: Final = "DELETE FROM account_commands WHERE id = ANY(%(ids)s) AND done IS NOT NULL RETURNING id, done, said"
_WITHDRAW: Final = "DELETE FROM account_commands WHERE id = ANY(%(ids)s) RETURNING id, done, said, taken_by IS NOT NULL"


class CommandRows:
    """The rows of commands for a node, over one connection. All methods raise ``StoreUnusable``."""

    def __init__(self, connection: StoreConnection, life: Callable[[], int]) -> None:
        self._connection = connection
        self._life = life

    async def listen(self) -> None:
        """Have the server hint at new commands, and delete what was left."""
        await self._connection.execute(_TIDY)
        await self._connection.execute(f"LISTEN {CHANNEL}")

    async def due(self) -> list[tuple[int, str, str]]:
        """Return number, account and verb of the commands to accounts that this life owns, oldest first."""
        return [(number, name, verb) for number, name, verb in await self._execute(_DUE, {})]

    async def begin(self, numbers: Collection[int]) -> frozenset[int]:
        """Note that this life carries commands out; return those that still wait for it."""
        return frozenset(number for (number,) in await self._execute(_BEGIN, {"ids": list(numbers)}))

    async def answer(self, number: int, *, done: bool, said: str) -> bool:
        """Write an answer unless the account is another's now; return whether somebody will read it."""
        return bool(await self._execute(_ANSWER, {"id": number, "done": done, "said": clean(said)}))

    async def notice(self) -> None:
        """Return when the server has sent a hint, or anything else. May be cancelled at any time."""
        raw = self._connection.raw.pgconn
        with translating_store_errors(self._connection.address.shown):
            while raw.notifies() is None:
                await anyio.wait_readable(raw.socket)
                raw.consume_input()
            while raw.notifies() is not None:
                pass

    async def _execute(self, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        return await self._connection.execute(sql, {**values, "life": self._life()})


@frozen
class CommandAnswer:
    """What came of a command to an account."""

    done: bool
    said: str


class NoOutcome:
    """Why there is no answer to a command."""

    CROWDED: Final = "crowded"
    """So many commands wait for the account that this one was not taken."""
    UNTOUCHED: Final = "untouched"
    """No node has begun it, and none will."""
    BEGUN: Final = "begun"
    """A node has begun it and may still do it."""


def ask_accounts(
    address: StoreAddress, verb: str, names: Sequence[str], *, timeout: float
) -> dict[str, CommandAnswer | str]:
    """Have whoever owns these accounts carry a command out; return the answers, or why there is none (``NoOutcome``).

    Blocks for at most ``timeout`` seconds. Raises ``StoreError``.
    """
    found: dict[str, CommandAnswer | str] = dict.fromkeys(names, NoOutcome.CROWDED)
    with blocking_store(address) as store:
        with store.transaction():
            asked = store.rows(_ASK, {"verb": verb, "names": [clean(name) for name in names], "timeout": timeout})
            store.rows("SELECT pg_notify(%s, '')", (CHANNEL,))
        waiting = dict(asked)
        with _withdrawn(store, waiting, found):
            until, pause = time.monotonic() + timeout, FIRST_LOOK
            while waiting and time.monotonic() < until:
                time.sleep(pause)
                pause = min(2 * pause, LOOK_EVERY)
                for number, done, said in store.rows(_ANSWERED, {"ids": list(waiting)}):
                    found[waiting.pop(number)] = CommandAnswer(done, said)
    return found


@contextmanager
def _withdrawn(store: BlockingStore, waiting: dict[int, str], found: dict[str, CommandAnswer | str]) -> Iterator[None]:
    """Take back what is not answered at the end of the block, also if that is interrupted."""
    try:
        yield
    finally:
        if waiting:
            for number, done, said, begun in store.rows(_WITHDRAW, {"ids": list(waiting)}):
                answer = CommandAnswer(done, said) if done is not None else None
                found[waiting.pop(number)] = answer or (NoOutcome.BEGUN if begun else NoOutcome.UNTOUCHED)
