"""Mistakes in a user's program: mypy says so when one of these comments has nothing to ignore."""

from typing import Any

from typed_program import Count, count_words, engine, hourly, minutely, note, watch

import engine as holdfast
from engine import JobHandle

holdfast.no_such_name  # type: ignore[attr-defined]  # noqa: B018


async def call_wrongly(job: JobHandle[Count]) -> None:
    """Call decorated functions with what they do not take."""
    await note("one", "two")  # type: ignore[call-arg]
    await watch()  # type: ignore[call-arg]
    await hourly()  # type: ignore[call-arg]
    await minutely()  # type: ignore[call-arg]
    await count_words(job)  # type: ignore[call-arg]
    job.data.chatt  # type: ignore[attr-defined]  # noqa: B018


@holdfast.on(None)  # type: ignore[type-var]
def hears_without_async(event: Any) -> None:
    """Hear of an event, but not as a coroutine."""


@engine.while_healthy  # type: ignore[type-var]
def stands_without_async(client: Any) -> None:
    """Work while an account is healthy, but not as a coroutine."""


@holdfast.job_kind("one")  # type: ignore[type-var]
async def takes_no_client(job: JobHandle) -> None:
    """Do a job, but take no client."""
