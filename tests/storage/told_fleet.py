"""A fleet that real parts have written, and what every command says of it."""

import contextlib
import io
from pathlib import Path
from typing import Any, Final

import attrs

from adapters.sqlite.jobs import ReadHistory
from adapters.sqlite.messages import Deletion, Message
from engine.cli import app
from states.alerts import About, ChannelAlert, MessageKind
from states.incidents import AccountGone, Acknowledged
from states.jobs import Begun, Job, JobState, decide
from states.ledger import HoleCause
from tests.states.incident_support import Told, down, full, journal, names, needs
from tests.storage.incident_stores import IncidentsUnderTest
from tests.storage.job_stores import NOW, JobsUnderTest, new
from tests.storage.part_stores import PartsUnderTest, row, store
from tests.storage.stores import StoreUnderTest
from tests.storage.story import tell_lives

CHAT: Final = -1_000_000_000_005
QUESTIONS: Final = (
    ("log", "--json"),
    ("log", "--failed", "--json"),
    ("log", "--account", "a", "-n", "3", "--json"),
    ("log", "replay", "--json"),
    ("log", "stats", "--since", "1970-01-12", "--until", "1970-01-13", "--json"),
    ("log", "explain", "7"),
    ("diagram", "--heat"),
    ("jobs", "list", "--json"),
    ("jobs", "list", "--state", "done", "--json"),
    ("jobs", "show", "1", "--json"),
    ("jobs", "show", "2"),
    ("export", "--chat", str(CHAT)),
    ("incidents", "--json"),
    ("incidents", "show", "1", "--json"),
    ("prove", "--chat", str(CHAT), "--json"),
)
"""Commands, each of which gets the config after its name."""
_WORDS: Final = {"log": ("replay", "stats", "explain"), "jobs": ("list", "show"), "incidents": ("show",)}


async def tell_fleet(
    records: StoreUnderTest, jobs: JobsUnderTest, kept: IncidentsUnderTest, parts: PartsUnderTest
) -> None:
    """Write into every part of a store what engines write there."""
    async with records.journal(engine="one") as written:
        await tell_lives(written)
        await written.remember_login("a", "0123456789abcdef", 7)
    async with jobs.engine() as engine:
        await engine.add([new(data={"chat": "@x", "text": "\0😀"}), new(account="A"), new("j", due=NOW + 9, wait=9.0)])
        job: Job = decide(await _job(engine, 1), Begun("A"), now=NOW)
        ended = attrs.evolve(job, state=JobState.DONE, result={"n": 2**70}, checkpoint={"chat": CHAT}, ended=NOW + 1)
        await engine.keep(ended, [_message(1), _message(2, text="b"), _gone(2)], [{"a": 1.5}], _history())
        await engine.flush()
    law = Told()
    law.tell(*map(down, names(12)), needs("P"), journal(full()))
    law.wait(130)
    law.tell(needs("a"), Acknowledged(1), AccountGone("P"))
    about = About(id=1, kind="needs_person", since=law.now, opened=law.now)
    async with kept.engine() as owner:
        await owner.incidents.restore(law.now)
        alert = ChannelAlert(channel="c", about=about, message=MessageKind.OPENED, due=law.now)
        await owner.incidents.keep(law.changes, also=[owner.outbox.row_of(alert, law.now)])
        await owner.incidents.flush()
    async with parts.node() as node:
        await store(node, row(3, 9, first_id=20, last_id=25), row(9, 12, cause=HoleCause.TOO_LONG))
        await store(node, row(1, 2, box=0, user=8, login="y"), account="B")
        await node.flush()


async def _job(engine: Any, number: int) -> Job:
    found = await engine.job(number)
    assert isinstance(found, Job)
    return found


def _message(number: int, text: str = "a") -> Message:
    return Message(chat=CHAT, id=number, at=NOW, text=text, sender=9, owner="", edited=None, version=1, raw="{}")


def _gone(number: int) -> Deletion:
    return Deletion(chat=CHAT, id=number, at=NOW + 5, owner="")


def _history() -> ReadHistory:
    return ReadHistory(chat=CHAT, after=0, at=NOW, from_at=None)


def said(config: Path) -> dict[str, str]:
    """Return what each command prints, whichever store the config names."""
    found = {}
    for question in QUESTIONS:
        first, *rest = question
        words = [first, *([rest.pop(0)] if rest and rest[0] in _WORDS.get(first, ()) else []), str(config), *rest]
        text = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        code: object = 0
        with contextlib.redirect_stdout(text):
            try:
                app(words)
            except SystemExit as left:
                code = left.code
        text.flush()
        printed = text.buffer.getvalue().decode()  # type: ignore[attr-defined]
        found[" ".join(question)] = f"{code or 0} {printed.replace(str(config), 'CONFIG')}"
    return found
