"""Notices that an account's session file has been given other credentials.

Telethon writes into that file all the time, so what counts is the fingerprint of its key. The file's stat stamp only
says when reading the key is worth it. One task watches the whole fleet, and no check runs on the event loop.
"""

from collections.abc import Iterable
from typing import Final

import anyio
import anyio.to_thread
import structlog
from attrs import define, field

from engine.fleet.ports import StatStamp
from engine.fleet.runner import Runner
from engine.fleet.supervisor import Supervisor
from states import Snapshot, State
from states.events import CredentialsReplaced

CHECK_INTERVAL: Final = 2.0
"""Seconds between two checks of all files."""
MAX_READS_AT_ONCE: Final = 4
"""Keys that are read at the same time; each read may wait some seconds for another program's lock."""
POST_TIMEOUT: Final = 1.0
"""Seconds that an account has to accept the event; the next check posts it again."""
SETTLE_SECONDS: Final = 0.5
"""Seconds after which a write to a damaged file is no longer a consequence of closing it."""

log = structlog.get_logger("holdfast.fleet")


def is_replaced(at: Snapshot, credentials: str, stamp: StatStamp) -> bool:
    """Say whether ``credentials``, in a file with this stamp, differ from those that the account uses or failed with.

    A damaged file has no credentials to compare: there, any change of the file counts.
    """
    if not credentials or credentials == at.credentials or at.waiting_for_turn:
        return False  # an attempt that waits for its turn reads the credentials when the turn comes
    if at.state is State.AUTH_FAILED and at.cause is not None and at.cause.event == "DatabaseCorrupt":
        changed = max((file[3] for file in stamp if file is not None), default=0) / 1e9
        return changed > at.since + SETTLE_SECONDS
    return True


@define(eq=False)
class CredentialsWatch:
    """Checks the session files of a fleet, and posts ``CredentialsReplaced`` to an account whose key has changed."""

    fleet: Supervisor
    every: float = CHECK_INTERVAL
    _known: dict[str, tuple[StatStamp, str]] = field(factory=dict, init=False)
    """For each account the stamp of its file, and the fingerprint of the key that the file had then."""
    _reads: anyio.CapacityLimiter = field(factory=lambda: anyio.CapacityLimiter(MAX_READS_AT_ONCE), init=False)

    def forget(self, account: str) -> None:
        """Forget an account that the fleet has no more."""
        self._known.pop(account, None)

    async def run(self) -> None:
        """Check all accounts again and again until cancelled."""
        while True:
            await anyio.sleep(self.every)
            try:
                await self.check(*self.fleet.runners)
            except Exception:  # a bug here must not stop the fleet
                log.exception("credentials_watch_failed")

    async def check(self, *names: str) -> None:
        """Check the files of these accounts now, and post to those whose credentials have changed."""
        runners = [self.fleet.runners[name] for name in names]
        changed = await anyio.to_thread.run_sync(self._find_changed, runners)
        if not changed:
            return
        async with anyio.create_task_group() as tasks:
            for runner, stamp in changed:
                tasks.start_soon(self._compare, runner, stamp)

    def _is_alive(self, runner: Runner) -> bool:
        return not runner.ended.is_set() and runner.snapshot.state is not State.SHUTTING_DOWN

    def _find_changed(self, runners: Iterable[Runner]) -> list[tuple[Runner, StatStamp]]:
        """Return the accounts whose file is not the one that is known, or has other credentials than the account.

        One call in one worker thread for all: what has not changed costs the loop nothing.
        """
        changed = []
        for runner in runners:
            stamp = runner.connector.session_stamp() if self._is_alive(runner) else ()
            if not stamp or stamp[0] is None:
                continue
            known, credentials = self._known.get(runner.account, (None, ""))
            if known != stamp or is_replaced(runner.snapshot, credentials, stamp):
                changed.append((runner, stamp))
        return changed

    async def _compare(self, runner: Runner, stamp: StatStamp) -> None:
        known, credentials = self._known.get(runner.account, (None, ""))
        if known != stamp:
            async with self._reads:
                credentials = await runner.connector.credentials()
            if credentials:  # a file that could not be read is read again at the next check
                self._known[runner.account] = stamp, credentials
        if self._is_alive(runner) and is_replaced(runner.snapshot, credentials, stamp):
            await self._post(runner, credentials)

    async def _post(self, runner: Runner, credentials: str) -> None:
        with anyio.move_on_after(POST_TIMEOUT):
            await runner.post(CredentialsReplaced(credentials=credentials))
