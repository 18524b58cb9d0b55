"""Read a chat's whole history into the database, and print its last messages.

    python collect.py CHAT [CONFIG]

If it is interrupted, the job waits in ``engine.db``. It goes on from its last checkpoint
with the next engine on that config, and each message is there once.
"""

import asyncio
import sqlite3
import sys
from contextlib import closing

from engine import Engine


async def main(chat: str, config: str = "config.yaml") -> None:
    """Add the job, wait until it is over, and look at what it found."""
    engine = Engine.from_config(config)
    async with engine:
        number = await engine.add_job("collect", {"chat": chat})
        job = await engine.finished(number)
        print(f"{job.state}: {job.result}")
    if job.result is None:
        sys.exit(job.detail)  # the job has failed
    file = engine.config.storage.directory / "engine.db"
    with closing(sqlite3.connect(file)) as database:
        query = "SELECT id, text FROM messages WHERE chat = ? ORDER BY id DESC LIMIT 3"
        for message, text in database.execute(query, (job.result["chat"],)):
            print(f"{message}: {text}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
