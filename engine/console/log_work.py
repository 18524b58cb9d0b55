"""The events of the user's work and their lines: jobs, background tasks, and what holds up the event loop."""

from functools import partial
from typing import Final

from engine.console.format import ahead, megabytes, seconds
from engine.console.job_lines import BYTE_KINDS
from engine.console.log_event import Fields, LogEvent

_ACCOUNT: Final = {"account": "the account's name"}
_DETAIL: Final = {"detail": "what happened, in a sentence"}
_EXCEPTION: Final = {"exception": "the traceback"}
_JOB: Final = {"job": "the job's number", "kind": "its kind", "account": "the account that it is with"}
_WORK: Final = {
    "running": "the job, background task or task of the loop that runs",
    "account": "the account whose work it is; null if it is none's",
    "still": "how long the loop has been behind, in seconds",
    "stack": "its innermost calls",
}

_jobs = partial(LogEvent, "holdfast.jobs")
_loop = partial(LogEvent, "holdfast.loop")


def _job(of: Fields) -> str:
    return f"Job {of['job']} ({of['kind']}) of {of['account']}"


def _held(of: Fields) -> str:
    others = "" if of["alone"] else f", and so are {of['kind']} jobs"
    return f"{_job(of)}: {of['request']} is held until {ahead(of['until'])}{others}"


def _done(of: Fields) -> str:
    amount = ""
    if of["done"] and of["total"]:
        in_bytes = of["kind"] in BYTE_KINDS
        amount = f", {megabytes(of['total'])} MB" if in_bytes else f", {of['done']:.15g} of {of['total']:.15g}"
    return f"{_job(of)} is done after {seconds(of['took'])}{amount}"


def _background_failed(of: Fields) -> str:
    delay = of["delay"]
    then = "it is not started again before the engine is" if delay is None else f"it starts again in {seconds(delay)}"
    row = f"{of['failures']} of {of['max_failures']} times in a row"
    return f"{of['function']} of {of['account']} failed, {row}; {then}"


_JOBS = (
    _jobs(
        "jobs_wait",
        "error",
        "💾",
        lambda of: f"Jobs wait for {seconds(of['delay'])}: {of['detail']}",
        "the file of the jobs is in trouble, or the engine has made a mistake",
        {**_DETAIL, "delay": "how long until the next try, in seconds", **_EXCEPTION},
    ),
    _jobs(
        "job_failed",
        "error",
        "❌",
        lambda of: f"{_job(of)} failed after {of['attempts']} attempts: {of['detail']}. Retry it by hand",
        "a job's last attempt failed",
        {**_JOB, "attempts": "failures of its own", **_DETAIL},
    ),
    _jobs(
        "job_retry_scheduled",
        "warning",
        "⚠️",
        lambda of: f"{_job(of)} failed at attempt {of['attempts']}: {of['detail']}; again in {seconds(of['delay'])}",
        "a job failed and is tried again",
        {**_JOB, "attempts": "failures of its own", **_DETAIL, "delay": "how long it waits, in seconds"},
    ),
    _jobs(
        "job_held",
        "warning",
        "⏱️",
        _held,
        "a flood wait came upon a job's request",
        {
            **_JOB,
            "request": "the kind of request",
            "until": "when the wait ends, in Unix seconds",
            "alone": "whether the wait is for this job only",
        },
    ),
    _jobs("job_cancelled", "info", "⚠️", lambda of: f"{_job(of)} was cancelled", "a running job was cancelled", _JOB),
    _jobs(
        "job_interrupted",
        "info",
        "🔄",
        lambda of: f"{_job(of)} goes on later: {of['detail']}",
        "a job lost its connection",
        {**_JOB, **_DETAIL},
    ),
    _jobs(
        "job_done",
        "info",
        "✅",
        _done,
        "a job is done that took long",
        {
            **_JOB,
            "took": "seconds since it first ran",
            "done": "how much is done; may be null",
            "total": "how much there was to do; may be null",
        },
    ),
    _jobs(
        "job_stuck",
        "error",
        "❌",
        lambda of: (
            f"{_job(of)} does not end although it was cancelled {of['cancellations']} times; it is left alone, "
            "and not started again before the engine is. Its function must let CancelledError through"
        ),
        "a job's function does not end",
        {**_JOB, "cancellations": "how often it was told to end"},
    ),
    _jobs(
        "job_kind_unknown",
        "warning",
        "⚠️",
        "There are jobs of the kind {kind!r}, and no module of the config has it; they wait: name its module under "
        "work.modules, or cancel them",
        "jobs wait for a kind that no module has",
        {"kind": "the kind"},
    ),
    _jobs(
        "job_account_unknown",
        "warning",
        "⚠️",
        "There are jobs for {account}, and the config has no such account; they wait: bring it back, or cancel them",
        "jobs wait for an account that the config does not have",
        _ACCOUNT,
    ),
    _jobs(
        "background_task_failed",
        "error",
        "❌",
        _background_failed,
        "a background task raised an exception",
        {
            "function": "the function's name",
            **_ACCOUNT,
            "failures": "failures in a row",
            "max_failures": "failures after which it is not started again",
            "delay": "how long until it starts again, in seconds; null if it does not",
            **_EXCEPTION,
        },
    ),
    _jobs(
        "background_task_stuck",
        "error",
        "❌",
        "{function} of {account} does not end although it was cancelled; it is left alone",
        "a background task does not end",
        {"function": "the function's name", **_ACCOUNT},
    ),
)
_LOOP = (
    _loop(
        "stall_watch_failed",
        "error",
        "⚠️",
        "What holds up the loop cannot be watched ({detail}); the accounts go on",
        "the thread that watches the loop could not start, or a check failed; told once",
        _DETAIL,
    ),
    _loop(
        "loop_stalled",
        "error",
        "❌",
        lambda of: (
            f"The loop has stood still for {seconds(of['still'])} in {of['running']}; nothing else ran "
            "meanwhile: let anyio.to_thread.run_sync do what takes so long"
        ),
        "one task blocks the event loop",
        _WORK,
    ),
    _loop(
        "loop_behind",
        "warning",
        "⚠️",
        lambda of: f"The loop is {seconds(of['still'])} behind with many things, now in {of['running']}",
        "many tasks together hold up the event loop",
        _WORK,
    ),
    _loop(
        "loop_resumed",
        "info",
        "✅",
        lambda of: f"The loop went on after {seconds(of['took'])} in {of['running']}",
        "the event loop goes on after a stall that was reported",
        {"running": _WORK["running"], "account": _WORK["account"], "took": "how long it stood still, in seconds"},
    ),
    _loop(
        "job_thrown_out",
        "error",
        "❌",
        lambda of: f"Throwing out {of['running']}: the loop has stood still for {seconds(of['still'])}",
        "a job blocked the event loop for too long",
        {"running": _WORK["running"], "account": _WORK["account"], "still": _WORK["still"]},
    ),
)

WORK: Final = (*_JOBS, *_LOOP)
"""Every event of these loggers."""
