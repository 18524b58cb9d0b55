"""The place that the tests of ``doctor`` and of backups look at."""

from pathlib import Path

import pytest
import rsa

from tests.adapters.session.support import telethons
from tests.engine.doctor.support import wal
from tests.engine.harness import EngineHarness


@pytest.fixture
def harness(tmp_path: Path) -> EngineHarness:
    """Return a config of two accounts, at a datacenter that does not run, with private session files."""
    (tmp_path / "dc.pem").write_bytes(rsa.newkeys(512)[0].save_pkcs1())
    harness = EngineHarness(tmp_path)
    accounts = "  - {name: Account 1, session: account1}\n  - {name: Account 2, session: account2}"
    harness.write("{id: 2, host: 127.0.0.1, port: 9, public_key: dc.pem}", accounts)
    tmp_path.chmod(0o700)
    for number in (1, 2):
        path = telethons(tmp_path / f"account{number}.session")
        path.chmod(0o600)
        wal(path)
    return harness
