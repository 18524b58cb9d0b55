"""What commands change of the jobs of a fleet, from any host: never on an event loop.

A command is no life of a node, so it has no fence: each job is locked while it is changed, and a node that writes it at
the same time finds what the command has made of it.
"""

import time
from collections.abc import Iterable

from adapters.postgres import job_statements as of_jobs
from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import blocking_store
from adapters.postgres.jobs import adding, new_rows, numbers_of
from adapters.sqlite.errors import Undecodable
from adapters.sqlite.job_codec import job_from, job_row
from adapters.sqlite.job_reader import MAX_NUMBER
from adapters.sqlite.jobs import NewJob
from states.jobs import Job, JobEvent, decide


def add_jobs(address: StoreAddress, jobs: Iterable[NewJob]) -> range:
    """Add jobs, all or none; return their numbers.

    Raises ``StoreError``, and ``ValueError`` or ``TypeError`` for data that JSON does not have.
    """
    rows = new_rows(jobs, time.time(), None)
    if not rows:
        return range(0)
    with blocking_store(address) as store, store.transaction():
        answers = [store.rows(statement, values) for statement, values in adding(rows)]
    return numbers_of(answers[0], len(rows))


def change_jobs(address: StoreAddress, numbers: Iterable[int], event: JobEvent) -> list[tuple[Job, Job] | int | str]:
    """Apply an operator's command to jobs, all in one transaction.

    Returns for each number the job before and after, the number itself if there is no such job, or why it cannot be
    read. A job that a node has stays that node's until it has noticed: two must not do it at once.
    """
    wanted = list(numbers)
    outcomes: list[tuple[Job, Job] | int | str] = []
    with blocking_store(address) as store, store.transaction():
        query = f"{of_jobs.SELECT_JOB} WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE"
        found = {row[0]: row for row in store.rows(query, ([each for each in wanted if 0 < each <= MAX_NUMBER],))}
        changed = []
        for number in wanted:
            if number not in found:
                outcomes.append(number)
                continue
            try:
                before = job_from(found[number])
            except Undecodable as exc:
                outcomes.append(str(exc))
                continue
            after = decide(before, event, now=time.time())
            outcomes.append((before, after))
            if after is not before:
                changed.append(of_jobs.CHANGE.storable(job_row(after)))
                found[number] = (*found[number][:5], *job_row(after)[1:])  # it may be named twice
        if changed:
            for statement, values in of_jobs.CHANGE.calls(changed):
                store.rows(statement, values)
            store.rows(of_jobs.ADDED)
    return outcomes
