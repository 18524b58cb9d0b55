"""Reloads at bad moments, of bad files and of bad code: a sentence tells, and nobody's connection is cut."""

import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from types import ModuleType
from typing import Any

import anyio
import pytest

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.session import HoldfastSession
from adapters.session.owner import owner_of
from engine import Engine
from engine.app import reload as reload_module
from engine.app.reload import ReloadRefused
from engine.control.protocol import RefusalReason
from tests.engine.app.test_reload import CALM, add, change
from tests.engine.harness import FAST, EngineHarness
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002", "+9996620003")
BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
ACCOUNT_1 = r"^  - \{name: Account 1,.*\n"


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something is so."""
    with anyio.fail_after(TIMEOUT):
        while not holds():
            await anyio.sleep(0.01)


def healthy(engine: Engine) -> set[str]:
    """Return the accounts that are healthy."""
    return {name for name, at in engine.status.items() if at.healthy}


async def all_healthy(engine: Engine, count: int) -> None:
    """Wait until so many accounts, which are all, are healthy."""
    await until(lambda: len(healthy(engine)) == count == len(engine.status))


@asynccontextmanager
async def running(harness: EngineHarness, dc: Sandbox, count: int = 2, rest: str = CALM) -> AsyncIterator[Engine]:
    """Run an engine with so many healthy accounts."""
    harness.at(dc, *PHONES[:count], rest=rest)
    async with Engine.from_config(harness.config) as engine:
        await all_healthy(engine, count)
        yield engine


async def reload(engine: Engine, *, dry_run: bool = False) -> dict[str, Any]:
    """Reload as the command does; return the answer."""
    assert engine.control is not None
    with anyio.fail_after(TIMEOUT):
        return await engine.control.reload(str(engine.config.path), dry_run=dry_run)


async def refusal(engine: Engine) -> str:
    """Return why a reload is refused, which a dry run says in the same words."""
    tried, answer = await reload(engine, dry_run=True), await reload(engine)
    assert not answer["ok"], answer
    assert tried == answer
    return str(answer["error"])


async def test_a_file_that_cannot_be_used_changes_nothing(harness: EngineHarness) -> None:
    """Whatever the file has become, the answer names it and the mistake; mended, it is read."""
    async with Sandbox() as dc, running(harness, dc) as engine:
        good = harness.config.read_bytes()

        def write(content: bytes) -> Callable[[], object]:
            return lambda: harness.config.write_bytes(content)

        link = partial(harness.config.symlink_to, "config.yaml")
        cases: list[tuple[tuple[Callable[[], object], ...], str]] = [
            ((harness.config.unlink,), "there is no such file"),
            ((harness.config.mkdir,), "this is a directory"),
            ((harness.config.rmdir, link), "Too many levels"),
            ((harness.config.unlink, write(b"")), "the file is empty"),
            ((write(good[: good.index(b"accounts:") + 30]),), "config.yaml:"),
            ((write(good + b"\xff\xfe"),), "not UTF-8"),
            ((write(good + BOMB.encode()),), "more than 100,000 values"),
            ((write(good + b"#" * 1_100_000),), "larger than"),
            ((write(good.replace(b"accounts:\n", b"accounts: []\nx:\n")),), "at least one entry"),
            ((write(good.replace(b"account2", b"account1")),), "use the same file"),
        ]
        for steps, said in cases:
            for spoil in steps:
                spoil()
            sentence = await refusal(engine)
            assert said in sentence, (said, sentence)
            assert "config.yaml" in sentence
        harness.config.write_bytes(good)
        assert (await reload(engine))["lines"] == ["Nothing has changed"]
        assert len(healthy(engine)) == dc.stats()["accepted"] == 2


async def test_many_reloads_at_once_are_one_after_another(harness: EngineHarness) -> None:
    """Ten signals, three commands and two dry runs while an account comes: it comes once, and no other reconnects."""
    async with Sandbox() as dc, running(harness, dc) as engine:
        change(harness, ACCOUNT_1, add(harness, dc, 3, PHONES[2]))
        answers: list[dict[str, Any]] = []

        async def ask(dry_run: bool) -> None:
            answers.append(await reload(engine, dry_run=dry_run))

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                engine.reload_soon()
                if number % 2:
                    tasks.start_soon(ask, number == 3)
        assert [answer["ok"] for answer in answers] == [True] * 5
        await all_healthy(engine, 2)
        assert healthy(engine) == {"Account 2", "Account 3"}
        assert dc.stats()["accepted"] == 3


async def test_two_accounts_swap_their_names_while_a_third_goes_on(harness: EngineHarness) -> None:
    """Both reconnect with their own login under the other's name; the third hears of nothing."""
    async with Sandbox() as dc, running(harness, dc, 3) as engine:
        logins = {name: await engine.fleet.runners[name].connector.credentials() for name in engine.status}
        text = harness.config.read_text()
        swapped = text.replace("name: Account 1,", "name: X,").replace("name: Account 2,", "name: Account 1,")
        harness.config.write_text(swapped.replace("name: X,", "name: Account 2,"))
        answer = await reload(engine)
        assert {each["former"]: each["name"] for each in answer["difference"]["renamed"]} == {
            "Account 1": "Account 2", "Account 2": "Account 1"
        }  # fmt: skip
        await all_healthy(engine, 3)
        now = {name: await engine.fleet.runners[name].connector.credentials() for name in engine.status}
        assert now == {
            "Account 1": logins["Account 2"], "Account 2": logins["Account 1"], "Account 3": logins["Account 3"]
        }  # fmt: skip
        assert dc.stats()["accepted"] == 5
        assert dc.stats()["logins_destroyed"] == 0


async def test_an_account_that_is_renamed_moved_and_given_another_way_is_still_the_same(
    harness: EngineHarness,
) -> None:
    """It is found by its login, goes on in one new connection, and one line says all of it."""
    async with Sandbox() as dc, running(harness, dc) as engine:
        (harness.directory / "moved.session").write_bytes((harness.directory / "account1.session").read_bytes())
        change(harness, "name: Account 1, session: account1,", "name: News, session: moved, proxy: [direct, direct],")
        answer = await reload(engine)
        assert answer["ok"], answer
        line = answer["lines"][0]
        assert line.startswith("Account 1 is called News now (session: "), line
        assert line.endswith("); it reconnects with the same login")
        await all_healthy(engine, 2)
        assert healthy(engine) == {"News", "Account 2"}
        assert dc.stats()["accepted"] == 3


async def test_code_that_fails_or_does_not_end_is_refused_until_it_is_mended(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that hangs is given up with its line; what was loaded stays, and the mended module is taken."""
    module, gate = harness.directory / "my_work.py", ModuleType("gate_of_a_test")
    gate.opened = threading.Event()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, gate.__name__, gate)
    monkeypatch.setattr(reload_module, "IMPORT_TIMEOUT", 0.5)
    good = "from engine import job_kind\n@job_kind('{}')\nasync def work(job, client): return 1\n"
    module.write_text(good.format("one"))
    async with Sandbox() as dc, running(harness, dc, rest=f"work: {{modules: [my_work.py]}}\n{CALM}") as engine:
        module.write_text("x = 1\n1 / 0\n")
        assert "my_work.py cannot be imported: line 2 of my_work.py: ZeroDivisionError" in await refusal(engine)
        module.write_text("raise KeyboardInterrupt\n")
        assert "my_work.py cannot be imported: line 1 of my_work.py: KeyboardInterrupt" in await refusal(engine)
        module.write_text("import gate_of_a_test\n\ngate_of_a_test.opened.wait(60)\n")
        try:
            sentence = await refusal(engine)
            assert "an import (my_work.py, line 3) does not end within 0.5 s" in sentence, sentence
            assert engine.jobs.registry.kinds.get("one") is not None
            module.write_text(good.format("two"))
            answer = await reload(engine)
            assert answer["ok"], answer
        finally:
            gate.opened.set()
        assert engine.jobs.registry.kinds.get("one") is None
        assert engine.jobs.registry.kinds.get("two") is not None
        assert len(healthy(engine)) == dc.stats()["accepted"] == 2


async def test_a_trial_leaves_no_code_behind(harness: EngineHarness) -> None:
    """A module that a dry run has imported is imported anew by the reload, which finds other code in it."""
    module = harness.directory / "more_work.py"
    text = "from engine import job_kind\n@job_kind('{}')\nasync def work(job, client): return 1\n"
    async with Sandbox() as dc, running(harness, dc, 1) as engine:
        module.write_text(text.format("one"))
        with harness.config.open("a") as config:
            config.write("work: {modules: [more_work.py]}\n")
        assert (await reload(engine, dry_run=True))["ok"]
        module.write_text(text.format("two"))
        assert (await reload(engine))["ok"]
        assert engine.jobs.registry.kinds.get("two") is not None
        harness.config.write_text(harness.config.read_text().replace("work: {modules: [more_work.py]}\n", ""))
        module.unlink()
        assert (await reload(engine))["ok"]
        assert (await reload(engine))["lines"] == ["Nothing has changed"]


async def test_a_database_that_is_locked_refuses_before_anybody_is_closed(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of accounts that go and come could not be stored: all goes on, and a later reload does it."""
    monkeypatch.setattr(reload_module, "STORAGE_TIMEOUT", 0.3)
    async with Sandbox() as dc, running(harness, dc) as engine:
        change(harness, "name: Account 1,", "name: News,")
        with closing(sqlite3.connect(harness.directory / "data" / "engine.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await reload(engine)
            assert "the state of accounts cannot be stored now" in answer["error"]
            assert "nothing was changed" in answer["error"]
            assert healthy(engine) == {"Account 1", "Account 2"}
            assert dc.stats()["accepted"] == 2
            other.execute("ROLLBACK")
        monkeypatch.setattr(reload_module, "STORAGE_TIMEOUT", TIMEOUT)
        assert (await reload(engine))["ok"]
        await all_healthy(engine, 2)
        assert dc.stats()["accepted"] == 3


async def test_a_session_that_another_program_holds_refuses_the_whole(harness: EngineHarness) -> None:
    """The sentence names the file and its owner; when it is free, the same reload is applied."""
    async with Sandbox() as dc, running(harness, dc) as engine:
        change(harness, ACCOUNT_1, add(harness, dc, 3, PHONES[2]))
        held = HoldfastSession(harness.directory / "account3.session")
        try:
            sentence = await refusal(engine)
            assert "account3.session: the session is" in sentence, sentence
            assert healthy(engine) == {"Account 1", "Account 2"}
        finally:
            held.close()
        await until(lambda: owner_of(harness.directory / "account3.session") is None)
        assert (await reload(engine))["ok"]
        await all_healthy(engine, 2)
        assert dc.stats()["accepted"] == 3


async def test_accounts_come_and_go_during_an_outage(harness: EngineHarness) -> None:
    """One that is connecting in vain is removed, one is added, and all are well when the outage is over."""
    async with Sandbox() as dc, running(harness, dc, rest=FAST) as engine:
        await dc.inject(Fault(FaultKind.RESET))
        await dc.inject(Fault(FaultKind.REFUSE))
        await until(lambda: not healthy(engine))
        change(harness, ACCOUNT_1, add(harness, dc, 3, PHONES[2]))
        assert (await reload(engine))["ok"]
        assert set(engine.status) == {"Account 2", "Account 3"}
        await dc.clear()
        await all_healthy(engine, 2)


async def test_no_account_stays_away_when_a_part_fails_to_follow(harness: EngineHarness) -> None:
    """A mistake in what applies a section is told, and the accounts that come are there all the same."""
    async with Sandbox() as dc, running(harness, dc) as engine:

        def fails(_: object) -> None:
            raise ValueError("a mistake")

        engine.appliers["logging"] = fails
        change(harness, ACCOUNT_1, add(harness, dc, 3, PHONES[2]))
        with harness.config.open("a") as config:
            config.write("logging: {format: json}\n")
        answer = await reload(engine)
        assert answer["error"] == "the reload failed; see the log"
        await all_healthy(engine, 2)
        assert healthy(engine) == {"Account 2", "Account 3"}
        assert dc.stats()["accepted"] == 3


async def test_a_reload_while_the_engine_stops_changes_nothing(harness: EngineHarness) -> None:
    """The answer says that the next start reads the config, and the stop is not held up."""
    async with Sandbox() as dc:
        harness.at(dc, *PHONES[:2], rest=CALM)
        async with Engine.from_config(harness.config) as engine:
            await all_healthy(engine, 2)
            change(harness, ACCOUNT_1, add(harness, dc, 3, PHONES[2]))
            engine.stop.now()
            await until(lambda: engine.fleet.stopping)
            answer = await reload(engine)
            assert "the engine is being stopped" in answer["error"]
        assert dc.stats()["accepted"] == 2


def test_a_refusal_is_one_line_in_the_log() -> None:
    """However many mistakes a config has, the line has the first of them and how many more there are."""
    refused = ReloadRefused(RefusalReason.BAD_CONFIG, "c.yaml cannot be used:", "  a", *("  b" for _ in range(9)))
    assert refused.sentence == "c.yaml cannot be used: a; b; b; b; b; 5 more"
