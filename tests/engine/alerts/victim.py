"""A process with alerts and nothing else, which its test kills: ``victim.py CONFIG new|again COUNT``."""

import sys
import time
from pathlib import Path

import anyio

from adapters.sqlite import GroupWriter, open_database
from adapters.sqlite.outbox import Outbox
from adapters.sqlite.schema import migrate
from adapters.system import SystemClock
from engine.app.alerts import Alerts
from engine.config import load
from states.alerts import About
from tests.engine.alerts.changes import opened


def incident(number: int) -> About:
    return About(
        id=number, kind="needs_person", since=1e9, opened=1e9, severity="critical", accounts=("A",), accounts_total=1
    )


async def main(config: Path, *, new: bool, count: int) -> None:
    settings = load(config)
    path = config.parent / "engine.db"
    connection = open_database(path)
    migrate(connection, path)
    writer = GroupWriter(path=str(path), connection=connection, on_trouble=lambda failure, waiting: None)
    alerts = Alerts.of(settings, Outbox(path, writer), SystemClock(), lambda name, label, why: None)
    await alerts.restore([] if new else [incident(number) for number in range(1, count + 1)])
    if new:
        for number in range(1, count + 1):
            await writer.write_together(alerts.rows_of([opened(incident(number))]))
        await writer.flush()
    print("stored", time.time(), flush=True)
    await alerts.run()


if __name__ == "__main__":
    anyio.run(lambda: main(Path(sys.argv[1]), new=sys.argv[2] == "new", count=int(sys.argv[3])))
