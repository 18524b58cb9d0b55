"""How the process of a command ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: News, session: one}
work: {modules: [mine.py]}
"""
MODULE = """
import tempfile
from engine import job_kind

file = open("written.txt", "w")
file.write("imported")
temporary = tempfile.NamedTemporaryFile(dir=".", prefix="temporary-")


@job_kind("note")
async def note(job, client):
    pass
"""


def holdfast(directory: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Write the config and its module, and run a command in a process of its own."""
    (directory / "config.yaml").write_text(CONFIG)
    (directory / "mine.py").write_text(MODULE)
    command = "import sys; sys.path.insert(0, sys.argv.pop()); from engine.__main__ import holdfast; holdfast()"
    return subprocess.run(
        [sys.executable, "-c", command, *words, str(ROOT)],
        cwd=directory, capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip


def has_tidied(directory: Path) -> bool:
    """Return whether what the module wrote is there, and its temporary file is not."""
    return (directory / "written.txt").read_text() == "imported" and not list(directory.glob("temporary-*"))


def test_files_of_the_users_modules_are_written_and_removed_at_the_end_of_jobs_add(tmp_path: Path) -> None:
    """What a module has written into an open file is there after the command, and its temporary files are not."""
    done = holdfast(tmp_path, "jobs", "add", "note")
    assert (done.returncode, done.stdout, done.stderr) == (0, "job 1\n", "")
    assert has_tidied(tmp_path)


@pytest.mark.slow
def test_files_of_the_users_modules_are_written_and_removed_at_the_end_of_a_run(tmp_path: Path) -> None:
    """A run ends so, too, though it keeps the collector away from all that was imported."""
    done = holdfast(tmp_path, "run", "--for", "100ms")
    assert done.returncode == 0, done.stderr
    assert has_tidied(tmp_path)
