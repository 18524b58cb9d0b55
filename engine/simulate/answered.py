"""Answered probes are routine: they are skipped, and what they would have done is computed when it is asked for.

While nothing changes for an account, its probes are answered in even intervals, and each answer leaves the snapshot as
it was, but for two times. So such an account has nothing in the order of events. When something changes, the number of
answers since is a division. One thing is asked of all of them together: which answer is the next, because the outage
detector takes it for a sign of life. ``AnsweredProbes`` finds it.
"""

from typing import Final

from attrs import define, field

from engine.simulate.account import REPORT, SimulatedAccount
from engine.simulate.agenda import SHIFT, key_of
from engine.simulate.ticks import TICKS
from states.snapshot import Snapshot, SnapshotDraft

PER_BUCKET: Final = 64
MOST_BUCKETS: Final = 4096


@define(eq=False)
class _Ring:
    """Accounts whose probes are answered every ``period`` ticks, by where in the period that is."""

    period: int
    width: int
    buckets: list[set[int]]
    count: int = 0


@define(eq=False)
class AnsweredProbes:
    """The accounts whose answered probes are skipped."""

    accounts: list[SimulatedAccount]
    every: int
    """Ticks from an answer to the next probe."""
    prove_every: int
    """Ticks from a proof to the time from which on a probe is a proof again."""
    base: int
    """The beginning, in whole Unix seconds."""
    _rings: dict[int, _Ring] = field(factory=dict, init=False)

    def time(self, at: int) -> float:
        """Return a time in Unix seconds; exact."""
        return self.base + at / TICKS

    def tick(self, time: float) -> int:
        """Return the tick of such a time."""
        return int((time - self.base) * TICKS)

    def add(self, account: SimulatedAccount, armed: int, rtt: int) -> None:
        """Skip the probes of an account, the first of which was armed at ``armed``, and is answered after ``rtt``."""
        account.armed = armed
        period = self.every + rtt
        ring = self._rings.get(period)
        if ring is None:
            count = min(MOST_BUCKETS, max(1, len(self.accounts) // PER_BUCKET))
            width = period // count + 1
            ring = self._rings[period] = _Ring(period, width, [set() for _ in range(period // width + 1)])
        ring.buckets[armed % period // ring.width].add(account.index)
        ring.count += 1

    def remove(self, account: SimulatedAccount, rtt: int, now: int) -> int:
        """Skip no more; return when the probe was armed that comes next or is out. ``now`` is a key.

        The snapshot is as if all probes before had been sent and answered.
        """
        period = self.every + rtt
        ring = self._rings[period]
        ring.buckets[account.armed % period // ring.width].remove(account.index)
        ring.count -= 1
        armed, answers = account.armed, self._answers(account, period, now)
        if answers:
            account.snapshot = self._answered(account.snapshot, armed, period, answers)
        account.armed = -1
        return armed + answers * period

    def _answers(self, account: SimulatedAccount, period: int, now: int) -> int:
        """Return how many answers have come by ``now``, a key."""
        count = max(0, ((now >> SHIFT) - account.armed) // period)
        if count and key_of(account.armed + count * period, account.index, REPORT) > now:
            count -= 1
        return count

    def is_proof(self, at: Snapshot, due: int) -> bool:
        """Return whether the probe that is due then asks for a proof."""
        return at.proved_at is None or not 0 <= due - self.tick(at.proved_at) < self.prove_every

    def next(self, after: int) -> SimulatedAccount | None:
        """Return the account whose answer is the first after the key ``after``; None if all have none."""
        best, found = -1, None
        for ring in self._rings.values():
            if ring.count:
                key, index = self._next_of(ring, after)
                if key >= 0 and (best < 0 or key < best):
                    best, found = key, index
        return None if found is None else self.accounts[found]

    def _next_of(self, ring: _Ring, after: int) -> tuple[int, int]:
        """Return the key of the first answer in a ring after a key, and whose it is; the ring is not empty."""
        now, period, buckets = after >> SHIFT, ring.period, ring.buckets
        offset = now % period
        first = offset // ring.width
        soon, later = [], []  # of the first bucket: in this round of the period, and in the next
        for index in buckets[first]:
            account = self.accounts[index]
            at = now + (account.armed - now) % period
            key = key_of(at, index, REPORT)
            if at == account.armed or key <= after:
                later.append((key_of(at + period, index, REPORT), index))
            elif account.armed % period < offset:
                later.append((key, index))
            else:
                soon.append((key, index))
        if soon:
            return min(soon)
        for step in range(1, len(buckets)):
            if bucket := buckets[(first + step) % len(buckets)]:
                return min(
                    (key_of(now + (self.accounts[index].armed - now) % period, index, REPORT), index)
                    for index in bucket
                )
        return min(later)

    def _answered(self, at: Snapshot, armed: int, period: int, answers: int) -> Snapshot:
        """Return a snapshot after so many answers, the first of which was to the probe that was armed at ``armed``."""
        changes: dict[str, object] = {"last_success": self.time(armed + answers * period), "silences": 0}
        # A probe is a proof if, when it is sent, ``prove_every`` has passed since the last proof.
        first = 1
        if at.proved_at is not None and (old := self.tick(at.proved_at)) <= armed + self.every:
            first = max(1, -((armed + self.every - old - self.prove_every) // period) + 1)
        if first <= answers:
            further = max(1, -((self.every - self.prove_every) // period) + 1)
            last = first + (answers - first) // further * further
            changes["proved_at"] = self.time(armed + last * period)
        draft = SnapshotDraft.of(at)
        draft.put(changes)
        return draft.finish()
