"""Where each account goes on: what was stored belongs to its login, whatever the config calls the account now."""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import anyio.to_thread
import structlog
from attrs import define, field, frozen

from adapters.session.backup import backups_of, move, plan_moves
from adapters.sqlite import JournalWriter
from adapters.sqlite.renames import (
    Rename,
    StoredLogin,
    forget_files,
    pending_files,
    stored_logins,
)
from adapters.telegram import TelegramConnector
from adapters.telegram.engine_session import cached_fingerprint, login_in, read_fingerprint, stored_user
from adapters.telegram.login import LOGGED_OUT
from states import Snapshot

log = structlog.get_logger("holdfast.engine")


@frozen(kw_only=True)
class PresentLogin:
    """The login in an account's session file; all of it is empty if the file has none, or cannot be read now."""

    credentials: str = ""
    """Fingerprint of key, application and datacenter."""
    login: str = ""
    """Fingerprint of the key alone."""

    def same(self, stored: StoredLogin) -> bool:
        """Return whether what is stored is of this login; the key is enough, whatever it is used with."""
        return bool(self.login) and (stored.login == self.login or stored.credentials == self.credentials)


def owners(
    present: Mapping[str, PresentLogin], stored: Mapping[str, StoredLogin], replaced: Collection[str] = ()
) -> dict[str, str]:
    """Return the name under which each account of the config has its state now; those that begin anew are left out.

    An account goes on with what its login has stored. If nothing is known of its login it goes on under its name, as
    after a new login of the same user, unless that state is another account's or the name is in ``replaced``.
    """
    found = {name: name for name, login in present.items() if name in stored and login.same(stored[name])}
    taken = set(found)
    for name, login in present.items():
        if name not in found:
            candidates = [other for other in stored if other not in taken and login.same(stored[other])]
            if candidates:
                found[name] = max(candidates, key=lambda other: stored[other].at)
                taken.add(found[name])
    for name in present:
        if name not in found and name in stored and name not in taken and name not in replaced:
            found[name] = name
    return found


def renames_of(found: Mapping[str, str], present: Collection[str], stored: Collection[str], day: str) -> list[Rename]:
    """Return what must get another name, so that each account finds its state under the one that it has now.

    State whose name is needed, and whose login is in no session file any more, is kept under a name of its own: it is
    found again when its login comes back.
    """
    renames = [Rename(former=former, name=name) for name, former in found.items() if former != name]
    used = set(found.values())
    taken = {*present, *stored}
    for name in present:
        if name in stored and name not in used:  # a name of an account that runs is never in ``present``
            kept, number = f"{name} (login until {day})", 1
            while kept in taken:
                number += 1
                kept = f"{name} (login until {day}, {number})"
            taken.add(kept)
            renames.append(Rename(former=name, name=kept, with_jobs=False))
    return renames


@define(eq=False)
class Restoration:
    """Finds where the accounts of a config go on, and remembers whose logins they are."""

    journal: JournalWriter
    connectors: Mapping[str, TelegramConnector]
    _stored: Mapping[str, StoredLogin] = field(factory=dict, init=False)

    @property
    def _path(self) -> Path:
        return self.journal.path

    async def restore(
        self, names: Collection[str] | None = None, renamed: Mapping[str, str] | None = None
    ) -> dict[str, Snapshot]:
        """Return the stored snapshot of each account, by its name in the config.

        ``names`` are those that are about to run, by default all; what is stored of others is left alone, because they
        run. ``renamed`` has what some of them were called until now, by which state is found that has no login. Says so
        when state gets another name, and renames all that belongs to it. Raises ``StorageError``.
        """
        await self._finish_files()
        whole = self._stored = await anyio.to_thread.run_sync(stored_logins, self._path)
        mine = self.connectors.keys() if names is None else set(names)
        running = self.connectors.keys() - mine
        stored = {name: login for name, login in whole.items() if name not in running}
        await anyio.to_thread.run_sync(self._read_fingerprints)
        present = {name: await present_login(self.connectors[name]) for name in self.connectors if name in mine}
        replaced = await anyio.to_thread.run_sync(self._find_replaced, present)
        found = owners(present, stored, replaced)
        for name, former in (renamed or {}).items():
            if name in present and name not in found and former in stored and former not in found.values():
                found[name] = former
        day = datetime.now().astimezone().date().isoformat()
        renames = renames_of(found, present, {*stored, *running}, day)
        if renames:
            await self._rename(renames)
            self._stored = await anyio.to_thread.run_sync(stored_logins, self._path)
        await self.remember()
        return await self.journal.snapshots()

    async def remember(self) -> None:
        """Store whose login each account has, as far as that is not stored yet. A later start compares them."""
        for name, (login, user) in (await anyio.to_thread.run_sync(self._find_unremembered)).items():
            await self.journal.remember_login(name, login, user)

    async def _rename(self, renames: Sequence[Rename]) -> None:
        files = await anyio.to_thread.run_sync(self._plan_files, renames)
        await self.journal.rename(renames, files, time.time())
        for each in renames:
            if each.with_jobs:
                log.info("account_renamed", account=each.name, former=each.former)
            else:
                log.info("account_replaced", account=each.former, kept=each.name)
        await self._finish_files()

    async def _finish_files(self) -> None:
        """Rename the backups that are still to be renamed, also those that an earlier start did not come to."""
        files = await anyio.to_thread.run_sync(pending_files, self._path)
        if not files:
            return
        for directory in self._directories():
            try:
                await anyio.to_thread.run_sync(move, directory, files)
            except OSError as exc:
                log.error("backups_not_renamed", path=str(directory), detail=str(exc))
                return
        await anyio.to_thread.run_sync(forget_files, self._path)

    def _directories(self) -> list[Path]:
        """Return where the backups are: in one place for all accounts."""
        return list(dict.fromkeys(connector.backups for connector in self.connectors.values()))

    # --- in a thread -------------------------------------------------------------------------------------------------

    def _read_fingerprints(self) -> None:
        """Have the fingerprints of all files in memory: one call for all, because a call takes longer than a look."""
        for connector in self.connectors.values():
            if not cached_fingerprint(connector.session):
                read_fingerprint(connector.session)

    def _plan_files(self, renames: Sequence[Rename]) -> list[tuple[str, str]]:
        names: dict[str, str] = {}
        for each in renames:
            names[each.former] = each.name
            names[LOGGED_OUT.format(each.former)] = LOGGED_OUT.format(each.name)
        return [found for directory in self._directories() for found in plan_moves(directory, names)]

    def _find_replaced(self, present: Mapping[str, PresentLogin]) -> set[str]:
        """Return the accounts that have another login than the one whose state has their name, of another user."""
        replaced = set()
        for name, login in present.items():
            stored = self._stored.get(name)
            if stored is None or not (stored.login and login.login) or login.same(stored):
                continue
            user = stored_user(self.connectors[name].session)
            if user is None or user != self._user_of(name, stored):
                replaced.add(name)
        return replaced

    def _user_of(self, name: str, stored: StoredLogin) -> int | None:
        """Return the user of a login that is gone: as it was stored, or as a backup has it."""
        if stored.user is not None:
            return stored.user
        for backup in backups_of(self.connectors[name].backups, name):
            if read_fingerprint(backup.path) == stored.login:
                return stored_user(backup.path)
        return None

    def _find_unremembered(self) -> dict[str, tuple[str, int | None]]:
        """Return the login and the user of each account of which they are not stored."""
        new: dict[str, tuple[str, int | None]] = {}
        for name, connector in self.connectors.items():
            before = self._stored.get(name)
            login, user = connector.memory.login_in_file() or login_in(connector.session)
            if not login or (before is not None and before.login == login and before.user is not None):
                continue
            if before is None or (before.login, before.user) != (login, user):
                new[name] = (login, user)
        return new


async def present_login(connector: TelegramConnector) -> PresentLogin:
    """Return the login in the account's session file."""
    return PresentLogin(credentials=await connector.credentials(), login=await connector.login())
