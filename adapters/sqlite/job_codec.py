"""Jobs as rows, and back. What a job carries (data, checkpoint, result) is JSON."""

import json
from collections.abc import Sequence
from typing import Any

from adapters.sqlite.errors import Undecodable
from states.job import Job, JobState

MAX_TIME = 1e15
"""Beyond every time and every count of progress: what is greater was not written by an engine."""
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def encode_value(value: Any) -> str:
    """Return a value as JSON. Raises ``TypeError`` or ``ValueError`` for a value that JSON does not have."""
    if type(value) is int:  # most results are counts, and need no encoder
        return repr(value)
    text = _encode(value)
    return text if legible(text) == text else _encode_ascii(value)


def legible(text: str) -> str:
    """Return a text as SQLite can give it back.

    A file name that is not UTF-8 brings half characters (surrogates) into messages of exceptions. With one of them in
    it, a row can never be read again, nor can the rows that are read together with it.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def is_legible(value: Any) -> bool:
    """Return whether a stored value is a text, and one that can be stored again."""
    return isinstance(value, str) and (value.isascii() or legible(value) == value)


def _check_number(value: object) -> None:
    if not isinstance(value, int | float) or not abs(value) < MAX_TIME:
        raise TypeError(f"{value!r:.40} in place of a number")


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, found {type(value).__name__}")
    return value


def _text(value: Any) -> str | None:
    return None if value is None else encode_value(value)


def job_row(job: Job) -> tuple[Any, ...]:
    """Return the row of ``job_schema.JOB``."""
    return (
        job.id, job.account or "", int(job.held), job.state.value, job.due, job.wait, job.attempts, job.losses,
        job.paid, job.worker, _text(job.checkpoint), _text(job.result), legible(job.detail),
        encode_value(job.error) if job.error else "[]", job.results, job.done, job.total, job.began, job.since,
        job.since_done, job.seen, job.ended,
    )  # fmt: skip


def job_from(row: Sequence[Any]) -> Job:
    """Return the job in a row of ``job_schema.SELECT_JOB``. Raises ``Undecodable``."""
    (
        id_, kind, data, priority, added, account, held, state, due, wait, attempts, losses, paid, worker, checkpoint,
        result, detail, error, results, done, total, began, since, since_done, seen, ended,
    ) = row  # fmt: skip
    try:
        if not (isinstance(kind, str) and isinstance(detail, str)):
            raise TypeError("kind and detail must be text")
        if not all(value is None or isinstance(value, str) for value in (account, worker)):
            raise TypeError("account and worker must be text")
        for value in (priority, held, attempts, losses, results, added):
            _check_number(value)
        for value in (due, wait, done, total, began, since, since_done, seen, ended):
            if value is not None:
                _check_number(value)
        return Job(
            id=id_, kind=kind, data=_object(data), priority=priority, added=added, account=account or None,
            held=bool(held), state=JobState(state), due=due, wait=wait, attempts=attempts, losses=losses, paid=paid,
            worker=worker,
            checkpoint=None if checkpoint is None else _object(checkpoint),
            result=None if result is None else json.loads(result),
            detail=detail, error=() if error == "[]" else tuple(json.loads(error)), results=results,
            done=done, total=total, began=began,
            since=since, since_done=since_done, seen=seen, ended=ended,
        )  # fmt: skip
    except (ValueError, TypeError, RecursionError) as exc:
        raise Undecodable(
            f"job {id_} cannot be read ({type(exc).__name__}: {exc}); use the version that wrote it"
        ) from exc
