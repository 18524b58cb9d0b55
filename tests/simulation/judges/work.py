"""Work: each message of a job is sent once, and jobs come to their end."""

from collections import Counter
from collections.abc import Iterator

from tests.simulation.evidence import Evidence, Verdict
from tests.simulation.judges.shared import grouped, healing_bound, last_standings, runs_at_the_end

SENT = "each message is sent once"
ENDED = "jobs come to their end"


def sent_once(evidence: Evidence) -> Iterator[Verdict]:
    """The datacenter has the message of each job that is done exactly once, and of any other at most once."""
    times = Counter(each.text for each in evidence.deliveries if each.account)
    first_at = {each.text: each.at for each in reversed(evidence.deliveries)}
    senders = {each.text: each.account for each in evidence.deliveries}
    sends = [each for each in evidence.jobs if each.kind == "send"]
    for job in sends:
        count = times[job.text]
        if count > 1:
            what = f"the message {job.text!r} of job {job.number} is there {count} times"
        elif job.state == "done" and not count:
            what = f"job {job.number} is done, and its message {job.text!r} is not there"
        elif count and job.account and senders[job.text] != job.account:
            what = f"the message {job.text!r} of job {job.number} was sent by {senders[job.text]}"
        else:
            continue
        yield Verdict(judge=SENT, what=what, at=first_at.get(job.text, job.added), account=job.account)
    known = {job.text for job in sends} | {each.key for each in evidence.writes if each.kind == "job"}
    for text in sorted(set(times) - known):
        what = f"the message {text!r} is of no job"
        yield Verdict(judge=SENT, what=what, at=first_at[text], account=senders[text])


def jobs_end(evidence: Evidence) -> Iterator[Verdict]:
    """A job with a bound is over by then, and a job that failed has had its tries, with pauses between them.

    Its account has to be healthy at the end; of a job for any account, all of them.
    """
    quiet, names = evidence.quiet_from, [each.name for each in evidence.accounts]
    healthy = {name for name, standing in last_standings(evidence).items() if standing.state == "healthy"}
    for job in evidence.jobs:
        if job.bound is None or quiet is None or job.state not in ("queued", "running"):
            continue
        if not runs_at_the_end(evidence) or not healthy.issuperset([job.account] if job.account else names):
            continue
        if evidence.seconds >= max(quiet, job.added) + healing_bound(evidence) + job.bound:
            late = evidence.seconds - quiet
            what = f"job {job.number} ({job.kind}) is still {job.state} {late:.0f} s after the last fault"
            yield Verdict(judge=ENDED, what=what, at=evidence.seconds, account=job.account)
    for number, attempts in grouped(evidence.attempts, lambda each: str(each.number)).items():
        failed = [each for each in attempts if each.failed and each.ended is not None]
        retried = any(each.what == "jobs retry" for each in evidence.commands)
        if len(failed) > evidence.promises.job_tries and not retried:
            what = f"job {number} was tried again after {len(failed) - 1} failures"
            yield Verdict(judge=ENDED, what=what, at=failed[-1].began, account=failed[-1].account)
        for former in failed:
            later = next((each for each in attempts if each.began > former.began), None)
            if later is None or former.ended is None or retried:
                continue
            if later.life == former.life and later.began < former.ended + evidence.promises.job_retry_floor - 1e-6:
                what = f"job {number} was tried again {later.began - former.ended:.3f} s after it had failed"
                yield Verdict(judge=ENDED, what=what, at=later.began, account=later.account)
                break
