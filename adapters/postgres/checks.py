"""What ``doctor`` asks of a PostgreSQL server: whether it keeps what it has acknowledged when its host is lost.

A message is sent once because its ``random_id`` and its checkpoint were committed before. A server that forgets commits
breaks that, so replication has to be synchronous, and the disk has to be written to.
"""

from typing import Final

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
    """Whether a server keeps its commits, and what is to be done."""

    keeps: bool
    sentence: str
    """What is so, and where it is not well, the remedy."""


async def durability(connection: StoreConnection) -> Durability:
    """Return whether an acknowledged commit outlives the crash and the loss of the server's host.

    Raises ``StoreUnusable``.
    """
    [row] = await connection.execute(_SELECT)
    names, commit, fsync, pages, standbys, synchronous, may_see = row
    if not fsync or not pages:
        setting = "fsync" if not fsync else "full_page_writes"
        return _bad(f"{setting} is off, so a crash of the host destroys the database", f"set {setting} = on")
    if not names.strip():
        return _bad(
            "replication is not synchronous, so the loss of the server's host loses what was acknowledged, and "
            "messages are sent twice",
            f"set synchronous_standby_names (with Patroni: synchronous_mode: true); {_standbys(standbys)}",
        )
    if commit in ("off", "local"):
        return _bad(
            f"synchronous_commit is {commit}, so commits do not wait for the standby", "set synchronous_commit = on"
        )
    if may_see and not synchronous:
        return _bad(
            "replication is synchronous and no standby takes part, so every write waits",
            "start the standby, or name it",
        )
    seen = f"{synchronous} of {standbys} standbys" if may_see else "its standbys, which this user may not see"
    return Durability(keeps=True, sentence=f"replication is synchronous: a commit waits for {seen}")


def _standbys(number: int) -> str:
    return f"{number or 'no'} {'standby is' if number == 1 else 'standbys are'} connected"


def _bad(what: str, remedy: str) -> Durability:
    return Durability(keeps=False, sentence=f"{what}; {remedy}")
