"""The events of the logger ``holdfast.workers`` and their lines: the processes that share the accounts of a machine."""

from functools import partial
from typing import Final

from engine.console.format import seconds
from engine.console.log_event import Fields, LogEvent

LOGGER: Final = "holdfast.workers"

_WORKER: Final = {"worker": "the number of the worker"}
_PID: Final = {"pid": "its process"}

_workers = partial(LogEvent, LOGGER)


def _ended(of: Fields) -> str:
    again = "" if of["delay"] is None else f"; another one is started in {seconds(of['delay'])}"
    return f"Worker {of['worker']} (process {of['pid']}) has {of['detail']}{again}"


WORKERS: Final = (
    _workers(
        "workers_starting",
        "info",
        "🔍",
        "Starting {count} workers, which share the accounts",
        "`run` with `node.workers` begins",
        {"count": "how many"},
    ),
    _workers(
        "worker_started",
        "info",
        "🔍",
        "Worker {worker} is process {pid}",
        "the process of a worker was started",
        {**_WORKER, **_PID},
    ),
    _workers(
        "worker_ended",
        "error",
        "❌",
        _ended,
        "the process of a worker has ended without being asked to",
        {
            **_WORKER,
            **_PID,
            "detail": "how it ended",
            "code": "its exit code; of one that a signal has ended, the signal's number below zero",
            "delay": "the seconds until another one is started; null if none is",
        },
    ),
    _workers(
        "worker_not_started",
        "error",
        "❌",
        lambda of: (
            f"Worker {of['worker']} cannot be started: {of['detail']}; it is tried again in {seconds(of['delay'])}"
        ),
        "the system has no room for another process, or does not find Python any more",
        {**_WORKER, "detail": "what the system says", "delay": "the seconds until the next try"},
    ),
    _workers(
        "database_overwritten",
        "error",
        "💾",
        "{path} was overwritten while workers have it open, and what they write damages it. Stop the engine, and "
        "restore a backup before it is started again",
        "the file that workers share has another content than theirs",
        {"path": "the database"},
    ),
    _workers(
        "worker_accounts_free",
        "info",
        "✅",
        lambda of: f"The accounts of worker {of['worker']} are free for others, {seconds(of['took'])} after its end",
        "the parent has seen the end of a worker, and has ended its life in the store",
        {**_WORKER, "life": "the number of the life in the store", "took": "the seconds since the end was seen"},
    ),
    _workers(
        "worker_accounts_wait",
        "warning",
        "⚠️",
        "The store does not answer, so the accounts of worker {worker} wait for the end of its lease: {detail}",
        "the life of a worker that has ended could not be ended in the store",
        {**_WORKER, "detail": "what happened, in a sentence"},
    ),
    _workers(
        "worker_not_reloaded",
        "warning",
        "🔄",
        "Worker {worker} has not applied the new config ({detail}). It goes on with the one of before, and is asked "
        "again every few seconds; if it ends, it starts again with the new one. Accounts that were added begin then",
        "a worker has not answered in time after a reload, or could not apply it; told once",
        {**_WORKER, "detail": "why"},
    ),
    _workers(
        "worker_reloaded",
        "info",
        "🔄",
        "Worker {worker} has the new config now, too",
        "a worker that had not answered after a reload has applied it",
        _WORKER,
    ),
    _workers(
        "workers_die",
        "warning",
        "⚠️",
        "Workers die one after another, the last one with {accounts} accounts. One of those may be the cause: "
        "{count} of them are withheld from all workers for a while, to find out which",
        "several workers have died within two minutes that had an account in common",
        {"accounts": "how many accounts the last one had", "count": "how many are withheld first"},
    ),
    _workers(
        "account_withheld",
        "error",
        "❌",
        lambda of: (
            f"{of['account']} has ended each worker that had it, alone in the end: it is withheld from all nodes for "
            f"{seconds(of['seconds'])}. See what these workers have printed, and which job or handler it is that ends "
            "them"
        ),
        "it was found out which account ends the workers that have it",
        {"account": "the account's name", "seconds": "for how long it is withheld"},
    ),
    _workers(
        "workers_search_waits",
        "warning",
        "⚠️",
        "The store does not take which accounts are withheld: {detail}",
        "the search for an account that ends workers cannot go on now",
        {"detail": "what happened, in a sentence"},
    ),
    _workers(
        "worker_output",
        "warning",
        "⚠️",
        "Worker {worker} has printed: {detail}",
        "something in the process of a worker wrote to stdout or stderr: a library, or code of the user's",
        {**_WORKER, "detail": "the line, or its beginning"},
    ),
    _workers(
        "worker_stuck",
        "error",
        "❌",
        "Worker {worker} (process {pid}) has not stopped in time, and is killed",
        "a worker that was to stop did not do so within the time that a stop may take",
        {**_WORKER, **_PID},
    ),
    _workers(
        "workers_remain",
        "warning",
        "⚠️",
        "Worker {worker} of an earlier run has not ended yet; this run waits for it",
        "a worker still runs whose parent has ended; it ends by itself",
        _WORKER,
    ),
)
"""Every event of this logger."""
