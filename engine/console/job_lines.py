"""Jobs as text and as JSON: one by one, and as a part of ``status``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.console.format import date_and_time, iso, megabytes, whole_seconds
from engine.console.safe_text import one_line
from states.job import Job, JobState, JobSummary, rate_of, remaining_of

if TYPE_CHECKING:  # for lines alone; what prints JSON need not wait for it
    from rich.text import Text

JOB_STYLES: dict[JobState, tuple[str, str]] = {
    JobState.QUEUED: ("🔍", "dim"),
    JobState.RUNNING: ("🔄", "cyan"),
    JobState.DONE: ("✅", "green"),
    JobState.FAILED: ("❌", "red"),
    JobState.CANCELLED: ("⚠️", "yellow"),
}
"""Icon and colour of each state."""
TARGETS = ("to", "chat", "channel", "group", "user", "target", "link")
"""The names of data that say what a job is about."""
BYTE_KINDS = ("download", "upload")
"""Kinds whose progress is in bytes."""
MAX_CELL = 40
"""Width of a name or a target in ``jobs list``; JSON has all of it."""
MAX_RUNNING_SHOWN = 6
"""Number of running jobs in ``status`` and in the live table."""


def as_data(job: Job) -> dict[str, Any]:
    """Return what ``jobs list --json`` prints for a job."""
    return {
        "id": job.id,
        "account": job.account,
        "kind": job.kind,
        "state": job.state.value,
        "attempts": job.attempts,
        "detail": job.detail,
        "error": list(job.error),
        "data": dict(job.data),
        "priority": job.priority,
        "worker": job.worker,
        "checkpoint": None if job.checkpoint is None else dict(job.checkpoint),
        "result": job.result,
        "results": job.results,
        "due": iso(job.due),
        "added": iso(job.added),
        "began": iso(job.began),
        "ended": iso(job.ended),
        **progress(job),
    }


def progress(job: Job) -> dict[str, Any]:
    """Return a job's progress: ``done`` of ``total``, ``rate`` per second, ``remaining`` seconds."""
    rate, remaining = rate_of(job), remaining_of(job)
    return {
        "done": job.done,
        "total": job.total,
        "rate": None if rate is None else round(rate, 3),
        "remaining": None if remaining is None else round(remaining, 1),
    }


def summary_data(summary: JobSummary) -> dict[str, Any]:
    """Return the jobs in ``status --json``."""
    return {
        "counts": {state.value: summary.counts.get(state.value, 0) for state in JobState},
        "running": [
            {"id": job.id, "kind": job.kind, "account": job.worker, "since": iso(job.since), **progress(job)}
            for job in summary.running
        ],
    }


def progress_text(job: Job) -> str:
    """Return a job's progress, as ``1,200 of 3,000 (40 %), 140/s, 13 s left``; empty if it reports none."""
    if job.done is None:
        return ""
    if job.kind in BYTE_KINDS:
        return _bytes_text(job, job.done)
    parts = [f"{job.done:,.0f}"]
    if job.total:
        parts = [f"{job.done:,.0f} of {job.total:,.0f} ({100 * job.done / job.total:.0f} %)"]
    if (rate := rate_of(job)) is not None:
        parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
    if (remaining := remaining_of(job)) is not None:
        parts.append(f"{whole_seconds(remaining)} left")
    return ", ".join(parts)


def _bytes_text(job: Job, done: float) -> str:
    """Return the progress of a transfer, as ``12.4 of 80.0 MB (16 %), 3.1 MB/s, 22 s left``."""
    parts = [f"{megabytes(done)} MB"]
    if job.total:
        parts = [f"{megabytes(done)} of {megabytes(job.total)} MB ({100 * done / job.total:.0f} %)"]
    if (rate := rate_of(job)) is not None:
        parts.append(f"{megabytes(rate)} MB/s")
    if (remaining := remaining_of(job)) is not None:
        parts.append(f"{whole_seconds(remaining)} left")
    return ", ".join(parts)


def _live_text(stored: float, behind: Any) -> str:
    """Return the progress of a job that follows what happens, as ``live, 1,234 stored, 12 s behind``."""
    text = f"live, {stored:,.0f} stored"
    return f"{text}, {behind:.0f} s behind" if isinstance(behind, int | float) and behind >= 1 else text


def line(job: Job, now: float) -> "Text":
    """Return a job as a line of ``jobs list``."""
    from rich.cells import cell_len  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415

    icon, style = JOB_STYLES[job.state]
    text = Text().append(f"{job.id:>6} ", style="dim")
    text.append(f"{icon}{' ' * (3 - cell_len(icon))}{job.state.value:<9} ", style=style)
    at = next(each for each in (job.ended, job.since, job.due, job.added) if each is not None)
    account = job.account or (job.worker if job.state is not JobState.QUEUED else None) or "any account"
    text.append(f"{date_and_time(at)} ", style="dim")
    text.append(f"{_cell(job.kind, 8)} ", style="bold").append(f"{_cell(account, 16)} {_cell(target_of(job), 18)} ")
    notes = [progress_text(job)] if job.state is not JobState.DONE or job.total else []
    if job.state is JobState.QUEUED and job.due is not None and job.due > now:
        notes.append(f"not before {whole_seconds(job.due - now)} from now")
    if job.attempts:
        notes.append(f"{job.attempts} failed attempt{'s' if job.attempts != 1 else ''}")
    notes.append(one_line(job.detail))
    text.append(", ".join(filter(None, notes)), style="dim")
    return text


def target_of(job: Job) -> str:
    """Return what a job is about, in a word: the chat or user that its data name, or their first text."""
    texts = {name: value for name, value in job.data.items() if isinstance(value, str | int)}
    named = next((texts[name] for name in TARGETS if name in texts), None)
    return str(named if named is not None else next(iter(texts.values()), ""))


def _cell(text: str, width: int) -> str:
    """Return a text in a column of at least this width; a longer name is not cut, a longer target is."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - as above

    text = one_line(text)
    if cell_len(text) > MAX_CELL:
        text = set_cell_size(text, MAX_CELL - 1) + "…"
    return text + " " * (width - cell_len(text))


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts as ``3 queued, 2 running``; empty if there are no jobs."""
    return ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)


def page(summary: JobSummary, *, engine_runs: bool = True) -> "list[Text]":
    """Return the lines about jobs on the status page; empty if there are no jobs.

    Jobs that an engine has left running when it was killed do not run.
    """
    if not any(summary.counts.values()):
        return []
    from rich.text import Text  # noqa: PLC0415 - as above

    lines = [Text(), Text(f"Jobs: {counts_text(summary.counts)}", style="bold")]
    if summary.counts.get(JobState.FAILED.value):
        lines[-1].highlight_regex(r"[0-9,]*[0-9] failed", "bold red")
        lines.append(Text("  ❌ failed: see jobs list --state failed, and jobs show NUMBER", style="red"))
    shown = sorted(summary.running, key=lambda job: (job.since or 0.0, job.id))[:MAX_RUNNING_SHOWN]
    for job in shown:
        text = Text(one_line(f"  {job.id:>6} {job.kind}  {job.worker}  "), no_wrap=True, overflow="ellipsis")
        said = progress_text(job) or "runs" if engine_runs else "was cut off; goes on when the engine runs"
        lines.append(text.append(said, style="dim"))
    if (more := len(summary.running) - len(shown)) > 0:
        lines.append(Text(f"  and {more} more", style="dim"))
    return lines
