"""The watch over the other nodes: what ``states.lease`` decides about them, and what is to be told to the store."""

from collections.abc import Mapping

import structlog
from attrs import define, field

from engine.node.ports import LeaseClock, StoreLine
from states.lease import (
    DeclareDead,
    LeaseTimes,
    NodeWatch,
    NoteSettled,
    StoreAnswered,
    StoreLost,
    WatchEffect,
    decide_watch,
)

log = structlog.get_logger("holdfast.node")


@define(eq=False)
class Watcher:
    """Counts how long the beats of other lives stay the same, by the node's own clock and over one connection."""

    clock: LeaseClock
    times: LeaseTimes
    watch: NodeWatch = field(factory=NodeWatch, init=False)
    _wishes: tuple[WatchEffect, ...] = field(default=(), init=False)
    """What the last answer has decided; the next one decides anew."""

    def answered(self, asked: float, server: str, beats: Mapping[int, int], *, settled: bool = False) -> None:
        """Note what the store, asked at ``asked``, said of other lives."""
        seen = StoreAnswered(asked=asked, server=server, beats=beats, settled=settled)
        self.watch, self._wishes = decide_watch(self.watch, seen, self.clock.now(), self.times)

    def lost(self) -> None:
        """Note that the connection is gone: all observations start anew."""
        self.watch, self._wishes = decide_watch(self.watch, StoreLost(), self.clock.now(), self.times)

    def next_death(self) -> float | None:
        """Return when the first of the lives may be declared dead, if its beat stays the same; None without any."""
        return min((seen.since + self.times.lease for seen in self.watch.sights.values()), default=None)

    async def tell(self, line: StoreLine) -> int:
        """Tell the store what was decided; return how many lives it has ended. Raises ``StoreSilent``.

        A death may wait for transactions of the life that ends, so this has another connection than the beats.
        """
        wishes, self._wishes = self._wishes, ()
        ended = 0
        for wish in wishes:
            match wish:
                case DeclareDead(life=life, beat=beat, server=server):
                    if await line.declare_dead(life, beat, server):
                        ended += 1
                        log.warning("node_declared_dead", life=life, lease=self.times.lease)
                case NoteSettled(server=server):
                    await line.note_settled(server)
        return ended
