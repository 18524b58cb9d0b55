"""``account.ready()``: it waits only where waiting helps, and otherwise says why and what to do."""

import time

import anyio
import pytest

from adapters.sandbox import Sandbox, services
from adapters.sandbox.errors import RpcRefusal
from engine import Action, Engine, NotReady, State
from tests.engine.harness import EngineHarness
from tests.timeouts import TIMEOUT

PHONE = "+9996620001"


async def refused(engine: Engine) -> NotReady:
    """Return what ``ready`` raises; it must not hang."""
    with anyio.fail_after(TIMEOUT), pytest.raises(NotReady) as refusal:
        await engine.account("Account 1").ready()
    return refusal.value


async def test_an_engine_that_does_not_run_has_no_client(harness: EngineHarness) -> None:
    """Before ``async with`` and after its end the sentence says so."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        engine = Engine.from_config(harness.config)
        assert "is not started; use it inside 'async with engine'" in str(await refused(engine))
        async with engine:
            with anyio.fail_after(TIMEOUT):
                await engine.account("Account 1").ready()
        assert "the engine stops, or has ended" in str(await refused(engine))


async def test_unusable_credentials_are_said_with_cause_and_action(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In ``auth_failed`` nobody waits: a login is needed."""

    def perform(*_: object) -> object:
        raise RpcRefusal(401, "SESSION_REVOKED")

    monkeypatch.setattr(services, "perform", perform)
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        async with Engine.from_config(harness.config) as engine:
            refusal = await refused(engine)
            assert engine.account("Account 1").state == State.AUTH_FAILED
    assert refusal.action is Action.LOG_IN
    assert (refusal.cause or "").startswith("AuthRejected: ")
    assert "log in again" in str(refusal)


async def test_a_paused_account_is_said_to_be_paused(harness: EngineHarness) -> None:
    """A task that waits while the account is paused is told too; after a resume there is a client."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        async with Engine.from_config(harness.config) as engine, anyio.create_task_group() as tasks:
            account = engine.account("Account 1")
            with anyio.fail_after(TIMEOUT):
                await account.ready()
                assert (await harness.command("pause", "config.yaml", "Account 1"))[0] == 0
            assert "is paused; resume it" in str(await refused(engine))
            tasks.start_soon(harness.command, "resume", "config.yaml", "Account 1")
            assert await account.ready(timeout=TIMEOUT) is not None


async def test_a_timeout_bounds_the_wait(harness: EngineHarness) -> None:
    """With ``timeout`` the call waits, whatever the state is, and says at the end what it is."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
    engine = Engine.from_config(harness.config)
    began = time.monotonic()
    with pytest.raises(NotReady, match="not started"):
        await engine.account("Account 1").ready(timeout=0.1)
    assert time.monotonic() - began >= 0.1
    async with engine:
        with pytest.raises(NotReady, match=r"still, after 0\.1 s"):
            await engine.account("Account 1").ready(timeout=0.1)
    with pytest.raises(ValueError, match="timeout is a number of seconds"):
        await engine.account("Account 1").ready(timeout=float("nan"))
    with pytest.raises(ValueError, match="timeout is a number of seconds from 0, not '5s'"):
        await engine.account("Account 1").ready(timeout="5s")  # type: ignore[arg-type]  # as untyped code may call it
