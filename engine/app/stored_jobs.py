"""Where the jobs of a config are: in the engine's own file, or in the database of many nodes. A composition root."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from engine import paths
from states.job import Job

if TYPE_CHECKING:  # reading jobs needs neither the writer nor PostgreSQL's client
    from adapters.postgres.address import StoreAddress
    from adapters.sqlite.jobs import NewJob
    from engine.app.records import StoragePlace
    from states.jobs import JobEvent


class StoredJobs(Protocol):
    """Reads jobs. Not for an event loop."""

    on_unreadable: Callable[[int, str], None]
    """Called for each job that ``jobs`` leaves out because its row cannot be read: its number, and why."""

    def job(self, number: int) -> Job | None:
        """Return a job by its number."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many jobs there are, by kind and state."""

    def count_failed(self, accounts: Collection[str], since: float, until: float) -> int:
        """Return how many jobs of these accounts have failed from ``since`` to before ``until`` (Unix seconds)."""

    def jobs(self, wanted: Mapping[str, Sequence[str] | None], *, last: int | None = None) -> Iterator[Job]:
        """Yield the jobs whose columns have one of these values (None: any), oldest first; of ``last`` the newest."""

    def newest_of(self, account: str, count: int, *, among: int) -> list[Job]:
        """Return the newest jobs that are for an account, or were done by it, among the newest of all; newest first."""

    def trace(self, number: int) -> str | None:
        """Return the traceback of a job's last failure, if one is kept."""

    def results(self, number: int, limit: int) -> list[Any]:
        """Return the first ``limit`` results that a job has stored."""


class StoredMessages(Protocol):
    """Reads the messages of a chat. Not for an event loop."""

    def chat_named(self, name: str) -> int | None:
        """Return the id of the chat that a job calls so; None if none has."""

    def messages(self, chat: int, since: float | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield the messages of this time and later, by owner and number."""


def _address(database: str) -> "StoreAddress":
    from adapters.postgres.address import StoreAddress  # noqa: PLC0415 - psycopg is needed for such a config alone

    return StoreAddress.parse(database)


def open_jobs(place: "StoragePlace") -> AbstractContextManager[StoredJobs]:
    """Open the jobs for reading, for a block. Raises ``StorageError``, also where none was added yet."""
    if place.database is None:
        from adapters.sqlite.job_reader import JobReader  # noqa: PLC0415 - one of the two

        return JobReader.open(place.directory / paths.DATABASE)
    from adapters.postgres.job_reader import PostgresJobReader  # noqa: PLC0415

    return PostgresJobReader.open(_address(place.database))


def open_messages(place: "StoragePlace") -> AbstractContextManager[StoredMessages]:
    """Open what jobs have collected for reading, for a block. Raises ``StorageError``."""
    if place.database is None:
        from adapters.sqlite.message_reader import MessageReader  # noqa: PLC0415 - one of the two

        return MessageReader.open(place.directory / paths.DATABASE)
    from adapters.postgres.job_reader import PostgresMessageReader  # noqa: PLC0415

    return PostgresMessageReader.open(_address(place.database))


def add_jobs(place: "StoragePlace", jobs: "Iterable[NewJob]") -> range:
    """Add jobs, all or none; return their numbers. Raises ``StorageError``."""
    if place.database is None:
        from adapters.sqlite.jobs import add  # noqa: PLC0415 - one of the two

        return add(place.directory / paths.DATABASE, jobs)
    from adapters.postgres import job_commands  # noqa: PLC0415

    return job_commands.add_jobs(_address(place.database), jobs)


def change_jobs(place: "StoragePlace", numbers: Iterable[int], event: "JobEvent") -> list[tuple[Job, Job] | int | str]:
    """Apply an operator's command to jobs; see ``adapters.sqlite.jobs.change``. Raises ``StorageError``."""
    if place.database is None:
        from adapters.sqlite.jobs import change  # noqa: PLC0415 - one of the two

        return change(place.directory / paths.DATABASE, numbers, event)
    from adapters.postgres import job_commands  # noqa: PLC0415

    return job_commands.change_jobs(_address(place.database), numbers, event)
