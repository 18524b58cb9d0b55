"""The search for an account that ends the workers that have it, carried out in the store; see ``suspects.py``."""

from collections.abc import Collection
from typing import Final

import anyio
import structlog
from attrs import define, field

from engine.node.ports import StoreSilent
from engine.workers.ports import HoldLine, HoldStore
from engine.workers.suspects import SearchStep, Suspects

LOOK_EVERY: Final = 3.0
STORE_SECONDS: Final = 10.0

log = structlog.get_logger("holdfast.workers")


@define(eq=False)
class GuiltySearch:
    """Withholds accounts while it is found out which of them ends workers."""

    store: HoldStore
    suspects: Suspects = field(factory=Suspects, init=False)
    _marks: dict[str, str] = field(factory=dict, init=False)
    """What is withheld during the search, and the store's mark of each."""

    async def died(self, lived: float, owned: Collection[str]) -> None:
        """Note the death of a worker that had lived for so many seconds, and had these accounts."""
        searching = self.suspects.searching
        step = self.suspects.died(anyio.current_time(), lived, owned)
        if self.suspects.searching and not searching:
            log.warning("workers_die", accounts=len(owned), count=len(step.withhold))
        await self._do(step)

    async def run(self) -> None:
        """Go on with a search, until cancelled."""
        while True:
            await anyio.sleep(LOOK_EVERY)
            if not self.suspects.searching:
                continue
            try:
                with anyio.fail_after(STORE_SECONDS):
                    line = await self.store.connect()
                    try:
                        owned = [name for each in await line.living() for name in await line.owned(each.life)]
                    finally:
                        line.close()
            except (StoreSilent, TimeoutError):
                continue  # nobody is cleared meanwhile
            await self._do(self.suspects.look(anyio.current_time(), owned))

    async def _do(self, step: SearchStep) -> None:
        """Carry a step out. What fails is made good by the next one, or by the end of the time."""
        if not (step.withhold or step.release or step.guilty):
            return
        try:
            with anyio.fail_after(STORE_SECONDS):
                line = await self.store.connect()
                try:
                    await self._tell(line, step)
                finally:
                    line.close()
        except (StoreSilent, TimeoutError) as exc:
            log.warning("workers_search_waits", detail=str(exc) or "the store does not answer")
        if step.guilty is not None:
            log.error("account_withheld", account=step.guilty, seconds=step.hold)

    async def _tell(self, line: HoldLine, step: SearchStep) -> None:
        release = {name: mark for name in step.release if (mark := self._marks.pop(name, "")) and name != step.guilty}
        if release:
            await line.release_withheld(release)
        if step.withhold:
            marks = {name: self._marks.get(name, "") for name in step.withhold}
            self._marks.update(await line.withhold(marks, step.seconds))
        if step.guilty is not None:
            await line.withhold({step.guilty: self._marks.pop(step.guilty, "")}, step.hold)
