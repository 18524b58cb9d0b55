"""What is written to and asked of incidents and alerts in PostgreSQL: the tables of ``schema/0005_incidents.sql``."""

from hashlib import blake2b
from typing import Final

from adapters.postgres.statements import RowStatement
from states.incident import Incident
from states.incident_draft import OF_WAY, group_of

RANGE: Final = 1_000_000
"""Numbers of a node; it gets others when half of them are given, at its next start."""
ACCOUNT_SLOTS: Final = "('connection', 'person', 'file', 'limit', 'updates')"

INCIDENT: Final = RowStatement(
    "incident",
    f"SELECT keep_incident({', '.join(f'c{number}' for number in range(13))}) FROM rows",
    types=(
        "bigint", "text", "text", "boolean", "text", "float8", "float8", "float8", "float8", "text", "text", "text",
        "bigint",
    ),
    order=22,
    latest=True,
)  # fmt: skip
"""(number, kind, cause, fleet, severity, since, opened, closed, acked, detail, alike, node, life)"""

MEMBER: Final = RowStatement(
    "incident member",
    """INSERT INTO incident_members SELECT c0, c1, c2, c3 FROM rows WHERE EXISTS (
        SELECT FROM incident_parts WHERE number = c0)
    ON CONFLICT (part, slot, name) DO UPDATE SET until = excluded.until""",
    types=("bigint", "text", "text", "float8"),
    order=23,
    key=(0, 1, 2),
    latest=True,
)
"""(number, slot, name, when it left or None)"""

PRUNE_INCIDENTS: Final = RowStatement(
    "prune incidents",
    """DELETE FROM incidents WHERE id IN (SELECT id FROM incidents
    WHERE closed IS NOT NULL AND closed < (SELECT max(c0) FROM rows) ORDER BY closed LIMIT 256
    FOR UPDATE SKIP LOCKED)""",
    types=("float8",),
    order=24,
    key=(),
    latest=True,
)
"""(before): deletes the first 256 incidents that were over before then. Open ones stay."""
COUNT_OLD: Final = "SELECT count(*) FROM (SELECT FROM incidents WHERE closed < %s LIMIT 256) AS old"

ALERT: Final = RowStatement(
    "alert",
    f"SELECT keep_alert({', '.join(f'c{number}' for number in range(12))}) FROM rows",
    types=(
        "bigint", "text", "text", "float8", "float8", "bigint", "bigint", "boolean", "float8", "text", "boolean",
        "bigint",
    ),
    order=31,
    key=(0, 1),
    latest=True,
)  # fmt: skip
"""(number, channel, message, due, told, messages, tries, over, changed, about as JSON, whether its incident is over for
this node, life): the whole alert."""

PRUNE_ALERTS: Final = RowStatement(
    "prune alerts",
    """DELETE FROM alerts WHERE (incident, channel) IN (SELECT incident, channel FROM alerts
    WHERE changed < (SELECT max(c0) FROM rows)
        AND (over OR EXISTS (SELECT FROM incidents WHERE id = incident AND closed < (SELECT max(c0) FROM rows)))
    ORDER BY changed LIMIT 1000 FOR UPDATE SKIP LOCKED)""",
    types=("float8",),
    order=32,
    key=(),
    latest=True,
)
"""(before): deletes the first thousand alerts that were over before then, also those that nobody could send."""

# --- of incidents ----------------------------------------------------------------------------------------------------

LOCK_RANGES: Final = "LOCK TABLE incident_ranges IN SHARE ROW EXCLUSIVE MODE"
"""Before ``TAKE_RANGE``: two nodes that begin together get different numbers."""
TAKE_RANGE: Final = f"""INSERT INTO incident_ranges (first, node, last)
    SELECT next, %s, next FROM (SELECT coalesce(max(first) + {RANGE}, 0) AS next FROM incident_ranges) AS free
    WHERE NOT EXISTS (SELECT FROM incident_ranges WHERE node = %s AND last < first + {RANGE // 2})"""
"""(node, node)"""
LAST_OF_NODE: Final = f"""SELECT last FROM incident_ranges WHERE node = %s AND last < first + {RANGE // 2}
    ORDER BY first DESC LIMIT 1"""
"""(node): the number after which it goes on."""
ADOPT: Final = """UPDATE incident_parts SET life = %s WHERE node = %s AND closed IS NULL AND life <> %s"""
"""(life, node, life): an earlier life of a node is dead when the next one begins."""
OWN_PARTS: Final = """SELECT number, kind, cause, fleet, part.severity, part.since, part.opened, part.closed, acked,
    detail FROM incident_parts AS part JOIN incidents ON id = incident
    WHERE part.life = %s AND part.closed IS NULL ORDER BY number"""
OWN_ACCOUNTS: Final = f"""SELECT part, name FROM incident_members JOIN incident_parts AS part_ ON part = number
    WHERE life = %s AND closed IS NULL AND slot IN {ACCOUNT_SLOTS}"""
OWN_MEMBERS: Final = """SELECT part, slot, name FROM incident_members JOIN incident_parts AS part_ ON part = number
    WHERE life = %s AND closed IS NULL AND until IS NULL ORDER BY part, slot, name"""
OWN_ACKED: Final = """SELECT number FROM incident_parts AS part JOIN incidents ON id = incident
    WHERE part.life = %s AND part.closed IS NULL AND acked IS NOT NULL"""

COLUMNS: Final = "id, kind, cause, fleet, severity, since, opened, closed, acked, detail"
SELECT: Final = f"SELECT {COLUMNS} FROM incidents"
OF_NUMBER: Final = "coalesce((SELECT incident FROM incident_parts WHERE number = %s), %s)"
"""(number, number): the incident of which this is a part."""
ACCOUNTS: Final = f"""SELECT DISTINCT incident, name FROM incident_parts JOIN incident_members ON part = number
    WHERE slot IN {ACCOUNT_SLOTS} AND incident = ANY(%s::bigint[])"""
"""(incidents): the accounts that were ever in them."""
LEFT: Final = f"""SELECT name, until FROM incident_parts JOIN incident_members ON part = number
    WHERE slot IN {ACCOUNT_SLOTS} AND incident = {OF_NUMBER}"""
INSIDE: Final = """SELECT DISTINCT id, slot, name FROM incidents JOIN incident_parts AS part ON incident = id
    JOIN incident_members ON part = number WHERE incidents.closed IS NULL AND until IS NULL ORDER BY id, slot, name"""
LAST_NUMBER: Final = "SELECT coalesce(max(last), 0) FROM incident_ranges WHERE last > first"
ACKED: Final = "SELECT id FROM incidents WHERE closed IS NULL AND acked IS NOT NULL ORDER BY id"
ACKNOWLEDGE: Final = f"""UPDATE incidents SET acked = %s WHERE id = {OF_NUMBER} AND acked IS NULL AND closed IS NULL
    RETURNING id"""
"""(now, number, number)"""

# --- of alerts -------------------------------------------------------------------------------------------------------

ALERT_COLUMNS: Final = "number, channel, message, due, told, messages, tries, about"
_NOBODY: Final = """(alerts.life IS NULL
    OR NOT EXISTS (SELECT FROM nodes WHERE nodes.id = alerts.life AND nodes.state <> 'dead'))"""
LOAD_OWN: Final = """UPDATE alerts SET life = %s WHERE NOT over AND life IN (
    SELECT id FROM nodes WHERE name = %s AND state = 'dead')"""
"""(life, node): goes on with the alerts of its node's earlier lives."""
SELECT_OWN: Final = f"SELECT {ALERT_COLUMNS} FROM alerts WHERE NOT over AND life = %s ORDER BY number, channel"
SELECT_TOLD: Final = "SELECT channel, told FROM alerts WHERE told > %s"
"""By all nodes: a channel's bound is that of the fleet."""

CLAIM: Final = f"""WITH asked AS (
        SELECT given.number, given.channel, coalesce(part.incident, given.number) AS incident,
            given.closing AND EXISTS (
                SELECT FROM incidents WHERE id = part.incident AND incidents.closed IS NULL) AS early
        FROM unnest(%s::bigint[], %s::text[], %s::boolean[]) AS given (number, channel, closing)
        LEFT JOIN incident_parts AS part ON part.number = given.number),
    free AS (SELECT alerts.incident, alerts.channel, asked.number FROM asked JOIN alerts USING (incident, channel)
        WHERE NOT early AND NOT over AND {_NOBODY} ORDER BY 1, 2 FOR UPDATE OF alerts SKIP LOCKED),
    claimed AS (UPDATE alerts SET life = %s, number = free.number FROM free
        WHERE alerts.incident = free.incident AND alerts.channel = free.channel)
    SELECT asked.number, asked.channel, CASE WHEN early OR over THEN 'no' WHEN free.incident IS NOT NULL THEN 'now'
            WHEN alerts.incident IS NULL THEN 'unknown'
            WHEN alerts.life = %s AND alerts.number = asked.number THEN 'mine' ELSE 'other' END,
        message, due, told, messages, tries
    FROM asked LEFT JOIN alerts USING (incident, channel) LEFT JOIN free USING (incident, channel)"""
"""(numbers, channels, whether each is of an end, life, life): see ``PostgresOutbox.claim``."""

END_PARTS: Final = "SELECT end_parts_of_the_dead(%s, %s)"
"""(seconds since their death, now)"""
TAKE_OVER: Final = f"""WITH known AS (
        SELECT * FROM unnest(%s::bigint[], %s::text[]) AS given (number, channel)),
    free AS (
        SELECT alerts.incident, alerts.channel, incidents.closed, (SELECT number FROM incident_parts AS own
            WHERE own.incident = alerts.incident AND own.life = %s AND own.closed IS NULL ORDER BY 1 LIMIT 1) AS own
        FROM alerts LEFT JOIN incidents ON id = incident
        WHERE NOT over AND channel = ANY(%s::text[]) AND ({_NOBODY} AND (due <= %s OR incidents.closed IS NOT NULL)
            OR alerts.life = %s AND incidents.closed IS NOT NULL AND NOT EXISTS (
                SELECT FROM known WHERE known.number = alerts.number AND known.channel = alerts.channel))
        ORDER BY due, 1, 2 LIMIT 100 FOR UPDATE OF alerts SKIP LOCKED)
    UPDATE alerts SET life = %s, number = coalesce(free.own, alerts.number) FROM free
    WHERE alerts.incident = free.incident AND alerts.channel = free.channel
    RETURNING alerts.number, alerts.channel, message, due, told, messages, tries, about, free.closed"""
"""(numbers and channels that the node knows, life, channels, now, life, life): claims what is to be sent and was
nobody's, or a dead node's. What this node has claimed and knows nothing of is nobody's, too: its own incident was over
before it had the answer."""


def alike(incident: Incident) -> str:
    """Return what is the same for all nodes that see this trouble, and another text for another trouble."""
    kind = group_of(incident.kind)
    account = "" if incident.fleet or not incident.accounts else incident.accounts[0]
    # One outage of an account has many errors, of which each of its owners may have seen another one first.
    cause = "" if account and kind in OF_WAY else incident.cause
    text = "\0".join((kind.value, str(incident.fleet), cause, account))
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
