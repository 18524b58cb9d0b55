"""What the files say of the engine and of its accounts: for commands, with an engine running or without."""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from adapters.sqlite import JournalMissing
from adapters.system import holder_of
from engine import paths
from engine.app.records import open_records
from engine.app.stored_fleet import open_fleet, silent_lives, watch_beats
from engine.config import Outline
from engine.console.account_status import AccountStatus
from engine.console.status import EngineInfo
from states.nodes import AccountPlace, BeatWatch
from states.waits import RequestWait

if TYPE_CHECKING:  # only the types
    from engine.journal.ports import JournalRecords

ANSWER_TIMEOUT = 5.0
"""Seconds after which an engine that has not answered hangs; a busy one takes less than a tenth of it."""
NEVER_RAN = AccountStatus(None)


def read_info(directory: Path) -> EngineInfo:
    """Return whether an engine runs on this data, and whether it answers.

    It looks at its database meanwhile, as with ``have_engine_look``. One that cannot be reached may be starting.
    """
    holder = holder_of(directory / paths.LOCK)
    if holder is None:
        return EngineInfo(running=False)
    from engine.control.client import CommandRefused, EngineHangs, EngineSilent, look  # noqa: PLC0415 - only if one runs

    hangs, unwritten, waits = False, None, dict[str, tuple[RequestWait, ...]]()
    with suppress(EngineSilent, CommandRefused):
        try:
            unwritten, waits = look(directory, timeout=ANSWER_TIMEOUT)
        except EngineHangs:
            hangs = holder_of(directory / paths.LOCK) is not None
    why = None if unwritten is None else unwritten.why
    return EngineInfo(running=True, pid=holder.pid, since=holder.since, hangs=hangs, unwritten=why, waits=waits)


def read_statuses(directory: Path, reader: "JournalRecords") -> dict[str, AccountStatus]:
    """Return the status of every account that the journal has.

    A snapshot says where its account is if the engine that decided it holds the lock now. Its identity in the lock
    file and in the journal decides that: process numbers are used again, and clocks can be wrong. Among nodes it says
    so if it was decided in the life that owns the account.
    """
    with reader.read_transaction():
        if (present := reader.present_at_nodes()) is None:
            holder = holder_of(directory / paths.LOCK)
            present = reader.present(holder.engine) if holder is not None else ()
        return {name: AccountStatus(at, name in present) for name, (at, _) in reader.snapshots().items()}


def account_statuses(outline: Outline, info: EngineInfo | None = None) -> dict[str, AccountStatus]:
    """Return the status of the config's accounts, and of others that the engine still runs.

    An engine that hangs, as ``info`` may say, knows nothing now.
    """
    try:
        with open_records(outline) as reader:
            reader.on_unreadable = lambda row: None  # nothing is known of that account; the others have theirs
            stored = read_statuses(outline.directory, reader)
    except JournalMissing:
        stored = {}  # no engine has run yet
    if info is not None and info.waits:
        stored = {name: evolve(at, waits=info.waits.get(name, ())) for name, at in stored.items()}
    places = read_places(outline)
    stored = {name: evolve(at, place=places.get(name)) for name, at in stored.items()} if places else stored
    if info is not None and info.hangs:
        stored = {name: evolve(at, present=at.present and _is_elsewhere(at, info)) for name, at in stored.items()}
    if info is not None and info.silent:
        stored = {name: evolve(at, present=at.present and not _is_silent(at, info)) for name, at in stored.items()}
    names = dict.fromkeys(outline.names)
    others = [name for name, at in stored.items() if at.present and name not in names]
    return {name: stored.get(name) or evolve(NEVER_RAN, place=places.get(name)) for name in (*names, *others)}


def _is_elsewhere(at: AccountStatus, info: EngineInfo) -> bool:
    """Return whether another node than the engine on this data has an account."""
    own = next((node.life for node in info.nodes or () if node.lives and node.details.get("pid") == info.pid), None)
    return at.place is not None and own is not None and at.place.life not in (None, own)


def _is_silent(at: AccountStatus, info: EngineInfo) -> bool:
    """Return whether nobody hears of the node that has an account: its connection may be closed, and another begun."""
    return at.place is not None and at.place.life in info.silent


def read_places(outline: Outline) -> Mapping[str, AccountPlace]:
    """Return which node has each account; empty for a config without nodes, and where none has run yet."""
    with suppress(JournalMissing):
        if (reading := open_fleet(outline)) is not None:
            with reading as fleet:
                return fleet.accounts()
    return {}


def with_nodes(info: EngineInfo, outline: Outline, beats: BeatWatch | None = None) -> EngineInfo:
    """Return it with the nodes of a config that has some, and which of them are silent.

    ``beats`` has seen those of former looks; without it this looks until each node has beaten, or is silent.
    """
    try:
        if (reading := open_fleet(outline)) is None:
            return info
        with reading as fleet:
            if beats is None:
                found, beats = watch_beats(fleet)
            else:
                found = fleet.nodes()
                beats.look(time.monotonic(), found)
    except JournalMissing:
        return evolve(info, nodes=())
    return evolve(info, nodes=found, silent=silent_lives(found, beats, time.monotonic()))
