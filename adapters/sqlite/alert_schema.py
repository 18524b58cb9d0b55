"""The table of alerts in ``engine.db``: what each channel is told of each incident, and what it was told."""

from typing import Final

from adapters.sqlite.queue import Statement, cell

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS alerts (
        incident INTEGER NOT NULL, channel TEXT NOT NULL, message TEXT, due REAL, told REAL,
        messages INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, over INTEGER NOT NULL DEFAULT 0,
        changed REAL NOT NULL, about TEXT NOT NULL, PRIMARY KEY (incident, channel)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS alerts_open ON alerts (incident, channel) WHERE over = 0",
    "CREATE INDEX IF NOT EXISTS alerts_over ON alerts (changed) WHERE over = 1",
    "CREATE INDEX IF NOT EXISTS alerts_told ON alerts (told) WHERE told IS NOT NULL",
)
"""``message`` is what is to be sent next, from ``due`` on; ``over`` says that nothing will be sent any more; ``about``
has the incident as messages tell of it."""

COLUMNS: Final = ("incident", "channel", "message", "due", "told", "messages", "tries", "over", "changed", "about")

ALERT = Statement(
    "alert",
    f"""INSERT INTO alerts ({", ".join(COLUMNS)})
    SELECT {", ".join(map(cell, range(len(COLUMNS))))} FROM rows WHERE true
    ON CONFLICT (incident, channel) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS[2:])}""",
    width=len(COLUMNS),
    order=31,
)
"""(incident, channel, message, due, told, messages, tries, over, changed, about as JSON): the whole alert."""

PRUNE_ALERTS = Statement(
    "prune alerts",
    f"""DELETE FROM alerts WHERE (incident, channel) IN (SELECT incident, channel FROM alerts INDEXED BY alerts_over
    WHERE over = 1 AND changed < (SELECT max({cell(0)}) FROM rows) ORDER BY changed LIMIT 1000)""",
    width=1,
    order=32,
)
"""(before): deletes the first thousand alerts that were over before then."""

SELECT_OPEN: Final = f"SELECT {', '.join(COLUMNS)} FROM alerts INDEXED BY alerts_open WHERE over = 0"
SELECT_TOLD: Final = "SELECT channel, told FROM alerts INDEXED BY alerts_told WHERE told IS NOT NULL AND told > ?"
