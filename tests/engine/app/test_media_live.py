"""Transfers in a running engine: moves, kills, progress, and what other requests feel of them."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from telethon.tl import functions

from adapters.sandbox import Fault, FaultKind, Sandbox, SandboxFile
from adapters.sandbox.store.files import generated
from adapters.sqlite.jobs import NewJob, add
from adapters.telegram import download_job
from engine import Engine
from engine.console.job_lines import progress_text
from states.jobs import JobState
from tests.engine.app.test_jobs_live import PHONES, QUICK, over, until
from tests.engine.harness import EngineHarness

CHANNEL = "files_live"
SIZE = 1_500_000
CONTENT = generated(7, 0, SIZE)
FILE = SandboxFile(size=SIZE, name="film.mp4", seed=7)
SLOW = {"kind": FaultKind.SLOW, "seconds": 0.6}
"""So slow that a transfer has about two parts on their way, and a checkpoint before it is over."""


async def with_channel(dc: Sandbox) -> int:
    """Make the channel, with a file in a message; return the message's number."""
    await dc.create_channel(CHANNEL, "Files", members=PHONES, admins=PHONES)
    return await dc.send_file(f"@{CHANNEL}", FILE)


def checkpoints(harness: EngineHarness) -> dict[str, dict[str, Any]]:
    """Return the checkpoint of each job in the file, by its kind."""
    with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
        found = db.execute("SELECT kind, checkpoint FROM jobs").fetchall()
    return {kind: json.loads(text) for kind, text in found if text}


async def test_a_download_goes_on_with_another_account(
    harness: EngineHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its account falls silent in the middle; the other one fetches the message anew, and only the rest of the file."""
    monkeypatch.setattr(download_job, "CHECKPOINT_SECONDS", 0.0)
    async with Sandbox() as dc:
        number = await with_channel(dc)
        harness.at(dc, *PHONES, rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            for name in ("Account 1", "Account 2"):
                await engine.account(name).ready()
            await dc.inject(Fault(request="upload.getFile", **SLOW))
            data = {"chat": f"@{CHANNEL}", "message": number, "into": str(tmp_path / "media")}
            job = await engine.add_job("download", data)
            await until(
                lambda: 0 < (checkpoints(harness).get("download", {}).get("part") or {}).get("offset", 0) < SIZE
            )
            running = await engine.jobs.store.job(job)
            assert running is not None
            assert running.worker is not None
            offset = checkpoints(harness)["download"]["part"]["offset"]
            await dc.clear()
            await dc.inject(Fault(FaultKind.BLACKHOLE, PHONES[int(running.worker[-1]) - 1], duration=5.0))
            done = await over(engine, job)
        assert (done.state, done.attempts) == (JobState.DONE, 0)
        assert done.worker != running.worker
        assert offset > 0
    assert (tmp_path / "media" / f"{number}-film.mp4").read_bytes() == CONTENT
    assert [each.name for each in (tmp_path / "media").iterdir()] == [f"{number}-film.mp4"]


@pytest.mark.slow
async def test_a_kill_costs_neither_bytes_nor_messages(harness: EngineHarness, tmp_path: Path) -> None:
    """After ``kill -9`` in the middle of both, the download asks only for the rest, and the upload is there once."""
    async with Sandbox() as dc:
        number = await with_channel(dc)
        harness.at(dc, PHONES[0], rest=QUICK)
        (tmp_path / "mine.bin").write_bytes(generated(8, 0, SIZE))
        jobs = {
            "download": {"chat": f"@{CHANNEL}", "message": number, "into": str(tmp_path / "media")},
            "upload": {"chat": f"@{CHANNEL}", "path": str(tmp_path / "mine.bin"), "caption": "once"},
        }
        async with Engine.from_config(harness.config):
            pass  # it makes its file
        add(harness.directory / "data" / "engine.db", [NewJob(kind=kind, data=data) for kind, data in jobs.items()])
        await dc.inject(Fault(request="upload.*", **SLOW))
        async with harness.running() as process:
            await harness.until(_both_half_way)
            assert await harness.finish(process, signal.SIGKILL) == -signal.SIGKILL
        await dc.clear()
        stored, before = checkpoints(harness), dc.stats()["requests"]
        async with harness.running() as process:
            await harness.until(lambda seen: _states(seen) == ["done", "done"])
            assert await harness.finish(process, signal.SIGINT) == 0
        asked = dc.stats()["requests"]
        kib = 32 * 1024
        rest = SIZE - stored["download"]["part"]["offset"]
        assert asked["upload.getFile"] - before["upload.getFile"] <= rest // kib + 1
        assert asked["upload.saveFilePart"] - before["upload.saveFilePart"] == 12 - stored["upload"]["parts"]
        sent = [message for message in dc.channel_messages(CHANNEL) if message.text == "once"]
        file = dc.file_of(f"@{CHANNEL}", sent[0].id)
        assert file is not None
        assert (len(sent), file.name, dc.content_of(file)) == (1, "mine.bin", generated(8, 0, SIZE))
    assert (tmp_path / "media" / f"{number}-film.mp4").read_bytes() == CONTENT
    assert [each.name for each in (tmp_path / "media").iterdir()] == [f"{number}-film.mp4"]


def _both_half_way(harness: EngineHarness) -> bool:
    stored = checkpoints(harness)
    part = stored.get("download", {}).get("part") or {}
    return bool(0 < part.get("offset", 0) < SIZE and 0 < stored.get("upload", {}).get("parts", 0) < 12)


def _states(harness: EngineHarness) -> list[str]:
    with closing(sqlite3.connect(harness.directory / "data" / "engine.db")) as db:
        return [state for (state,) in db.execute("SELECT state FROM jobs ORDER BY id")]


async def test_other_requests_have_their_turn_and_the_progress_is_in_bytes(
    harness: EngineHarness, tmp_path: Path
) -> None:
    """While parts take long, the account answers everything else, and the job says how far it is, and how fast."""
    async with Sandbox() as dc:
        number = await with_channel(dc)
        harness.at(dc, PHONES[0], rest=QUICK)
        async with Engine.from_config(harness.config) as engine:
            client = await engine.account("Account 1").ready()
            await dc.inject(Fault(request="upload.getFile", **SLOW))
            data = {"chat": f"@{CHANNEL}", "message": number, "into": str(tmp_path / "media")}
            job = await engine.add_job("download", data)
            await until(lambda: bool(engine.jobs.summary.running and engine.jobs.summary.running[0].done))
            for _ in range(20):
                await client(functions.updates.GetStateRequest())
            said = progress_text(engine.jobs.summary.running[0])
            assert (await engine.jobs.store.job(job)).state is not JobState.DONE  # type: ignore[union-attr]
            await dc.clear()
            assert (await over(engine, job)).state is JobState.DONE
            assert engine.account("Account 1").snapshot.reconnects == 0
    assert " of 1.5 MB (" in said
    assert "MB/s, " in said
