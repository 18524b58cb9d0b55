"""Whom a name or a pattern means: the same for commands, handlers, background tasks, jobs and the config."""

import logging
import unicodedata
from pathlib import Path
from typing import Any

import anyio
import pytest
from telethon import events

from adapters.sandbox import Sandbox
from engine import Engine
from engine.app.job_registry import JobRegistry
from engine.cli.common import config_and_account
from engine.config import load
from engine.console.names import addressed, matching
from tests.engine.commands import Run, runs
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

NFC, NFD = unicodedata.normalize("NFC", "Café"), unicodedata.normalize("NFD", "Café")
NAMES = ("News [1]", "News 1", "News 2", "*", "a?", "ab", "[x]", "[", "news 1", NFC, "Shop [EU] 7")
BYTES = NFC.encode().decode("ascii", "surrogateescape")
"""What Python makes of it on a command line under LC_ALL=C with PYTHONUTF8=0."""
CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
"""


def test_a_word_of_bytes_is_sent_to_the_engine_as_a_name() -> None:
    """What a command says, asks and answers has the letters that were typed."""
    assert config_and_account(["c.yaml", BYTES]) == (Path("c.yaml"), NFC)


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("News [1]", ["News [1]"]),  # not "News 1", which it would mean as a pattern
        ("News [1]*", ["News [1]"]),
        ("News [12]", ["News 1", "News 2"]),
        ("Shop [EU]*", ["Shop [EU] 7"]),
        ("*", ["*"]),
        ("a?", ["a?"]),
        ("[*", ["[x]", "["]),
        (BYTES, [NFC]),
        ("Caf\udce9", []),  # and no UTF-8
        ("NEWS 1", []),
        ("news*", ["news 1"]),
        (NFD, [NFC]),
        ("Caf\N{LATIN SMALL LETTER E WITH ACUTE}*", [NFC]),
        ("", []),
        ("[", ["["]),
        ("News [", []),
    ],
)
def test_a_name_comes_before_every_pattern(pattern: str, meant: list[str]) -> None:
    """The most literal reading that fits anybody is what is meant."""
    assert matching(NAMES, pattern) == meant


def test_the_default_of_a_handler_is_everybody() -> None:
    """A handler without accounts is for all, also if one of them is called like the pattern of all."""
    assert addressed(NAMES, ("*",)) == set(NAMES)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command beside a config whose names have brackets."""
    entries = "".join(f"  - {{name: {name!r}, session: s{number}}}\n" for number, name in enumerate(NAMES))
    (tmp_path / "config.yaml").write_text(CONFIG + entries, "utf-8")
    return runs(capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)


@pytest.mark.parametrize("name", ["News [1]", "*", "[", NFC])
def test_commands_find_an_account_by_its_name(run: Run, name: str) -> None:
    """``status`` and ``session backup`` choose the account that is called so, and no other."""
    assert f'"name": "{name}"' in run("status", "config.yaml", name, "--json")[1]
    assert run("status", "config.yaml", name, "--json")[1].count('"name"') == 1
    assert f"❌ {name}: " in run("session", "backup", "config.yaml", name)[1]


def test_a_job_is_for_the_account_that_is_meant(run: Run, tmp_path: Path) -> None:
    """A job is stored with the account's own name, whichever encoding of it was given."""
    registry = JobRegistry.of(load(tmp_path / "config.yaml"))
    assert registry.check("send", {"to": "@x", "text": "y"}, NFD).account == NFC
    assert registry.check("send", {"to": "@x", "text": "y"}, "News [1]").account == "News [1]"


async def test_a_handler_hears_an_account_with_brackets(
    harness: EngineHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """Its name is no pattern; a handler that is for nobody is told at the start, with the nearest name."""
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001")
        harness.config.write_text(harness.config.read_text("utf-8").replace("name: Account 1", 'name: "News [1]"'))
        engine = Engine.from_config(harness.config)
        heard: list[str] = []

        @engine.on(events.NewMessage(), accounts="News [1]")
        async def note(event: Any) -> None:
            heard.append(event.raw_text)
            engine.stop.now()

        @engine.on(events.NewMessage(), accounts="Nws*")
        async def deaf(event: Any) -> None:
            heard.append("deaf")

        with caplog.at_level(logging.WARNING, "holdfast.engine"):
            async with engine:
                with anyio.fail_after(TIMEOUT):
                    await engine.account("News [1]").ready()
                    await dc.push("+9996620001", "hello")
                    await engine.stop.wanted.wait()
    assert heard == ["hello"]
    assert [record.getMessage() for record in caplog.records if "deaf" in record.getMessage()]
