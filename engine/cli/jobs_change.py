"""``jobs retry`` and ``jobs cancel``."""

from engine.app.stored_jobs import change_jobs, open_jobs
from engine.cli.common import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    AsJson,
    config_and_numbers,
    fail,
    have_engine_look,
    reporting_errors,
)
from engine.cli.jobs import MAX_FAULTS_SHOWN, AccountOption, ConfigAndNumbers, KindOption, StateOption, build_filter
from engine.config import load_outline
from engine.console.job_lines import as_data
from engine.console.safe_text import json_text
from states.jobs import Cancelled, Job, JobEvent, JobState, Retried

MAX_JOBS_PER_TRANSACTION = 1000

Choice = tuple[str | None, str | None, str | None]
"""State, account (or a pattern of accounts) and kind of the jobs to change; None is any."""
CHANGEABLE: dict[type[JobEvent], tuple[str, ...]] = {
    Retried: ("queued", "failed", "cancelled"),
    Cancelled: ("queued", "running"),
}
"""The states in which each command changes a job."""


def retry(
    *words: ConfigAndNumbers,
    state: StateOption = None,
    account: AccountOption = None,
    kind: KindOption = None,
    as_json: AsJson = False,
) -> None:
    """Queue failed and cancelled jobs again, from their last checkpoint; let waiting jobs begin now.

    Give their numbers, or choose them: --state failed, --kind send. Exit code 1 if a job cannot be retried.
    """
    _change_jobs(words, Retried(), (state, account, kind), as_json)


def cancel(
    *words: ConfigAndNumbers,
    state: StateOption = None,
    account: AccountOption = None,
    kind: KindOption = None,
    as_json: AsJson = False,
) -> None:
    """End queued and running jobs. A message that is on its way may still arrive.

    Give their numbers, or choose them: --state queued, --kind send. Exit code 1 if a job is over already.
    """
    _change_jobs(words, Cancelled(), (state, account, kind), as_json)


def _change_jobs(words: tuple[str, ...], event: Cancelled | Retried, choice: Choice, as_json: bool) -> None:
    with reporting_errors():
        config, numbers = config_and_numbers(words)
        outline = load_outline(config)
        have_engine_look(outline.directory)
        if not numbers:
            if not any(choice):
                fail(EXIT_BAD_INPUT, "say which jobs: their numbers, or --state, --kind or --account")
            wanted = build_filter(outline.names, *choice)
            if wanted["state"] is None:  # jobs in the other states cannot change
                wanted["state"] = list(CHANGEABLE[type(event)])
            with open_jobs(outline) as reader:
                numbers = tuple(job.id for job in reader.jobs(wanted))
        outcomes: list[tuple[Job, Job] | int | str] = []
        for first in range(0, len(numbers), MAX_JOBS_PER_TRANSACTION):
            outcomes += change_jobs(outline, numbers[first : first + MAX_JOBS_PER_TRANSACTION], event)
        have_engine_look(outline.directory)
        refused = [sentence for outcome in outcomes if (sentence := _refusal(outcome, event)) is not None]
        able = CHANGEABLE[type(event)]
        changed = [each[1] for each in outcomes if isinstance(each, tuple) and each[0].state in able]
        if as_json:
            for job in changed:
                print(json_text(as_data(job)))
        elif changed:
            what = f"job {changed[0].id} is" if len(changed) == 1 else f"{len(changed):,} jobs are"
            print(f"{what} {changed[0].state.value}")
        elif not refused:
            print("there are no such jobs")
        if refused:
            fail(EXIT_FAILED, *refused[:MAX_FAULTS_SHOWN])


def _refusal(outcome: tuple[Job, Job] | int | str, event: JobEvent) -> str | None:
    """Return why a job did not change; None if it did."""
    if isinstance(outcome, str):
        return outcome
    if isinstance(outcome, int):
        return f"there is no job {outcome}"
    before, _ = outcome
    if before.state in CHANGEABLE[type(event)]:
        return None
    why = "one that runs cannot be retried; cancel it first" if before.state is JobState.RUNNING else "it is over"
    return f"job {before.id} is {before.state.value}; {why}"
