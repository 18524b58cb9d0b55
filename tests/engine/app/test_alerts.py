"""Alerts from the incident's transaction to a real mail server, a real webhook and a real command."""

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
from attrs import evolve

from adapters.sqlite import GroupWriter, open_database
from adapters.sqlite.outbox import Outbox
from adapters.sqlite.schema import migrate
from adapters.system import SystemClock
from engine.app.alerts import Alerts, Rows, outlets
from engine.config import Config, load
from states.alerts import About
from tests.adapters.alerts.servers import mail_server, web_server
from tests.engine.alerts.changes import acked, closed, joined, opened
from tests.engine.config.texts import HEAD, ONE
from tests.timeouts import TIMEOUT

Troubles = list[tuple[str, str, str | None]]


def config_of(folder: Path, alerts: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(f"{HEAD}{ONE}alerts:\n{alerts}", "utf-8")
    return load(path)


def incident(number: int = 1, kind: str = "needs_person") -> About:
    now = SystemClock().now()
    severity = "critical" if kind == "needs_person" else "warning"
    return About(
        id=number, kind=kind, since=now - 300, opened=now, severity=severity, accounts=("A",), accounts_total=1,
        action="log in again",
    )  # fmt: skip


@asynccontextmanager
async def running(config: Config, troubles: Troubles, open_ones: list[About]) -> AsyncIterator[Alerts]:
    path = config.path.parent / "engine.db"
    connection = open_database(path)
    migrate(connection, path)
    writer = GroupWriter(path=str(path), connection=connection, on_trouble=lambda failure, waiting: None)
    try:
        alerts = Alerts.of(
            config, Outbox(path, writer), SystemClock(), lambda name, label, why: troubles.append((name, label, why))
        )
        assert await alerts.restore(open_ones) == 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alerts.run)
            yield alerts
            tasks.cancel_scope.cancel()
    finally:
        await writer.aclose(10)


async def stored(alerts: Alerts, rows: Rows) -> None:
    """Store rows as the transaction of their incident does."""
    assert isinstance(alerts.outbox, Outbox)
    await alerts.outbox.writer.write_together(rows)


async def until(condition: "object") -> None:
    assert callable(condition)
    with anyio.fail_after(TIMEOUT):
        while not condition():
            await anyio.sleep(0.02)


async def test_an_incident_reaches_mail_webhook_and_command_once_each(tmp_path: Path) -> None:
    """With its end; and nothing of it is sent again after a restart."""
    program = tmp_path / "keep.sh"
    program.write_text(f"#!/bin/sh\ncat >> {tmp_path}/got\necho >> {tmp_path}/got\n")
    program.chmod(0o755)
    async with mail_server() as mails:
        with web_server() as hooks:
            config = config_of(tmp_path, f'  - to: ["{mails.address}", "{hooks.address}"]\n  - exec: ./keep.sh\n')

            def all_have(count: int) -> bool:
                got = tmp_path / "got"
                lines = got.read_text().count("\n") if got.exists() else 0
                return len(mails.got) == len(hooks.got) == lines == count

            told, troubles = incident(), Troubles()
            async with running(config, troubles, []) as alerts:
                await stored(alerts, alerts.rows_of([opened(told)]))
                await until(lambda: all_have(1))
            async with running(config, troubles, [told]) as alerts:
                await anyio.sleep(0.2)
                assert all_have(1)
                ended = evolve(told, closed=SystemClock().now())
                await stored(alerts, alerts.rows_of([joined(told), closed(ended)]))
                await until(lambda: all_have(2))
            assert [why for _, _, why in troubles if why] == []
            assert mails.got[0]["Subject"] == "❌ A needs you: log in again"
            assert "What was missed" in mails.text()
            commands = [json.loads(line) for line in (tmp_path / "got").read_text().splitlines()]
            assert [each["incidents"][0]["message"] for each in commands] == ["opened", "closed"]
        with closing(sqlite3.connect(tmp_path / "engine.db")) as db:
            rows = db.execute("SELECT messages, over FROM alerts").fetchall()
            assert rows == [(2, 1)] * 3


async def test_a_channel_that_fails_is_reported_without_its_address(tmp_path: Path) -> None:
    """By what identifies it and by its place in the config; the other channel has its message."""
    async with mail_server() as mails:
        with web_server() as hooks:
            hooks.status = 500
            config = config_of(tmp_path, f'  - to: "{hooks.address}"\n  - to: "{mails.address}"\n')
            troubles = Troubles()
            async with running(config, troubles, []) as alerts:
                await stored(alerts, alerts.rows_of([opened(incident())]))
                await until(lambda: mails.got and any(why for _, _, why in troubles))
                name, label, why = next(each for each in troubles if each[2])
                assert re.fullmatch(r"json-[0-9a-f]{8}", name)
                assert label == "alerts[0] (json)"
                assert why is not None
                assert "500" in why
                assert "verysecretpath" not in f"{troubles}"
                broken = evolve(incident(2, "channel"), cause=name, detail=f"{label}: {why}")
                await stored(alerts, alerts.rows_of([opened(broken)]))
                await until(lambda: len(mails.got) == 2)
                assert "alerts[0] (json)" in mails.got[1]["Subject"]
        with closing(sqlite3.connect(tmp_path / "engine.db")) as db:
            assert "verysecretpath" not in "\n".join(db.iterdump())


async def test_rows_of_changes_may_be_made_twice(tmp_path: Path) -> None:
    """A transaction that was cancelled is made again: nothing is told twice, or begins anew."""
    config = config_of(tmp_path, "  - exec: 'true'\n")
    async with running(config, [], []) as alerts:
        told = incident()
        first = alerts.rows_of([opened(told)])
        assert [row[:4] for _, row in alerts.rows_of([opened(told)])] == [row[:4] for _, row in first]
        known = evolve(told, acked=SystemClock().now())
        assert len(alerts.rows_of([acked(known), joined(known)])) == 1
        ((_, row),) = alerts.rows_of([closed(evolve(known, closed=known.opened), into=2)])
        assert (row[2], row[7]) == (None, 1)
        assert alerts.rows_of([closed(known, into=2)]) == []


def test_each_address_is_a_channel_with_a_name(tmp_path: Path) -> None:
    """One that fails holds up no other of its entry."""
    config = config_of(tmp_path, '  - to: ["ntfy://a", "ntfy://b"]\n  - {exec: sh, after: 1m}\n')
    assert [each.label for each in outlets(config).values()] == [
        "alerts[0].to[0] (ntfy)", "alerts[0].to[1] (ntfy)", "alerts[1] (exec)",
    ]  # fmt: skip
    assert [each.rule.after for each in outlets(config).values()] == [120, 120, 60]
