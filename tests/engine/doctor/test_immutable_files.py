"""A file that its owner may not write although its mode says so: ``run`` refuses it, ``doctor`` says where to look."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite import JournalWriter
from adapters.sqlite.errors import DatabaseUnusable
from tests.adapters.sqlite.support import a_journal
from tests.engine.doctor.support import doctor
from tests.engine.harness import EngineHarness


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Keep everybody from writing a file; skip the test where this user, or this file system, cannot."""
    if subprocess.run(["chattr", "+i", path], check=False, capture_output=True).returncode:
        pytest.skip("this user or file system has no immutable files")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


async def test_an_engine_does_not_begin_on_a_journal_that_it_cannot_write(tmp_path: Path) -> None:
    """Rows that could never be saved would be lost at the stop; the sentence says what to do."""
    path = tmp_path / "engine.db"
    async with a_journal(path):
        pass
    with immutable(path), pytest.raises(DatabaseUnusable, match="read-only; make the file and its directory writable"):
        await JournalWriter.open(path, on_trouble=lambda *_: None)


def test_doctor_does_not_advise_a_mode_that_the_file_has(harness: EngineHarness, capsys: Any) -> None:
    """The command that is printed shows what keeps the owner from writing, and is no chmod that changes nothing."""
    session = harness.directory / "account1.session"
    with immutable(session):
        _, findings = doctor(harness, capsys)
    (found,) = [one for one in findings if "cannot be read and written" in one["text"]]
    assert found["mend"] == f"lsattr -d {session}; findmnt -T {session}"
