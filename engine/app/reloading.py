"""What the reloads of one engine and of one with workers have in common: how a config is read, and what refuses it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio.to_thread

from adapters.session.owner import held_error, owner_of
from adapters.sqlite import StorageError
from adapters.system import ServiceManager
from adapters.telegram.engine_session import cached_fingerprint, read_fingerprint
from engine.app.stop import Stop
from engine.config import AccountConfig, Config, ConfigError, load
from engine.config.difference import ConfigDifference
from engine.control.protocol import RefusalReason

MOST_SENTENCES: Final = 6
"""Lines of a refusal that the log has; the command prints all."""
STOPPING: Final = "the engine is being stopped; the next start reads the config"


class ReloadRefused(Exception):
    """Nothing was applied; the text has a sentence for each reason."""

    def __init__(self, reason: RefusalReason, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.reason = reason

    @property
    def sentence(self) -> str:
        """All of it in one line, or the first of many mistakes."""
        lines = [line.strip() for line in str(self).splitlines()]
        more = [f"{len(lines) - MOST_SENTENCES} more"] if len(lines) > MOST_SENTENCES else []
        return "; ".join([*lines[:MOST_SENTENCES], *more]).replace(":; ", ": ", 1)


async def read_config(before: Config) -> Config:
    """Read the file of a config again. Raises ``ReloadRefused``."""
    try:
        return await anyio.to_thread.run_sync(load, before.path)
    except ConfigError as exc:
        raise ReloadRefused(RefusalReason.BAD_CONFIG, *exc.sentences) from None


def check_same(path: Path, config: Config) -> None:
    """Raise ``ReloadRefused`` if a command means another config than the engine's own."""
    mine = config.path.absolute()
    if not _is_same(path, mine):
        sentence = f"the running engine has another config, {mine}; reload that, or write your changes there"
        raise ReloadRefused(RefusalReason.REFUSED, sentence)


def counts_of(config: Config, found: ConfigDifference) -> dict[str, Any]:
    """Return what the log says of a difference that was applied."""
    return {
        "config": str(config.path),
        "added": len(found.added),
        "removed": len(found.removed),
        "renamed": len(found.renamed),
        "reconnecting": len(found.reconnecting),
        "kept": found.kept,
        "settings": len(found.settings),
    }


@contextmanager
def told_to_manager(manager: ServiceManager | None, stop: Stop) -> Iterator[None]:
    """Let the service manager know that a reload is under way, also one that is refused."""
    manager = None if stop.wanted.is_set() else manager
    if manager is not None:
        manager.reloading()
    try:
        yield
    finally:
        if manager is not None and not stop.wanted.is_set():  # the end is told already
            manager.ready()


def login_of(session: Path) -> str:
    """Return the fingerprint of the login in a session file. Blocks."""
    with suppress(StorageError, OSError):
        return cached_fingerprint(session) or read_fingerprint(session)
    return ""


def check_sessions(before: Config, coming: Iterable[AccountConfig]) -> None:
    """Raise ``ReloadRefused`` for a session of an account that comes which another program uses. Blocks."""
    mine = {account.session for account in before.accounts}
    held = [
        str(held_error(account.session, owner))
        for account in coming
        if account.session not in mine and (owner := owner_of(account.session)) is not None
    ]
    if held:
        raise ReloadRefused(RefusalReason.REFUSED, *held)


def _is_same(path: Path, mine: Path) -> bool:
    """Return whether a command means the engine's own config."""
    with suppress(OSError):
        return path.samefile(mine)
    return path == mine
