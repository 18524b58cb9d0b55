"""A process that claims jobs as a life of a node, begins them, says which, and stays: a test kills it."""

import asyncio
import sys
import time

import anyio

from adapters.postgres.address import StoreAddress
from adapters.postgres.connect import StorePool
from adapters.postgres.fenced import FencedLink
from adapters.postgres.group_writer import StoreWriter
from adapters.postgres.jobs import PostgresJobs
from states.jobs import Begun, decide


async def hold(url: str, life: int, count: int) -> None:
    """Claim so many jobs of the kind ``k``, and store that half of them run."""
    link = FencedLink(StorePool(StoreAddress.parse(url)), life)
    writer = StoreWriter(store=link, constants={"life": life, "clock": "holder"})
    jobs = PostgresJobs(writer=writer, link=link, life=life, node="holder")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        claimed = await jobs.ready("k", None, count)
        for job in claimed[: count // 2]:
            await jobs.save(decide(job, Begun("A"), now=time.time()))
        await jobs.flush()
        print(*(job.id for job in claimed), flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
