"""The count at the end of a run in the sandbox finds what is missing and what is there twice."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.sandbox import ChannelMessage
from adapters.sqlite.jobs import NewJob, add
from engine.app.audit import CHANNEL_OFFSET, Audit, audit
from engine.config import AccountConfig, Config, Telegram

GROUP, ME = 1_000_000_001, 9996620001
CONFIG = Config(
    telegram=Telegram(api_id=1, api_hash="0" * 32),
    accounts=(AccountConfig(name="A", session=Path("a.session"), phone=f"+{ME}"),),
)


def written(*random_ids: int) -> dict[str, list[ChannelMessage]]:
    """Return a group with three messages of another user, and one of ours for each of these."""
    others = [ChannelMessage(GROUP, n, n, 1, f"{n}", 0, None) for n in (1, 2, 3)]
    ours = [ChannelMessage(GROUP, n, n, ME, "sent", 0, random_id) for n, random_id in enumerate(random_ids, 4)]
    return {"group": [*others, *ours]}


def file_with(
    directory: Path, *, collected: tuple[int, ...], last: int, since: int | None = None, elsewhere: bool = False
) -> Path:
    """Return a file in which 10 and 11 were sent (11 perhaps elsewhere), and messages collected up to ``last``."""
    path, chat = directory / "engine.db", CHANNEL_OFFSET - GROUP
    data = {"chat": "@group"} if since is None else {"chat": "@group", "since": since}
    sends = [NewJob(kind="send", data={"to": "@group", "text": "sent"})] * 2
    add(path, [*sends, NewJob(kind="collect", data=data)])
    checkpoints = [{"random_id": 10}, {"random_id": 11}, {"chat": chat, "last": last, "messages": len(collected)}]
    results = [{"chat": chat}, {"chat": ME if elsewhere else chat}, {"chat": chat}]
    rows = enumerate(zip(checkpoints, results, strict=True), 1)
    with closing(sqlite3.connect(path)) as db, db:
        db.executemany(
            "UPDATE jobs SET state = 'done', checkpoint = ?, result = ? WHERE id = ?",
            [(json.dumps(checkpoint), json.dumps(result), number) for number, (checkpoint, result) in rows],
        )
        db.executemany(
            "INSERT INTO messages (owner, chat, id, at, sender, text, job) VALUES ('', ?, ?, 0, 1, ?, 3)",
            [(chat, number, str(number)) for number in collected],
        )
    return path


@pytest.mark.parametrize(
    ("server", "file", "expected"),
    [
        ((10, 11), {"collected": (1, 2, 3), "last": 3}, {"collected": 3, "later": 2}),
        ((10, 11), {"collected": (1, 3), "last": 3}, {"collected": 2, "later": 2, "missed": 1}),
        ((10,), {"collected": (1, 2, 3), "last": 3}, {"collected": 3, "later": 1, "missed": 1}),
        ((10, 11, 12), {"collected": (1, 2, 3), "last": 3}, {"collected": 3, "later": 3, "doubled": 1}),
        ((10, 11), {"collected": (3,), "last": 3, "since": 3}, {"collected": 1, "later": 4}),
        ((10,), {"collected": (1, 2, 3), "last": 3, "elsewhere": True}, {"collected": 3, "later": 1}),
    ],
    ids=[
        "all is well",
        "a message is missing",
        "a sent one is missing",
        "one is sent twice",
        "what was not asked for",
        "what was sent outside the groups",
    ],
)
def test_both_sides_are_compared(
    tmp_path: Path, server: tuple[int, ...], file: dict[str, object], expected: dict[str, int]
) -> None:
    """What a job says is done and is not there is missed, what no job asked for is doubled, and nothing else is."""
    found = audit(CONFIG, file_with(tmp_path, **file), written(*server))  # type: ignore[arg-type]  # as in the table
    assert found == Audit(on_server=3 + len(server), groups=1, sent=2, **expected)
