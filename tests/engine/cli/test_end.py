"""How the process of a command ends."""

import subprocess
import sys
from pathlib import Path

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


def test_files_of_the_users_modules_are_written_and_removed_at_the_end_of_jobs_add(tmp_path: Path) -> None:
    """What a module has written into an open file is there after the command, and its temporary files are not."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "mine.py").write_text(MODULE)
    command = "import sys; sys.path.insert(0, sys.argv.pop()); from engine.__main__ import holdfast; holdfast()"
    done = subprocess.run(
        [sys.executable, "-c", command, "jobs", "add", "note", str(ROOT)],
        cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "job 1\n", "")
    assert (tmp_path / "written.txt").read_text() == "imported"
    assert list(tmp_path.glob("temporary-*")) == []
