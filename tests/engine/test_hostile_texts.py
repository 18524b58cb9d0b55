"""Texts of a hostile server, user or file: no command obeys them, and no program reads anything else than them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from adapters.sqlite.jobs import NewJob, add
from engine.cli import app
from engine.diagram import FORMATS, Overlay
from states import Policy
from states.events import AuthRejected, NetworkLost, Started, TurnGranted
from tests.engine.commands import write_stories

STORED = "gone\x1b[2J\x1b]0;owned\x07\r\n2001-01-01 00:00:00 - INFO - ✅ Stopped"
STORED += "\x9b2J\u2028\u202e[bold]x[/bold]\u200b\t end"
EVIL = f"{STORED}\ud83d"
"""What JSON can hold, but SQLite cannot: half a character."""
OBEYED = set("\x1b\x07\r\x9b\u2028\u202e\u200b\t\ud83d")
CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: "[bold]x[/bold] [red]", session: one}
  - {name: Two, session: two}
"""
COMMANDS = (
    "status", "log", "log explain 3", "log stats", "log replay", "jobs list config.yaml", "jobs show config.yaml 1",
    "log --account [bold]x[/bold]", "jobs cancel config.yaml 99",
)  # fmt: skip


@pytest.fixture
async def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a journal and jobs whose every text is hostile; go there."""
    lost = NetworkLost(detail=STORED, chain=(f"ConnectionResetError: {STORED}",))
    name = "[bold]x[/bold] [red]"
    stories = {
        name: [Started(), TurnGranted(generation=0), lost],
        "Two": [Started(), TurnGranted(generation=0), AuthRejected(detail=STORED)],
    }
    await write_stories(tmp_path, CONFIG, stories)
    database = tmp_path / "data" / "engine.db"
    add(database, [NewJob(kind="send", data={"to": "@n", "text": EVIL}, account=name, priority=0, due=None)])
    with closing(sqlite3.connect(database)) as rows, rows:
        rows.execute("update jobs set detail = ?, error = ?", (STORED, json.dumps([STORED])))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    return tmp_path


def said_by(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return all that a command prints."""
    with pytest.raises(SystemExit):
        app(words.split())
    said = capsys.readouterr()
    return said.out + said.err


@pytest.mark.parametrize("words", COMMANDS)
async def test_no_command_obeys_a_text(directory: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    """Each text is written out, on its own line, with its brackets."""
    said = said_by(words, capsys)
    assert not set(said) & OBEYED
    assert not [line for line in said.splitlines() if line.startswith("2001-01-01")]
    if "[bold]x" in said or words in ("status", "log", "jobs list config.yaml"):
        assert "[bold]x[/bold]" in said


@pytest.mark.parametrize(
    "words", ["status --json", "log --json", "log explain 3 --json", "jobs show config.yaml 1 --json"]
)
async def test_json_has_the_text_exactly(directory: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    """A program gets what there was; the line that it is in is harmless."""
    said = said_by(words, capsys)
    assert not set(said) & OBEYED
    lines = [said] if "explain" in words or "show" in words or "status" in words else said.splitlines()
    assert any(repr(STORED)[1:-1] in repr(json.loads(line)) for line in lines)


async def test_a_picture_of_the_page_is_xml(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the accounts' causes nor the config's own name can break the picture of ``status``."""
    (directory / "a<b>&c.yaml").write_text(CONFIG)
    said_by("status a<b>&c.yaml --svg page.svg", capsys)
    text = "".join(ET.parse(directory / "page.svg").getroot().itertext()).replace("\xa0", " ")
    assert "status 'a<b>&c.yaml'" in text
    assert "[bold]x[/bold]" in text
    assert not set(text) & OBEYED


@pytest.mark.parametrize("form", [form for form, about in FORMATS.items() if about.overlays and form != "png"])
def test_a_drawing_has_the_name_as_text(form: str) -> None:
    """An account's name is the heading of a drawing, whatever is in it."""
    overlay = Overlay(title=f'</text><script>alert(1)</script> ]]> --> " ``` {EVIL}')
    try:
        drawn = FORMATS[form].draw(Policy(), overlay).decode()
    except Exception as exc:
        if type(exc).__name__ == "PictureFailed" and "not installed" in str(exc):
            pytest.skip("Graphviz is not installed")
        raise
    assert not set(drawn) & OBEYED
    assert "\n2001-01-01" not in drawn
    if form == "svg":
        assert "<script" not in drawn
        ET.fromstring(drawn)
    if form == "dot":
        assert "<script" not in drawn
