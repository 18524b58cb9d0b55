"""A snapshot that cannot be read is made again from the account's journal, or from what can still be read."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite import JournalWriter, Repair
from engine import doctor
from engine.config import load
from states import Snapshot, State
from states.events import AuthRejected, Connected, Event, FloodWait, NetworkLost, Started, StopRequested, TurnGranted
from tests.engine.commands import runs, write_stories

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: A, session: a}
  - {name: B, session: b}
"""
LINKED: tuple[Event, ...] = (Started(), TurnGranted(generation=0), Connected())
STORIES: Mapping[str, Sequence[Event]] = {
    "A": (*LINKED, FloodWait(seconds=9000, request="SendMessage"), NetworkLost(detail="reset")),
    "B": LINKED,
}
UNREADABLE: Mapping[str, Any] = {
    "no JSON": "{",
    "no text": b"\xff\x00",
    "not UTF-8": b"caf\xe9",
    "a list": "[7]",
    "a number": "7",
    "half an emoji for a number": '{"since": "\\ud83d"}',
    "a number of 400 digits": '{"life": ' + "9" * 400 + "}",
    "a time of 400 digits": '{"since": ' + "9" * 400 + "}",
    "an endless wait": '{"state": "backoff", "deadline": 1e999}',
    "a wait of 400 digits": '{"holds": [{"request": "x", "until": 1e300}]}',
    "an unknown state": '{"state": "asleep"}',
    "holds of a wrong shape": '{"holds": [7]}',
    "deep JSON": "[" * 100_000,
    "nothing": "",
}


def change(directory: Path, sql: str, *values: Any) -> None:
    with closing(sqlite3.connect(directory / "data" / "engine.db", isolation_level=None)) as db:
        db.execute(sql, values)


def spoil(directory: Path, value: Any) -> None:
    """Store another value as the snapshot of A, bytes as a text."""
    cell = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
    change(
        directory,
        f"UPDATE snapshots SET snapshot = {cell} WHERE account = (SELECT id FROM names WHERE name = 'A')",
        value,
    )


async def stored(directory: Path) -> tuple[dict[str, Snapshot], list[Repair]]:
    """Return what the next engine finds, and what it says was repaired."""
    told: list[Repair] = []
    journal = await JournalWriter.open(
        directory / "data" / "engine.db", on_trouble=lambda *_: None, on_repair=told.append
    )
    try:
        return await journal.snapshots(), told
    finally:
        await journal.aclose(5)


@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_snapshot_is_made_again_from_the_journal(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It equals the one that was lost, the others stay, a replay agrees with it, and it is told once."""
    await write_stories(tmp_path, CONFIG, STORIES)
    before, told = await stored(tmp_path)
    assert not told
    spoil(tmp_path, UNREADABLE[name])
    after, told = await stored(tmp_path)
    assert after == before
    assert [(each.account, each.exact, each.holds) for each in told] == [("A", True, 1)]
    assert (await stored(tmp_path))[1] == []
    command = runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)
    assert command("log", "replay")[0] == 0


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (
            '{"state": "asleep", "paused": true, "holds": [{"request": "x", "until": 4e9}, {"request": 1e999}, 7]}',
            ["x"],
        ),
        ("{", ["SendMessage"]),
    ],
)
async def test_an_account_begins_anew_with_the_holds_that_can_be_read(
    text: str, holds: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in the text or, if that is none, in the records; the next life has another number, and replays."""
    await write_stories(tmp_path, CONFIG, STORIES)
    spoil(tmp_path, text)
    change(tmp_path, "UPDATE journal SET body = 'x' WHERE event = (SELECT id FROM names WHERE name = 'Started')")
    after, told = await stored(tmp_path)
    assert [hold.request for hold in after["A"].holds] == holds
    assert (after["A"].paused, after["A"].life) == ("paused" in text, 1)
    assert [(each.account, each.exact, each.holds) for each in told] == [("A", False, 1)]
    command = runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)
    assert "❌" not in command("log", "replay")[1]


@pytest.mark.parametrize("spoilt", ["UPDATE journal SET body = 'x' WHERE seq = 1", "UPDATE lives SET snapshot = '{'"])
async def test_credentials_that_are_dead_stay_dead(spoilt: str, tmp_path: Path) -> None:
    """Nothing is tried with a login that Telegram has refused, though neither snapshot nor journal are whole."""
    await write_stories(tmp_path, CONFIG, {"A": (*LINKED, AuthRejected(detail="revoked")), "B": LINKED})
    spoil(tmp_path, "{")
    change(tmp_path, spoilt)
    after, _ = await stored(tmp_path)
    assert after["A"].state is State.AUTH_FAILED
    assert after["A"].cause is not None
    assert after["A"].cause.detail == "revoked"


async def test_a_pause_is_not_forgotten(tmp_path: Path) -> None:
    """The operator has paused the account, so it does not connect by itself."""
    await write_stories(tmp_path, CONFIG, {"A": (*LINKED, StopRequested(paused=True)), "B": LINKED})
    spoil(tmp_path, "{")
    change(tmp_path, "UPDATE lives SET snapshot = '{'")
    assert (await stored(tmp_path))[0]["A"].paused


async def test_a_row_that_is_gone_is_made_again(tmp_path: Path) -> None:
    """An account that has lived does not begin with its first life again."""
    await write_stories(tmp_path, CONFIG, STORIES)
    before, _ = await stored(tmp_path)
    change(tmp_path, "DELETE FROM snapshots WHERE account = (SELECT id FROM names WHERE name = 'A')")
    after, told = await stored(tmp_path)
    assert (after, [each.account for each in told]) == (before, ["A"])


async def test_doctor_names_the_account(tmp_path: Path) -> None:
    """It says what run will do about it, and goes on with the others."""
    await write_stories(tmp_path, CONFIG, STORIES)
    spoil(tmp_path, "{")
    found = await doctor.run_checks(load(tmp_path / "config.yaml"), fix=False)
    assert [each.ok for each in found if "cannot be read" in each.text and "A" in (each.about,)] == [None]


async def test_commands_show_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before an engine has repaired it, nothing is known of the one account."""
    await write_stories(tmp_path, CONFIG, STORIES)
    spoil(tmp_path, "{")
    command = runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)
    code, out, _ = command("status", "--json")
    assert (code, [account["name"] for account in json.loads(out)["accounts"]]) == (3, ["A", "B"])
