"""Durability: nothing that was acknowledged is lost."""

from collections.abc import Iterator

from tests.simulation.evidence import Evidence, Verdict, Write
from tests.simulation.judges.shared import grouped

KEPT = "nothing acknowledged is lost"


def _allowed(writes: list[Write], at: float) -> tuple[set[str], Write | None]:
    """Return which values may be found at a time, and the last write that was acknowledged before it.

    Besides that one's value they are those of all writes that were asked for after it: they may have got through.
    """
    known = [each for each in writes if each.asked <= at]
    done = [each for each in known if each.acknowledged is not None and each.acknowledged <= at]
    last = max(done, key=lambda each: each.asked, default=None)
    since = last.asked if last is not None else float("-inf")
    return {each.value for each in known if each.asked >= since}, last


def acknowledged_is_kept(evidence: Evidence) -> Iterator[Verdict]:
    """What was acknowledged as durable is found in the files after every life, with its value or a later one."""
    by_kind_and_key = grouped(evidence.writes, lambda each: f"{each.kind}\0{each.key}")
    for inspection in evidence.inspections:
        for writes in by_kind_and_key.values():
            first = writes[0]
            if first.kind not in inspection.kinds:
                continue
            allowed, last = _allowed(writes, inspection.at)
            found = inspection.found.get((first.kind, first.key))
            gone = any(each.gone_from is not None and each.gone_from <= inspection.at for each in writes)
            if last is None or (found is None and gone):
                continue
            if found is None:
                what = f"the {first.kind} {first.key} was acknowledged at {last.acknowledged:.3f} s, and is gone"
            elif found not in allowed:
                what = f"the {first.kind} {first.key} was acknowledged as {last.value[:80]}, and is {found[:80]}"
            else:
                continue
            yield Verdict(judge=KEPT, what=f"{what} after life {inspection.life}", at=inspection.at)
    yield from _attempts(evidence)
    yield from _followed(evidence)


def _attempts(evidence: Evidence) -> Iterator[Verdict]:
    """Condemn a job that goes on from another checkpoint than its last one."""
    checkpoints = grouped((each for each in evidence.writes if each.kind == "checkpoint"), lambda each: each.key)
    for attempt in evidence.attempts:
        writes = checkpoints.get(str(attempt.number), [])
        allowed, last = _allowed(writes, attempt.began)
        if last is None and attempt.checkpoint in ({""} | allowed):
            continue
        if last is not None and attempt.checkpoint in allowed:
            continue
        due = last.value if last is not None else "none"
        what = f"job {attempt.number} goes on from {attempt.checkpoint or 'nothing'}; its last checkpoint was {due}"
        yield Verdict(judge=KEPT, what=what, at=attempt.began, account=attempt.account)


def _followed(evidence: Evidence) -> Iterator[Verdict]:
    """Condemn a record that a subscriber was given and the journal at the end does not have."""
    if not evidence.journals or not evidence.journals[-1].entries:
        return
    journal = evidence.journals[-1]
    there = {entry.seq: entry for entry in journal.entries}
    unreadable = len(journal.unreadable)
    for each in evidence.followings:
        if each.seq < journal.first_seq or each.at > journal.at or (unreadable and each.seq not in there):
            continue
        entry = there.get(each.seq)
        if entry is None:
            what = f"record {each.seq} was given to {each.reader}, and is not in the journal any more"
            yield Verdict(judge=KEPT, what=what, at=each.at, account=each.account)
            return
