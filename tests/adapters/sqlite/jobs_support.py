"""Jobs in files, for the tests of them: written and read by another connection."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from adapters.sqlite import open_database
from adapters.sqlite.jobs import NewJob, add, find
from states.jobs import Job

NOW = 1_700_000_000.0


def rows(path: Path, query: str, *values: Any) -> list[Any]:
    """Return what another program reads."""
    with closing(sqlite3.connect(path)) as other:
        return other.execute(query, values).fetchall()


def after_a_kill(path: Path) -> Path:
    """Return a copy of the file as it lies on the disk now, as the next process finds it when this one is killed."""
    copy = path.with_name("killed") / path.name
    copy.parent.mkdir()
    for part in ("", "-wal"):
        shutil.copy(f"{path}{part}", f"{copy}{part}")
    return copy


def new(kind: str = "k", **given: Any) -> NewJob:
    """Return a job to be added."""
    return NewJob(kind=kind, **{"data": {}} | given)


def stored(path: Path, number: int = 1) -> Job:
    """Return a job as the file has it."""
    with closing(open_database(path)) as db:
        job = find(db, number)
    assert job is not None
    return job


def put(path: Path, job: Job) -> None:
    """Add a job in the middle of its life."""
    (number,) = add(path, [new(job.kind, account=job.account)])
    with closing(open_database(path)) as db:
        names = ("state", "due", "attempts", "losses", "paid", "worker", "ended")
        cells = {name: getattr(job, name) for name in names}
        db.execute(
            f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in cells)} WHERE id = ?", (*cells.values(), number)
        )
