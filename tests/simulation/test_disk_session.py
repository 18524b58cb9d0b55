"""A session's writer on a disk that loses power, is killed, full or broken at any moment: what it said is kept."""

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from telethon.crypto import AuthKey
from telethon.tl.types.updates import State as TelethonState

from adapters.session import HoldfastSession
from adapters.session.backup import back_up, backups_of, put_in_place
from adapters.session.errors import SessionDamaged
from adapters.session.failures import LiveFileTimeouts
from adapters.session.writer import WriteBehind
from tests.adapters.session.support import user
from tests.simulation.disk import Disk
from tests.timeouts import TIMEOUT

pytestmark = pytest.mark.skipif(bool(Disk.unavailable()), reason=Disk.unavailable())
SEEDS = range(8)
TIMEOUTS = LiveFileTimeouts(gather=0.002, busy=0.05, retry=0.01, report_after=60, max_report_interval=60, idle=0.01)


@define
class Promised:
    """What the file must have at least."""

    key: bytes = b""
    users: set[int] = field(factory=set)
    pts: int = 0


@define(eq=False)
class SessionUnderFaults:
    """A session that lives several times on one disk, and what was said to be durable."""

    disk: Disk
    rng: random.Random
    path: Path
    keys: list[bytes] = field(factory=lambda: [b""])
    """All keys that the session ever had, in order."""
    now: Promised = field(factory=Promised)
    durable: Promised | None = None
    backups: list[tuple[Path, bytes]] = field(factory=list)

    def live(self) -> None:
        """Use the session until the disk stops, or the life is over; faults come at random."""
        rng, disk = self.rng, self.disk
        if rng.random() < 0.8:
            number = rng.choice((rng.randint(1, 30), rng.randint(1, 150)))
            disk.kill_at_write(number, lambda: None, power=rng.random() < 0.7)
        session = None
        try:
            session = HoldfastSession(self.path, timeouts=TIMEOUTS)
            assert session._live is not None
            session._live.writer = WriteBehind()  # of this process alone
            if not disk.is_frozen:
                self._check_read(session)
            self._promise(lambda: None)
            for _ in range(rng.randint(3, 40)):
                if disk.is_frozen:
                    break
                self._act(session)
            disk.mend()
            if not disk.is_frozen:
                self._promise(lambda: session.close().wait())
        except Exception:
            if not disk.is_frozen:  # a dead process reads what is not there any more
                raise
        finally:
            disk.kill_at_write(0, lambda: None)
            if session is not None and session._live is not None:
                abandon(session)

    def _act(self, session: HoldfastSession) -> None:
        rng, disk = self.rng, self.disk
        what = rng.random()
        if what < 0.04:
            disk.full(rng.randint(0, 20_000))
        elif what < 0.07:
            disk.broken()
        elif what < 0.2:
            disk.mend()
        elif what < 0.35:
            disk.mend()
            self._promise(lambda: session.flush().wait())
        elif what < 0.42:
            disk.mend()
            self._promise(lambda: session.close().wait())
        elif what < 0.5:
            disk.mend()
            self._back_up()
        elif what < 0.56:
            disk.mend()
            self._restore(session)
        elif what < 0.63 or not self.now.key:
            self._change_key(session)
        elif what < 0.8:
            self.now.pts += 1
            session.set_update_state(0, TelethonState(self.now.pts, 0, datetime.now(UTC), 0, 0))
        else:
            number = rng.randrange(1, 500)
            session.process_entities([user(number)])
            self.now.users.add(number)

    def _change_key(self, session: HoldfastSession) -> None:
        self.now.key = self.rng.randbytes(256)
        self.keys.append(self.now.key)
        session.set_dc(2, "127.0.0.1", 443)
        session.auth_key = AuthKey(self.now.key)

    def _promise(self, act: Callable[[], None]) -> None:
        """Do something after which all that is so now is durable."""
        said = Promised(self.now.key, set(self.now.users), self.now.pts)
        act()
        if not self.disk.is_frozen:
            self.durable = said

    def _back_up(self) -> None:
        if self.durable is None or not self.durable.key:
            return
        copy = back_up(self.path, self.path.parent / "backups", keep=3)
        if not self.disk.is_frozen:
            self.backups.append((copy, key_of(copy)))

    def _restore(self, session: HoldfastSession) -> None:
        """Close the session and put its last backup in place, as ``session restore`` does."""
        if not self.backups:
            return
        self._promise(lambda: session.close().wait())
        copy, key = self.backups[-1]
        if self.disk.is_frozen or not copy.exists():
            return
        before = self.durable
        self.durable = None if before is None else Promised(b"", set(), 0)  # until it is over, either content
        time.sleep(0.01)  # a command takes longer to begin than the clock of the file system ticks
        put_in_place(copy, self.path)
        self.now = read(self.path)
        self.keys.append(key)
        self._promise(lambda: None)
        if not self.disk.is_frozen:
            assert self.now.key == key
            session.reopen(adopt=True)

    def _check_read(self, session: HoldfastSession) -> None:
        found = session.auth_key.key if session.auth_key else b""
        self._compare(Promised(found or b"", set(session._contents.entities), session._contents.states.get(0, (0,))[0]))

    def check(self) -> None:
        """Compare what the file has with what was said to be durable."""
        if not self.path.exists():
            assert self.durable is None, "the file is gone"
            return
        self._compare(read(self.path))
        kept = {each.path for each in backups_of(self.path.parent / "backups", self.path.stem)}
        for copy, key in self.backups[-1:]:
            assert copy in kept, "a backup is gone"
            assert key_of(copy) == key, "a backup has another key"

    def _compare(self, found: Promised) -> None:
        if (said := self.durable) is not None:
            assert found.key in self.keys, "the key is none of the session's"
            if said.key:
                earliest = len(self.keys) - 1 - self.keys[::-1].index(said.key)
                assert found.key in self.keys[earliest:], "the key is an older one"
            assert found.users >= said.users, "entities are lost"
            assert found.pts >= said.pts, "an update state is lost"
        self.now = found
        self.durable = Promised(found.key, set(found.users), found.pts)


def read(path: Path) -> Promised:
    """Return what a file has, which must be intact."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("pragma integrity_check").fetchone()[0] == "ok"
        (key,) = database.execute("select auth_key from sessions").fetchone()
        users = {row[0] for row in database.execute("select id from entities")}
        pts = dict(database.execute("select id, pts from update_state")).get(0, 0)
        return Promised(bytes(key or b""), users, pts)


def key_of(path: Path) -> bytes:
    """Return the key of a backup."""
    return read(path).key


def abandon(session: HoldfastSession) -> None:
    """Let go of a dead process's session, whose locks would be gone with it."""
    live: Any = session._live
    if live.owned:
        live._damaged = SessionDamaged("the process is dead")
        with suppress(SessionDamaged):
            live.flush().result(TIMEOUT)


def under_faults(directory: Path, seed: int, *, lies: bool = False) -> None:
    """Let a session live several times."""
    rng = random.Random(seed)
    with Disk(directory, rng, loses_synced=lies) as disk:
        world = SessionUnderFaults(disk, rng, directory / "a.session")
        for _ in range(rng.randint(2, 6)):
            world.live()
            if disk.is_frozen:
                disk.restore()
            elif rng.random() < 0.5:
                disk.power_cut()
                disk.restore()
            disk.check()
            world.check()


def test_the_check_finds_what_a_lying_disk_loses(tmp_path: Path) -> None:
    """On a disk whose syncs make nothing durable, the same lives lose rows, or the file."""
    caught = 0
    for seed in SEEDS:
        directory = tmp_path / f"disk-{seed}"
        directory.mkdir()
        try:
            under_faults(directory, seed, lies=True)
        except Exception:
            caught += 1
    assert caught > len(SEEDS) / 4


@pytest.mark.parametrize("seed", SEEDS)
def test_no_login_and_no_row_that_was_said_to_be_durable_is_lost(tmp_path: Path, seed: int) -> None:
    """Killed, without power, full and broken: the session is intact, with what a receipt confirmed, and its backups."""
    directory = tmp_path / "disk"
    directory.mkdir()
    under_faults(directory, seed)
