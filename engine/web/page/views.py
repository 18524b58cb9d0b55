"""The pages, and the parts of them that change while they are shown: from what a ``PageSource`` says to HTML.

A page asks for what has to be read, and is then written in a thread: two hundred accounts take a part of a second. What
was written of an account for the stream is kept until something of it changes (``Desk``).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup

from engine.console.safe_text import one_line
from engine.web.page.account_view import account_document, account_fragments
from engine.web.page.fleet_view import MAX_PAST, fleet_document, fleet_fragments
from engine.web.page.render import Steady, render
from engine.web.page.sight import Sight, read
from engine.web.page.source import Fragments, PageName, PageSource, View, Viewer
from engine.web.page.words import MAX_NAME, incident_words, job_words
from states.incident import Incident
from states.job import Job, JobState

MAX_OPEN: Final = 200
"""Open incidents on their own page."""
MAX_JOBS: Final = 50
MAX_KINDS: Final = 100


async def fleet_page(source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str]) -> str:
    """Return the page of all accounts."""
    return await fleet_document(Sight.of(source, viewer, now), query)


async def account_page(source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str], account: str) -> str:
    """Return the page of an account, which exists."""
    return await account_document(Sight.of(source, viewer, now), query, account)


async def jobs_page(source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str]) -> str:
    """Return the page of the jobs."""
    await source.look()
    sight, accounts = Sight.of(source, viewer, now), source.accounts()
    nothing: Sequence[Job] = []
    failed, failed_trouble = await read(source.failed_jobs(MAX_JOBS), nothing)
    queued, queued_trouble = await read(source.queued_jobs(MAX_JOBS), nothing)
    return sight.document(
        "jobs.html", PageName.JOBS, "Jobs", {}, counts=_jobs_counts(sight), running=_jobs_running(sight),
        failed=[job_words(each, accounts) for each in failed], failed_trouble=failed_trouble,
        queued=[job_words(each, accounts) for each in queued], queued_trouble=queued_trouble,
    )  # fmt: skip


def _jobs_counts(sight: Sight) -> Markup:
    counts = sight.source.jobs()
    kinds = sorted(counts, key=lambda kind: (-counts[kind].get(JobState.FAILED.value, 0), kind))
    shown = [
        (one_line(kind, MAX_NAME), [counts[kind].get(state.value, 0) for state in JobState])
        for kind in kinds[:MAX_KINDS]
    ]
    states = [state.value for state in JobState]
    return sight.part("jobs_counts.html", states=states, kinds=shown, more_kinds=max(0, len(kinds) - MAX_KINDS))


def _jobs_running(sight: Sight) -> Markup:
    found, accounts = sight.source.running_jobs(), sight.source.accounts()
    shown = [job_words(each, accounts) for each in found[:MAX_JOBS]]
    return sight.part("jobs_running.html", total=len(found), running=shown)


async def incidents_page(source: PageSource, viewer: Viewer, now: float, query: Mapping[str, str]) -> str:
    """Return the page of the incidents."""
    await source.look()
    sight = Sight.of(source, viewer, now)
    nothing: Sequence[Incident] = []
    past, trouble = await read(source.past_incidents(MAX_PAST), nothing)
    return sight.document(
        "incidents.html", PageName.INCIDENTS, "Incidents", {}, open=sight.open_incidents("/incidents", MAX_OPEN),
        past=list(map(incident_words, past)), trouble=trouble,
    )  # fmt: skip


def fragments(source: PageSource, viewer: Viewer, now: float, view: View) -> Fragments:
    """Return what changes of a view; the same until something has changed, because it has no seconds that pass."""
    sight = Sight.of(source, viewer, Steady(now))
    made = _fragments(sight, view)
    return Fragments({**made.html, "open-count": str(sight.open_count())}, made.order)


def _fragments(sight: Sight, view: View) -> Fragments:
    match view.page:
        case PageName.FLEET:
            return fleet_fragments(sight, dict(view.query))
        case PageName.ACCOUNT:
            return account_fragments(sight, view.account or "")
        case PageName.JOBS:
            return Fragments({"jobs-counts": str(_jobs_counts(sight)), "jobs-running": str(_jobs_running(sight))})
        case PageName.INCIDENTS:
            return Fragments({"incidents": str(sight.open_incidents("/incidents", MAX_OPEN))})


def message_page(title: str, sentence: str, back: str = "/") -> str:
    """Return a page that says one thing, and has nothing of the fleet."""
    return str(render("message.html", title=title, sentence=sentence, back=back))
