"""What the journal knows of the accounts: a login that Telegram has ended looks well in its file."""

from collections.abc import Collection, Mapping
from typing import Final

import anyio
import anyio.to_thread

from adapters.sqlite import JournalMissing
from adapters.sqlite.renames import StoredLogin, logins_in
from adapters.stores.journal_rows import UnreadableRow
from engine.app.records import open_records
from engine.app.restored import owners, present_login
from engine.app.telegram import connectors_outside
from engine.config import Config, SandboxConfig
from engine.console.shell import engine_command
from engine.console.status import cause_text
from engine.doctor.findings import Finding
from states import Snapshot, State
from states.limits import ACCOUNT, MEANINGS
from states.snapshot import ADVICE, Action, advice_of

LOOK_TIMEOUT: Final = 15.0
"""Seconds that reading the journal and the logins may take."""


async def check(config: Config) -> list[Finding]:
    """Return what the journal knows against each account: what ``run`` would go on with.

    A file of the journal that cannot be read has a finding of its own already.
    """
    with anyio.fail_after(LOOK_TIMEOUT):
        try:
            stored, logins, unreadable = await anyio.to_thread.run_sync(_read, config, abandon_on_cancel=True)
        except JournalMissing:
            return []
        connectors = {} if isinstance(config.telegram.datacenter, SandboxConfig) else connectors_outside(config)
        present = {name: await present_login(connector) for name, connector in connectors.items()}
        names = owners(present, logins) if present else {name: name for name in stored}  # it may have been renamed
        found = []
        for account in config.accounts:
            if account.name in unreadable:
                text = "where it was cannot be read from the journal's file; run makes it again from its records"
                found.append(Finding(account.name, None, text))
            at = stored.get(names.get(account.name, ""))
            if at is not None:
                # Without the datacenter's address (the sandbox) a new login cannot be told from the one that failed.
                now = at.credentials
                if account.name in present:
                    now = present[account.name].credentials
                found += _judge(config, account.name, at, now)
        return found


def _read(config: Config) -> tuple[Mapping[str, Snapshot], Mapping[str, StoredLogin], Collection[str | None]]:
    """Return the snapshots, whose they are, and the accounts of which the snapshot cannot be read."""
    unreadable: list[UnreadableRow] = []
    with open_records(config.storage) as reader:
        reader.on_unreadable = unreadable.append
        stored = {name: snapshot for name, (snapshot, _) in reader.snapshots().items()}
        return stored, logins_in(reader), {row.account for row in unreadable}


def _judge(config: Config, name: str, at: Snapshot, credentials: str) -> list[Finding]:
    where = at.resumes if at.state is State.SHUTTING_DOWN else at.state
    why = cause_text(at) or "the cause is not known any more"
    if where is State.AUTH_FAILED and credentials:
        if credentials != at.credentials:
            return [Finding(name, None, f"failed with its last login ({why}), and has another one now; run tries it")]
        text = f"its login is in the file, and the journal knows that it cannot be used: {why}"
        return [Finding(name, False, text, _remedy(config, name, at))]
    if where is State.BACKOFF and at.deadline is None:
        return [Finding(name, False, f"waits for the operator: {why}", _remedy(config, name, at))]
    if at.paused:
        return [Finding(name, None, "is paused", engine_command("resume", config.path, name))]
    if at.limited is None and at.restricted is not None:
        said = MEANINGS.get(at.restricted.limit, MEANINGS[ACCOUNT])
        return [Finding(name, None, f"is {said}{why and f': {why}'}", advice_of(at))]
    if at.limited is not None:
        return [Finding(name, None, f"is limited by Telegram: {why}", ADVICE[Action.APPEAL])]
    return []


def _remedy(config: Config, name: str, at: Snapshot) -> str:
    match at.action:
        case Action.LOG_IN:
            return engine_command("login", config.path, name)
        case Action.RESTORE_SESSION:
            return engine_command("session restore", config.path, name)
        case Action.RETRY:
            return engine_command("retry", config.path, name)
        case action:
            return ADVICE[action or Action.LOG_IN]
