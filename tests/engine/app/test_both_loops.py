"""What the engine does on uvloop and with cryptg it does without them: they are there wherever there are wheels."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
storage: {directory: data}
accounts: [{name: One, session: one, phone: "+9996620001"}]
work: {modules: [children.py]}
sandbox: {jobs: [{kind: children, data: {}}]}
"""
WORK = """
import asyncio, json, multiprocessing, os, subprocess, sys, time
from pathlib import Path
import engine

def nothing():
    pass

@engine.job_kind("children")
async def children(job, client):
    found = {"loop": type(asyncio.get_running_loop()).__module__.partition(".")[0]}
    found["cipher"] = "cryptg" if sys.modules.get("cryptg") else "another"
    scripts = [f"raise SystemExit({code})" for code in range(3)]
    several = [await asyncio.create_subprocess_exec(sys.executable, "-c", script) for script in scripts]
    found["watched"] = [await child.wait() for child in several]
    found["of a thread"] = (await asyncio.to_thread(subprocess.run, ["false"])).returncode
    pid = os.fork()
    if pid == 0:
        os._exit(5)
    found["forked"] = os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1])
    process = multiprocessing.get_context("spawn").Process(target=nothing)
    process.start()
    await asyncio.to_thread(process.join)
    found["spawned"] = process.exitcode
    found["me"] = (await client.get_me()).phone
    draft = Path("found.json.tmp")
    draft.write_text(json.dumps(found))
    draft.rename("found.json")
"""
PROGRAM = """
import sys
sys.modules.update(dict.fromkeys(sys.argv.pop(1).split()))  # None is a module that cannot be imported
from engine.__main__ import holdfast
holdfast()
"""


@pytest.mark.slow
@pytest.mark.parametrize("without", ["", "uvloop", "cryptg", "uvloop cryptg"])
def test_children_and_signals_are_the_same_on_both_loops(tmp_path: Path, without: str) -> None:
    """A job's children of every kind are waited for and report their own codes, and SIGTERM is an orderly end."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "children.py").write_text(WORK)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, without, "run", "config.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + TIMEOUT
        while not (tmp_path / "found.json").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 0, said
    assert "✅ Stopped" in said
    assert json.loads((tmp_path / "found.json").read_text()) == {
        "loop": "asyncio" if "uvloop" in without else "uvloop",
        "cipher": "another" if "cryptg" in without else "cryptg",
        "watched": [0, 1, 2],
        "of a thread": 1,
        "forked": 5,
        "spawned": 0,
        "me": "9996620001",
    }, said
