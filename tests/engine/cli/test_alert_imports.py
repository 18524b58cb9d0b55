"""Apprise takes most of a second to load: only what sends alerts, or checks their addresses, does that."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
accounts:
  - {name: A, session: a}
alerts:
  - {to: "json://localhost/path"}
  - {exec: "true"}
"""
PROGRAM = """
import atexit, sys
atexit.register(lambda: print("LOADED" if {"apprise", "requests"} & set(sys.modules) else "FREE", file=sys.stderr))
"""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import engine; engine.Engine", "FREE"),
        ("import engine.app.alerts, engine.alerts.delivery", "FREE"),
        ("from engine.__main__ import holdfast; sys.argv[1:] = ['status', CONFIG, '--json']; holdfast()", "FREE"),
        ("from engine.__main__ import holdfast; sys.argv[1:] = ['log', CONFIG, '--json']; holdfast()", "FREE"),
        ("from pathlib import Path; from engine.config import load; load(Path(CONFIG))", "LOADED"),
        ("from pathlib import Path; from engine.config import load; load(Path('config.yaml'))", "FREE"),
    ],
)
def test_apprise_is_loaded_for_addresses_alone(tmp_path: Path, program: str, said: str) -> None:
    """Neither the package nor a command that only reads loads it, nor a config without alerts."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG, "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", f"{PROGRAM}\nCONFIG = {str(path)!r}\n{program}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == said
