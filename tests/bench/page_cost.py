"""What the page costs: ``python -m tests.bench.page_cost``.

For fleets of several sizes it prints the processor time of the first page that is made of them, of one after it, of the
parts that the stream looks at once a second when nothing and when one account in a hundred has changed, and how much
HTML that is; and of reading the past of the accounts from a journal of many records.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence

from attrs import frozen

from engine.web.page import views
from engine.web.page.history import History
from engine.web.page.source import PageName, View
from states import State
from tests.engine.web.page.fake import NOW, OPERATOR, at, fleet

SIZES = (30, 1_000, 10_000)
RECORDS = 200_000


@frozen
class Move:
    """A record."""

    seq: int
    account: str
    at: float
    source: State
    target: State
    life: int = 1
    dwell: float = 60.0
    event: str = "NetworkLost"
    shift: float = 0.0


@frozen
class Journal:
    """A journal of outages, in memory: what reading its file costs is not counted."""

    records: Sequence[Move]

    def last_seq(self) -> int:
        return len(self.records)

    def first_since(self, since: float) -> int:
        return 1

    def last_moves(self, before: int) -> dict[str, Move]:
        return {}

    def beginnings(self, after: int, since: float) -> list[tuple[int, Move]]:  # type: ignore[type-arg]
        return []

    def moves(self, first: int) -> Iterator[Move]:
        return iter(self.records[first - 1 :])

    def former_names(self) -> list[object]:
        return []


def cost_of_history() -> float:
    """Return the seconds of processor time of a past of ``RECORDS`` records of a thousand accounts."""
    down, up = (State.HEALTHY, State.RECONNECTING), (State.RECONNECTING, State.HEALTHY)
    journal = Journal(
        [
            Move(
                number + 1,
                f"News {number % 1000}",
                NOW - 80 * 86_400 + number * 30,
                *(up if number // 1000 % 2 else down),
            )
            for number in range(RECORDS)
        ]
    )
    history, began = History(), time.process_time()
    history.read(journal, NOW)
    history.past()
    return time.process_time() - began


async def main() -> None:
    """Print the figures."""
    took = cost_of_history()
    print(f"past of 1,000 accounts from {RECORDS:,} records: {took:.2f} s, {took / RECORDS * 1e6:.1f} µs a record")
    view = View(PageName.FLEET)
    for size in SIZES:
        source = fleet(size)
        times = []
        for _ in range(2):
            began = time.process_time()
            html = await views.fleet_page(source, OPERATOR, NOW, {})
            times.append(time.process_time() - began)
        views.fragments(source, OPERATOR, NOW, view)
        began = time.process_time()
        for _ in range(5):
            views.fragments(source, OPERATOR, NOW, view)
        still = (time.process_time() - began) / 5
        for number in range(0, size, 100):
            source.statuses[f"News {number + 1}"] = at(State.BACKOFF, NOW, deadline=NOW + 9)
        began = time.process_time()
        views.fragments(source, OPERATOR, NOW, view)
        moved = time.process_time() - began
        print(
            f"{size:,} accounts: first page {times[0]:.3f} s, next page {times[1]:.3f} s, {len(html) / 1000:,.0f} kB; "
            f"parts: nothing changed {still * 1000:.1f} ms, one in a hundred changed {moved * 1000:.1f} ms"
        )


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
