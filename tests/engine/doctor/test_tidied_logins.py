"""``doctor`` beside an engine whose locks in /tmp were tidied away."""

import shutil
import sys
from typing import Any

import pytest

from adapters.session.inspect import inspect
from adapters.session.login_claim import LoginClaim, runtime_directory
from adapters.session.owner import OwnerLock
from tests.engine.doctor.support import doctor, wrong
from tests.engine.harness import EngineHarness


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names beside the locks")
def test_the_engine_s_own_login_is_no_other_program_s(harness: EngineHarness, capsys: Any) -> None:
    """Only the process is known then, and it is the one that has the file; the other account's copy is in use."""
    session = harness.directory / "account1.session"
    lock, claim = OwnerLock(session), LoginClaim("Account 1", session)
    lock.acquire()
    claim.take(inspect(session).login)
    shutil.rmtree(runtime_directory())
    try:
        _, findings = doctor(harness, capsys)
    finally:
        claim.release()
        lock.release()
    assert not [text for text in wrong(findings, "Account 1") if "its login is in use" in text]
