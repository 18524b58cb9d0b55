"""What ``doctor`` asks of a PostgreSQL server: whether it keeps what it has acknowledged when its host is lost.

A message is sent once because its ``random_id`` and its checkpoint were committed before. A server that forgets commits
breaks that, so replication has to be synchronous, and the disk has to be written to.
"""

import time
from typing import Final

import anyio
from attrs import frozen

from adapters.postgres.connect import StoreConnection

_SELECT: Final = """
    SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit'),
        current_setting('fsync')::bool, current_setting('full_page_writes')::bool,
        (SELECT count(*) FROM pg_stat_replication),
        (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')),
        current_setting('is_superuser')::bool OR pg_has_role('pg_read_all_stats', 'USAGE')"""


@frozen(kw_only=True)
class Durability:
    """Whether an acknowledged commit outlives the crash and the loss of the server's host."""

    sentence: str
    keeps: bool = False
    loses: bool = True
    """Whether commits are lost in what the server is set up for; without a standby there is nothing to fail over to."""
    remedy: str = ""


async def durability(connection: StoreConnection) -> Durability:
    """Return what a server's settings promise. Raises ``StoreUnusable``."""
    [row] = await connection.execute(_SELECT)
    names, commit, fsync, pages, standbys, synchronous, may_see = row
    if not fsync or not pages:
        setting = "fsync" if not fsync else "full_page_writes"
        sentence = f"{setting} is off, so a crash of its host destroys the database"
        return Durability(sentence=sentence, remedy=f"set {setting} = on in postgresql.conf")
    if not names.strip():
        return Durability(
            sentence="replication is not synchronous, so the loss of the server's host loses what was acknowledged, "
            f"and messages are sent twice; {_connected(standbys)}",
            loses=standbys > 0,
            remedy="set synchronous_standby_names in postgresql.conf, or with Patroni synchronous_mode: true",
        )
    if commit in ("off", "local"):
        sentence = f"synchronous_commit is {commit}, so commits do not wait for the standby"
        return Durability(sentence=sentence, remedy="set synchronous_commit = on")
    if may_see and not synchronous:
        return Durability(
            sentence="replication is synchronous and no standby takes part, so every write waits",
            remedy="start the standby that synchronous_standby_names has, or name another one",
        )
    seen = f"{synchronous} of {standbys} standbys" if may_see else "standbys that this user may not see"
    return Durability(sentence=f"replication is synchronous: a commit waits for {seen}", keeps=True, loses=False)


def _connected(standbys: int) -> str:
    return f"{standbys or 'no'} {'standby is' if standbys == 1 else 'standbys are'} connected"


# --- the connection and the clock -------------------------------------------------------------------------------------

CLOCK_SECONDS: Final = 1.5
"""For how long the clocks of server and machine are compared."""
_SERVER_CLOCK: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"
_CONNECTION: Final = """SELECT pg_backend_pid(), current_setting('server_encoding'),
    current_setting('idle_in_transaction_session_timeout'), pg_is_in_recovery()"""


@frozen
class ClockReading:
    """The server's clock, and this machine's before and after it was asked, in seconds."""

    server: float
    before: float
    after: float


def rate_error(first: ClockReading, second: ClockReading) -> float:
    """Return by which part the rates of both clocks differ, at least: less what the way to the server explains."""
    here = (second.before + second.after - first.before - first.after) / 2
    unsure = (first.after - first.before + second.after - second.before) / 2
    if here <= 0:
        return 0.0
    return max(abs(second.server - first.server - here) - unsure, 0.0) / here


async def clock_rate_error(connection: StoreConnection) -> float:
    """Return by which part the server's clock goes faster or slower than this machine's. Takes 1.5 s."""
    first = await _read_clock(connection)
    await anyio.sleep(CLOCK_SECONDS)
    return rate_error(first, await _read_clock(connection))


async def _read_clock(connection: StoreConnection) -> ClockReading:
    before = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
    [[server]] = await connection.execute(_SERVER_CLOCK)
    after = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
    return ClockReading(server, before, after)


@frozen
class ConnectionFacts:
    """What a connection is like."""

    encoding: str
    """The database's."""
    keeps_settings: bool
    """Whether one statement follows the other in the same session: a pooler may give each another one."""
    is_standby: bool


async def connection_facts(connection: StoreConnection) -> ConnectionFacts:
    """Return what a connection is like. Raises ``StoreUnusable``."""
    found = [(await connection.execute(_CONNECTION))[0] for _ in range(3)]
    _, encoding, idle, standby = found[-1]
    return ConnectionFacts(encoding, len({pid for pid, *_ in found}) == 1 and idle != "0", standby)
