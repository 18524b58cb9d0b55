"""A whole engine whose config has alerts: what befalls its accounts arrives at a mail server and a webhook, once."""

import json
import re
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

import states.incident_book
from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sqlite.incident_reader import IncidentReader
from engine.app.engine import Engine
from states.incident import IncidentKind
from tests.adapters.alerts.servers import Hooks, Mails, mail_server, web_server
from tests.engine.harness import COMPLAINTS, FAST, EngineHarness, all_are
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002", "+9996620003")
REVOKED = Fault(FaultKind.REVOKE, PHONES[0], text="SESSION_REVOKED")


def config(*targets: str, after: str = "200ms", kinds: str = "[needs_person]") -> str:
    """Return the rest of a config whose alerts go to these addresses, each by an entry of its own."""
    entries = "".join(f'  - {{to: "{target}", on: {kinds}, after: {after}}}\n' for target in targets)
    calm = FAST.replace("patience: [300ms, 400ms]", "patience: [30s]")  # a busy machine is no outage
    return f"{calm}incidents: {{after: {after}}}\nalerts:\n{entries}"


def subjects(mails: Mails) -> list[str]:
    return [str(each["Subject"]) for each in mails.got]


def titles(hooks: Hooks) -> list[str]:
    return [json.loads(content)["title"] for _, content in hooks.got]


def alerts(harness: EngineHarness) -> list[tuple[int, int]]:
    """Return the number of messages of each alert in the file, and whether it is over."""
    with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
        return db.execute("SELECT messages, over FROM alerts ORDER BY incident, channel").fetchall()


@pytest.mark.slow
async def test_a_lost_login_is_told_once_and_its_end_once(harness: EngineHarness) -> None:
    """By mail and by webhook; a restart tells nothing again, and the end says how long it was."""
    async with Sandbox() as dc, mail_server() as mails:
        with web_server() as hooks:
            harness.at(dc, *PHONES[:2], rest=config(mails.address, hooks.address))
            async with harness.running() as process:
                await harness.until(all_are("healthy", 2))
                await dc.inject(REVOKED)
                await harness.until(lambda it: alerts(it) == [(1, 0), (1, 0)])
                assert await harness.finish(process, signal.SIGTERM) == 0
            async with harness.running() as process:
                await harness.until(lambda it: it.states() == ["auth_failed", "healthy"])
                assert (await harness.command("pause", "Account 1"))[0] == 0
                await harness.until(lambda it: alerts(it) == [(2, 1), (2, 1)])
                assert await harness.finish(process, signal.SIGTERM) == 0
            for told in (subjects(mails), titles(hooks)):
                assert told[0] == "❌ Account 1 needs you: log in again"
                assert re.fullmatch(r"✅ Over: Account 1 needed you \(it lasted \d.*\)", told[1])
                assert len(told) == 2
    assert not COMPLAINTS.search(harness.text)
    assert "verysecretpath" not in harness.text + harness.printed


@pytest.mark.slow
async def test_a_reload_changes_who_is_told(harness: EngineHarness) -> None:
    """A channel that is added hears of what is open and the other does not again; one that is removed hears no end."""
    async with Sandbox() as dc, mail_server() as mails:
        with web_server() as hooks:
            harness.at(dc, *PHONES[:2], rest=config(mails.address))
            async with harness.running():
                await harness.until(all_are("healthy", 2))
                await dc.inject(REVOKED)
                await harness.until(lambda it: alerts(it) == [(1, 0)])
                whole = harness.config.read_text("utf-8")
                entry = f'  - {{to: "{hooks.address}", on: needs_person, after: 200ms}}\n'
                harness.config.write_text(whole + entry, "utf-8")
                assert (await harness.command("reload"))[0] == 0
                await harness.until(lambda it: alerts(it) == [(1, 0), (1, 0)])
                harness.config.write_text(whole.partition("alerts:")[0] + f"alerts:\n{entry}", "utf-8")
                assert (await harness.command("reload"))[0] == 0
                assert (await harness.command("pause", "Account 1"))[0] == 0
                await harness.until(lambda it: sorted(alerts(it)) == [(1, 1), (2, 1)])
            assert len(subjects(mails)) == 1
            assert [each[:1] for each in titles(hooks)] == ["❌", "✅"]


@pytest.mark.slow
async def test_a_channel_that_fails_is_told_by_the_other(harness: EngineHarness) -> None:
    """It is an incident of its own, without the address; when the config has it no more, that is over."""
    async with Sandbox() as dc, mail_server() as mails:
        with web_server() as hooks:
            hooks.status = 500
            harness.at(dc, *PHONES[:2], rest=config(mails.address, hooks.address))
            async with harness.running():
                await harness.until(all_are("healthy", 2))
                await dc.inject(REVOKED)
                await harness.until(lambda it: len(mails.got) == 2)
                assert subjects(mails)[1].startswith("⚠️ alerts do not get through: alerts[1] (json): ")
                code, said = await harness.command("incidents", "--open")
                assert code == 1
                assert "channel: " in said
                whole = harness.config.read_text("utf-8")
                harness.config.write_text("".join(whole.splitlines(keepends=True)[:-1]), "utf-8")
                assert (await harness.command("reload"))[0] == 0
                await harness.until(lambda it: len(mails.got) == 3)
                assert subjects(mails)[2].startswith("✅ Over: alerts did not get through: ")
    everything = harness.text + said + "".join(map(mails.text, range(3)))
    assert "verysecretpath" not in everything


async def test_an_outage_is_told_with_what_was_missed(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three accounts on one way it is one incident; the end counts the updates that came late."""
    monkeypatch.setattr(states.incident_book, "CALM", 0.5)
    async with Sandbox() as dc, mail_server() as mails:
        harness.at(dc, *PHONES, rest=config(mails.address, kinds="[outage]"))
        async with Engine.from_config(harness.config) as engine:
            await _until(lambda: all(each.state == "healthy" for each in engine.status.values()))
            await dc.inject(Fault(FaultKind.REFUSE))
            await dc.inject(Fault(FaultKind.RESET))
            for phone in PHONES:
                await dc.push(phone, "hello", sender="+9996610001")
            await _until(lambda: mails.got)
            await dc.clear()
            await _until(lambda: len(mails.got) == 2)
            assert len(_incidents(harness.directory)) == 1
        assert subjects(mails)[0] == "❌ 3 accounts have no connection"
        assert subjects(mails)[1].startswith("✅ Over: 3 accounts had no connection (it lasted ")
        assert "What was missed: nothing: 3 updates came late" in mails.text(1)


def _incidents(folder: Path) -> list[IncidentKind]:
    with IncidentReader.open(folder / "data" / "engine.db") as reader:
        return [each.kind for each in reader.incidents()]


async def _until(condition: "object") -> None:
    assert callable(condition)
    with anyio.fail_after(TIMEOUT):
        while not condition():
            await anyio.sleep(0.02)
