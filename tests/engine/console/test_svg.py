"""``status --svg``: the page as a picture."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import anyio

from adapters.sandbox import Sandbox
from tests.engine.harness import EngineHarness


async def test_the_status_page_is_written_as_a_picture(tmp_path: Path) -> None:
    """The file is valid SVG, names the account, and loads nothing; stdout stays empty and the exit code is as ever."""
    harness = EngineHarness(tmp_path)
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001")
    file = tmp_path / "status.svg"
    command = [sys.executable, "-m", "engine", "status", str(harness.config), "--svg", str(file)]
    done = await anyio.run_process(command, check=False, env=harness.environment, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"")
    text = file.read_text("utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "Account&#160;1" in text
    assert not re.search(r"url\(.?http", text)
