"""A whole engine whose config has one login twice: one account works, the other says why it does not."""

import json
import shutil
import subprocess
import sys

import anyio
import anyio.to_thread
import pytest

from adapters.sandbox import Sandbox
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT


@pytest.mark.slow
async def test_a_copy_of_a_session_waits_in_auth_failed_with_the_others_name(harness: EngineHarness) -> None:
    """Status names the other account and the action; the datacenter destroys nothing; doctor says the same."""
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001", "+9996620002")
        shutil.copyfile(harness.directory / "account1.session", harness.directory / "account2.session")

        def ask(*command: str) -> str:
            return subprocess.run(
                [sys.executable, "-m", "engine", *command],
                cwd=harness.directory,
                env=harness.environment,
                capture_output=True,
                check=False,
                text=True,
            ).stdout

        async with harness.running() as process:
            with anyio.fail_after(4 * TIMEOUT):
                while True:
                    told = await anyio.to_thread.run_sync(ask, "status", str(harness.config), "--json")
                    accounts = {one["name"]: one for one in json.loads(told)["accounts"]}
                    if sorted(one["state"] for one in accounts.values()) == ["auth_failed", "healthy"]:
                        break
                    await anyio.sleep(0.1)
            (refused,) = [one for one in accounts.values() if one["state"] == "auth_failed"]
            (healthy,) = [one for one in accounts.values() if one["state"] == "healthy"]
            assert f"{healthy['name']} (" in json.dumps(refused)
            assert "uses the same login" in json.dumps(refused)
            found = await anyio.to_thread.run_sync(ask, "doctor", str(harness.config), "--json")
            assert "same login" in found
            process.terminate()
            with anyio.fail_after(2 * TIMEOUT):
                assert await process.wait() == 0
        assert dc.stats()["logins_destroyed"] == 0
