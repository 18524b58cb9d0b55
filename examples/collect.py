"""Read a chat's whole history into the table ``messages`` of ``engine.db``, and print the last lines of it.

    python collect.py CHAT [CONFIG]

Interrupt it and start it again: the job goes on from its last checkpoint, and each message is there once.
"""

import asyncio
import sqlite3
import sys
from contextlib import closing

from engine import Engine


async def main(chat: str, config: str = "config.yaml") -> None:
    """Add the job unless one is still to be done, wait for it, and look at what it found."""
    engine = Engine.from_config(config)
    async with engine:
        number = await engine.add_job("collect", {"chat": chat})
        job = await engine.finished(number)
        print(f"{job.state}: {job.result}")
    with closing(sqlite3.connect(engine.config.storage.directory / "engine.db")) as database:
        query = "SELECT id, text FROM messages WHERE job = ? ORDER BY id DESC LIMIT 3"
        for message, text in database.execute(query, (number,)):
            print(f"{message}: {text}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
