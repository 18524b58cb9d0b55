"""Four bytes in clear text, −404, disable no account: anybody on the path to the datacenter can send them."""

import json
import signal
from pathlib import Path

import anyio
import pytest
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession

from adapters.sandbox import Fault, FaultKind, Sandbox
from tests.engine.harness import COMPLAINTS, FAST, EngineHarness, all_are
from tests.engine.test_control import told
from tests.timeouts import TIMEOUT

PHONES = tuple(f"+999662000{number}" for number in range(1, 5))
QUICK = FAST.replace("fleet:", "    auth_key: {first: 50ms, factor: 1.5, cap: 400ms, tries: 4}\nfleet:")
"""An unknown key is tried again after 50 ms at first, and not after 5 s."""


@pytest.fixture
def harness(tmp_path: Path) -> EngineHarness:
    """Return the directory of an engine."""
    return EngineHarness(tmp_path)


async def advice(harness: EngineHarness) -> set[tuple[str, str | None]]:
    """Return state and action of all accounts, as ``status --json`` has them."""
    _, printed = await told(harness, "status", "--json")
    return {(row["state"], row["action"]) for row in json.loads(printed)["accounts"]}


def refusals(harness: EngineHarness) -> dict[str, int]:
    """Return how many unknown keys each account was told about; while all are, one at a time tries."""
    told_of = [entry.account for entry in harness.entries() if entry.event == "AuthKeyUnknown"]
    return {name: told_of.count(name) for name in told_of}


@pytest.mark.slow
async def test_a_stranger_on_the_path_disables_no_fleet(harness: EngineHarness) -> None:
    """Every connection of every account meets −404, again and again: one incident, and afterwards nobody need act."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES, rest=QUICK)
        async with harness.running(dev=True) as engine:
            await harness.until(all_are("healthy", len(PHONES)))
            await dc.inject(Fault(FaultKind.TRANSPORT_ERROR, code=-404))
            await harness.until(lambda at: len(refusals(at)) == 4 and sum(refusals(at).values()) >= 8)
            assert "auth_failed" not in harness.states()
            await dc.clear()
            await harness.until(all_are("healthy", len(PHONES)))
            assert await advice(harness) == {("healthy", None)}
            assert await harness.finish(engine, signal.SIGINT) == 0
    assert [entry for entry in harness.entries() if entry.target == "auth_failed"] == []
    assert harness.text.count("lost the network together") == 1, harness.text
    assert not COMPLAINTS.search(harness.text), harness.text


@pytest.mark.slow
async def test_a_key_that_is_gone_says_what_to_do_and_a_new_login_is_used_at_once(harness: EngineHarness) -> None:
    """The account keeps trying and says to log in; the file is free for that, and the new key is tried at once."""
    slow = QUICK.replace("factor: 1.5, cap: 400ms, tries: 4", "factor: 30, cap: 10m, tries: 3")  # 50 ms, 1.5 s, 45 s
    async with Sandbox() as dc:
        harness.at(dc, PHONES[0], rest=slow)
        for key in [one.key for one in dc._hub.store._keys.values()]:
            dc._hub.store.remove_key(key)
        async with harness.running(dev=True) as engine:
            await harness.until(lambda at: sum(refusals(at).values()) == 3)
            with anyio.fail_after(TIMEOUT):
                while await advice(harness) != {("backoff", "log_in")}:
                    await anyio.sleep(0.05)
            session = SQLiteSession(str(harness.directory / "account1.session"))
            session.auth_key = AuthKey(dc.authorize(PHONES[0]))
            session.save()
            session.close()
            await harness.until(all_are("healthy", 1))
            assert await harness.finish(engine, signal.SIGINT) == 0
    assert "What to do: log in again" in harness.text
