"""A process that claims jobs in a shared file as a life of a node, begins them, says which, and stays."""

import asyncio
import sys
import time
from pathlib import Path

import anyio

from adapters.sqlite.node_file import NodeFile
from adapters.sqlite.shared_jobs import SharedJobs
from states.jobs import Begun, decide
from tests.storage.shared_files import journal_of


async def hold(path: Path, life: int, count: int) -> None:
    """Claim so many jobs of the kind ``k``, and store that half of them run."""
    async with journal_of(path, life) as journal:
        link = NodeFile.open(path, durable=True)
        jobs = SharedJobs(path, journal.jobs.writer, link=link, life=life, node="holder")
        claimed = await jobs.ready("k", None, count)
        for job in claimed[: count // 2]:
            await jobs.save(decide(job, Begun("A"), now=time.time()))
        await jobs.flush()
        print(*(job.id for job in claimed), flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    asyncio.run(hold(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
