"""The law of jobs: every state and event, the counters, the schedule, and what no sequence of events can do."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from states.jobs import (
    MAX_DETAIL,
    MAX_LOSSES,
    RETRY,
    Begun,
    Cancelled,
    Flooded,
    Job,
    JobEvent,
    JobState,
    KeptBack,
    Lost,
    Raised,
    Retried,
    Returned,
    Saved,
    decide,
    rate_of,
    remaining_of,
)
from states.schedules import Backoff

NOW = 1_700_000_000.0
QUEUED, RUNNING, DONE, FAILED, CANCELLED = JobState
EVENTS: tuple[JobEvent, ...] = (
    *(Begun("A"), Saved(checkpoint={"page": 2}), Returned(7), Lost("reset"), Flooded("SendMessage", NOW + 30)),
    *(Raised("boom", ("ValueError: boom",)), Cancelled(), Retried(), KeptBack("A", NOW + 30, "flood")),
)
ARROWS: dict[tuple[JobState, type[Any]], JobState] = {
    (QUEUED, Begun): RUNNING,
    (QUEUED, KeptBack): QUEUED,
    (QUEUED, Retried): QUEUED,
    (QUEUED, Cancelled): CANCELLED,
    (RUNNING, Saved): RUNNING,
    (RUNNING, Returned): DONE,
    (RUNNING, Lost): QUEUED,
    (RUNNING, Flooded): QUEUED,
    (RUNNING, Raised): QUEUED,
    (RUNNING, Cancelled): CANCELLED,
    (FAILED, Retried): QUEUED,
    (CANCELLED, Retried): QUEUED,
}
"""The picture in the docstring of ``states/jobs.py``, as data."""
PAIRS = [pytest.param(state, event, id=f"{state}-{type(event).__name__}") for state in JobState for event in EVENTS]


def job(state: JobState = RUNNING, **given: Any) -> Job:
    """Return a job that has been through something."""
    return Job(**{"id": 1, "kind": "k", "state": state, "worker": "A", "checkpoint": {"page": 1}, "seen": NOW} | given)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_of_state_and_event_is_as_drawn(state: JobState, event: JobEvent) -> None:
    """An arrow of the picture leads where it says, and without an arrow the very same object comes back."""
    before = job(state, due=NOW + 5 if state is QUEUED else None)
    after = decide(before, event, now=NOW)
    if (target := ARROWS.get((state, type(event)))) is None:
        assert after is before
    else:
        assert after.state is target
        assert after is not before


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_what_a_job_is_never_changes(state: JobState, event: JobEvent) -> None:
    """No event alters a job's number, kind, data, priority or the time at which it was added.

    Its account is that of the limit that keeps it, and else what it was.
    """
    before = job(state, data={"to": "me"}, priority=3, added=NOW - 9)
    after = decide(before, event, now=NOW)
    for name in ("id", "kind", "data", "priority", "added"):
        assert getattr(after, name) == getattr(before, name)
    assert after.account == before.account or (after.held and isinstance(event, Flooded | KeptBack))


def test_a_job_that_met_a_limit_stays_with_its_account_until_that_is_of_no_use() -> None:
    """A flood keeps a job of any account with the one that met it, a lost connection lets it go; an own one stays."""
    kept = decide(job(RUNNING, worker="A"), Flooded("SendMessage", NOW + 30), now=NOW)
    assert (kept.account, kept.held, kept.due) == ("A", True, NOW + 30)
    again = decide(decide(kept, Begun("A"), now=NOW), Lost("reset"), now=NOW)
    assert (again.account, again.held) == (None, False)
    own = decide(job(RUNNING, account="A", worker="A"), Flooded("SendMessage", NOW + 30), now=NOW)
    assert (own.account, own.held) == ("A", False)
    assert decide(decide(own, Begun("A"), now=NOW), Lost("reset"), now=NOW).account == "A"


def test_a_job_of_a_limited_account_is_not_carried_away() -> None:
    """An account that Telegram limits as a whole is no lost connection: its jobs wait for it, with their checkpoint."""
    kept = decide(job(RUNNING, worker="A", checkpoint={"at": 1}), Lost("PEER_FLOOD", limited=True), now=NOW)
    assert (kept.account, kept.held, kept.state, kept.checkpoint) == ("A", True, QUEUED, {"at": 1})


def test_another_job_for_the_same_chat_waits_with_the_account_that_met_the_limit() -> None:
    """It has not begun, so nothing of it is lost; the wait is no longer than what is left."""
    kept = decide(job(QUEUED), KeptBack("A", NOW + 30, "flood"), now=NOW)
    assert (kept.account, kept.held, kept.due, kept.wait, kept.attempts) == ("A", True, NOW + 30, 30, 0)


def test_a_refusal_that_would_be_the_same_again_ends_the_job_at_once() -> None:
    """A chat that does not let the account in is not asked five times."""
    failed = decide(job(RUNNING), Raised("the account is banned", final=True), now=NOW)
    assert (failed.state, failed.attempts, failed.due) == (JobState.FAILED, 1, None)


def test_a_begin_notes_account_and_time() -> None:
    """A run begins with its account and from now on, while ``began`` stays the time of the very first one."""
    first = decide(job(QUEUED, due=NOW - 1, done=4.0, detail="reset"), Begun("B"), now=NOW)
    assert (first.worker, first.began, first.since, first.seen) == ("B", NOW, NOW, NOW)
    assert (first.since_done, first.due, first.detail) == (4.0, None, "")
    again = decide(decide(first, Lost("reset"), now=NOW + 5), Begun("C"), now=NOW + 9)
    assert (again.worker, again.began, again.since) == ("C", NOW, NOW + 9)


@pytest.mark.parametrize("event", [Lost("reset"), Flooded("SendMessage", NOW + 30)])
def test_the_account_s_trouble_counts_no_attempt(event: JobEvent) -> None:
    """After a lost connection or a flood wait the attempt, what was paid for it and the checkpoint are as they were."""
    before = job(attempts=2, paid=3)
    after = decide(before, event, now=NOW)
    assert (after.attempts, after.attempt, after.paid, after.checkpoint) == (2, 3, 3, {"page": 1})


def test_a_lost_job_may_go_on_at_once_and_says_why_it_waits() -> None:
    """A lost connection counts one loss, and the job is due now."""
    after = decide(job(losses=4), Lost("connection reset"), now=NOW)
    assert (after.due, after.losses, after.detail) == (None, 5, "connection reset")


def test_one_loss_too_many_is_a_failure_of_its_own() -> None:
    """Twenty-five losses in a row are the account's; the next one counts an attempt, and losses begin anew."""
    last = decide(job(losses=MAX_LOSSES - 1), Lost("reset"), now=NOW)
    assert (last.attempts, last.losses, last.due) == (0, MAX_LOSSES, None)
    failed = decide(job(losses=MAX_LOSSES), Lost("reset"), now=NOW)
    assert (failed.attempts, failed.losses, failed.due) == (1, 0, NOW + 10)
    assert failed.detail == f"the connection was lost {MAX_LOSSES + 1} times in a row: reset"


def test_a_job_that_only_loses_connections_fails_at_last() -> None:
    """Five times twenty-six losses without a checkpoint are the end of it."""
    at, losses = job(), 0
    while at.state is not FAILED:
        at = decide(decide(at, Begun("A"), now=NOW), Lost("reset"), now=NOW)
        losses += 1
    assert losses == RETRY.tries * (MAX_LOSSES + 1)


def test_a_checkpoint_forgets_losses_and_a_word_on_progress_does_not() -> None:
    """Only what a later run can go on from shows that the job gets somewhere."""
    assert decide(job(losses=9), Saved(checkpoint={}), now=NOW).losses == 0
    assert decide(job(losses=9), Saved(done=3.0), now=NOW).losses == 9


def test_saved_alters_only_what_it_names() -> None:
    """A checkpoint, progress, results and a binding are each set by themselves."""
    before = job(done=1.0, total=9.0, results=2)
    assert attrs.evolve(before, seen=NOW + 1) == decide(before, Saved(), now=NOW + 1)
    after = decide(before, Saved(checkpoint={"page": 2}, results=3, done=5.0, stay=True), now=NOW + 1)
    assert (after.checkpoint, after.results, after.done, after.total) == ({"page": 2}, 5, 5.0, 9.0)
    assert (after.account, after.seen) == ("A", NOW + 1)


def test_a_job_that_stays_with_its_account_stays_for_ever() -> None:
    """A later checkpoint without ``stay`` does not set the job free again."""
    bound = decide(job(), Saved(stay=True), now=NOW)
    assert decide(bound, Saved(checkpoint={}), now=NOW).account == "A"


def test_failures_wait_by_the_schedule_and_the_fifth_is_the_last() -> None:
    """10, 20, 40 and 80 s after its own failures, then failed, with what was said last."""
    at, waits = job(QUEUED), []
    while at.state is QUEUED:
        running = decide(at, Begun("A"), now=NOW)
        at = decide(running, Raised(f"boom {running.attempt}", ("E: x",)), now=NOW)
        waits.append(None if at.due is None else at.due - NOW)
    assert waits == [10, 20, 40, 80, None]
    assert (at.state, at.attempts, at.detail, at.error, at.ended) == (FAILED, 5, "boom 5", ("E: x",), NOW)
    assert at.checkpoint == {"page": 1}


@pytest.mark.parametrize(("draw", "wait"), [(0.0, 8.0), (0.5, 10.0), (0.75, 11.0)])
def test_the_draw_places_a_wait_within_the_jitter(draw: float, wait: float) -> None:
    """The caller's randomness, not one of the law's own, moves a wait by up to a fifth."""
    due = decide(job(), Raised("x"), now=NOW, draw=draw).due
    assert due is not None
    assert due - NOW == pytest.approx(wait)


def test_the_schedule_is_the_caller_s() -> None:
    """Tries and waits are those of the ``retry`` that is given."""
    once = Backoff(first=3, cap=3, jitter=0, tries=2)
    first = decide(job(), Raised("x"), now=NOW, retry=once)
    assert (first.state, first.due) == (QUEUED, NOW + 3)
    assert decide(job(attempts=1), Raised("x"), now=NOW, retry=once).state is FAILED


def test_a_failure_is_kept_short() -> None:
    """Of an endless message a part is kept."""
    assert decide(job(), Raised("x" * 9999), now=NOW).detail == "x" * MAX_DETAIL


def test_a_flooded_job_is_due_when_the_server_said() -> None:
    """The wait is the server's, to the second, and its request is named."""
    after = decide(job(account="A"), Flooded("SendMessage", NOW + 30), now=NOW)
    assert (after.due, after.detail) == (NOW + 30, "flood wait for SendMessage")


@pytest.mark.parametrize("alone", [False, True])
def test_a_flooded_job_for_any_account_waits_as_well(alone: bool) -> None:
    """What one account was told to wait for is not done by another in its place: nothing gets round a limit."""
    assert decide(job(), Flooded("SendMessage", NOW + 30, alone), now=NOW).due == NOW + 30


@pytest.mark.parametrize(("total", "done"), [(9.0, 9.0), (None, 4.0)])
def test_a_job_that_returns_has_done_all_of_it(total: float | None, done: float) -> None:
    """Its result is kept, errors of attempts before are over, and its progress is whole where a whole is known."""
    after = decide(job(done=4.0, total=total, error=("E: x",)), Returned({"n": 1}), now=NOW)
    assert (after.result, after.done, after.ended, after.error) == ({"n": 1}, done, NOW, ())


@pytest.mark.parametrize("state", [FAILED, CANCELLED])
def test_a_retry_by_the_operator_begins_anew_from_the_checkpoint(state: JobState) -> None:
    """All counters are back at the beginning, its budget has to be paid again, and the checkpoint is where it was."""
    after = decide(job(state, attempts=5, losses=7, paid=5, ended=NOW - 5, due=None), Retried(), now=NOW)
    assert (after.attempts, after.losses, after.paid, after.due, after.ended) == (0, 0, 0, None, None)
    assert after.checkpoint == {"page": 1}


def test_a_retry_by_the_operator_ends_a_wait() -> None:
    """A job that waits for its time begins at once, and what it has counted stays counted."""
    after = decide(job(QUEUED, due=NOW + 80, attempts=3), Retried(), now=NOW)
    assert (after.due, after.attempts) == (None, 3)


def test_rate_and_rest_are_of_the_present_run() -> None:
    """What was done in runs before does not make this one look faster."""
    at = job(since=NOW, since_done=100.0, done=150.0, total=250.0, seen=NOW + 10)
    assert (rate_of(at), remaining_of(at)) == (5.0, 20.0)


@pytest.mark.parametrize(
    "unknown",
    [{"state": QUEUED}, {"done": None}, {"since": None}, {"seen": None}, {"seen": NOW}, {"done": 100.0}],
    ids=lambda given: next(iter(given)),
)
def test_an_unknown_rate_is_none(unknown: dict[str, Any]) -> None:
    """Before anything was done, or when the job does not run, there is no rate and no rest."""
    at = job(**{"since": NOW, "since_done": 100.0, "done": 150.0, "total": 250.0, "seen": NOW + 10} | unknown)
    assert rate_of(at) is None
    assert remaining_of(at) is None


def test_a_job_that_does_more_than_its_total_has_no_time_left() -> None:
    """A total that was too low makes no negative rest."""
    assert remaining_of(job(since=NOW, done=12.0, total=10.0, seen=NOW + 10)) == 0.0


# --- whatever happens -------------------------------------------------------------------------------------------------

checkpoints = st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
events: st.SearchStrategy[JobEvent] = st.one_of(
    st.builds(Begun, st.sampled_from("AB")),
    st.builds(
        Saved,
        checkpoint=st.none() | checkpoints,
        results=st.integers(0, 3),
        done=st.none() | st.floats(0, 100),
        total=st.none() | st.floats(0, 100),
        stay=st.booleans(),
    ),
    st.builds(Returned, st.none() | st.integers()),
    st.builds(Lost, st.text(max_size=3)),
    st.builds(Flooded, st.just("X"), st.floats(NOW, NOW + 100)),
    st.builds(Raised, st.text(max_size=3)),
    st.just(Cancelled()),
    st.just(Retried()),
)
retries = st.builds(Backoff, tries=st.integers(1, 5))
Walk = Callable[[Job, JobEvent, Job], None]


def walk(happening: list[JobEvent], retry: Backoff, check: Walk) -> None:
    """Let a job live through events, and check each step."""
    at = Job(id=1, kind="k")
    for number, event in enumerate(happening):
        after = decide(at, event, now=NOW + number, draw=0.3, retry=retry)
        check(at, event, after)
        at = after


lives = st.lists(events, max_size=80)


@given(lives, retries)
def test_no_life_loses_a_checkpoint(happening: list[JobEvent], retry: Backoff) -> None:
    """The checkpoint is always the last one that was made while the job ran."""
    last: list[Any] = [None]

    def check(before: Job, event: JobEvent, after: Job) -> None:
        if isinstance(event, Saved) and event.checkpoint is not None and before.state is RUNNING:
            last[0] = event.checkpoint
        assert after.checkpoint == last[0]

    walk(happening, retry, check)


@given(lives, retries)
def test_done_is_final_in_any_life(happening: list[JobEvent], retry: Backoff) -> None:
    """Nothing that comes after its end alters a job that is done."""

    def check(before: Job, _: JobEvent, after: Job) -> None:
        assert before.state is not DONE or after is before

    walk(happening, retry, check)


@given(lives, retries)
def test_counters_keep_their_bounds_in_any_life(happening: list[JobEvent], retry: Backoff) -> None:
    """Attempts never exceed the tries and reach them exactly when the job has failed; losses never exceed theirs."""

    def check(_: Job, __: JobEvent, after: Job) -> None:
        assert 0 <= after.attempts <= retry.tries
        assert 0 <= after.losses <= MAX_LOSSES
        if after.state in (QUEUED, RUNNING):
            assert after.attempts < retry.tries
        if after.state is FAILED:
            assert after.attempts == retry.tries

    walk(happening, retry, check)


@given(lives, retries)
def test_the_times_fit_the_state_in_any_life(happening: list[JobEvent], retry: Backoff) -> None:
    """Only what is in the queue is due, only what is over has ended, and what runs has a worker and a begin."""

    def check(_: Job, __: JobEvent, after: Job) -> None:
        assert after.due is None or after.state is QUEUED
        assert (after.ended is not None) == (after.state in (DONE, FAILED, CANCELLED))
        assert after.state is not RUNNING or None not in (after.worker, after.began, after.since, after.seen)

    walk(happening, retry, check)


@given(st.integers(1, MAX_LOSSES), st.integers(1, 400))
def test_losses_never_fail_a_job_that_gets_somewhere(between: int, losses: int) -> None:
    """However often the connection is lost: with a checkpoint at least every 25 losses no attempt is counted."""
    at = Job(id=1, kind="k")
    for number in range(losses):
        at = decide(at, Begun("A"), now=NOW)
        if number % between == 0:
            at = decide(at, Saved(checkpoint={"n": number}), now=NOW)
        at = decide(at, Lost("reset"), now=NOW)
        assert (at.state, at.attempts) == (QUEUED, 0)
