"""A program that ends without giving up its sessions and logins ends in silence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.timeouts import TIMEOUT

CLAIMS = """
import sys
from pathlib import Path
from adapters.session import login_claim
kept = login_claim.LoginClaim("A", Path("/srv/a.session"))
kept.take(sys.argv[1])
login_claim.hook = lambda: kept
"""
LOCKS = """
import sys
from pathlib import Path
from adapters.session import owner
kept = owner.OwnerLock(Path(sys.argv[1]))
kept.acquire()
owner.hook = lambda: kept
"""


@pytest.mark.parametrize("code", [CLAIMS, LOCKS])
def test_what_is_held_until_the_end_makes_no_noise(tmp_path: Path, code: str) -> None:
    """Also where Python forgets the modules before what they made: those that hold something of the program."""
    held = tmp_path / "a.session"
    held.write_bytes(b"")
    ended = subprocess.run(
        [sys.executable, "-c", code, str(held)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        check=False,
        text=True,
        timeout=TIMEOUT,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
