"""``doctor`` tries what ``run`` will try: where ``run`` fails, no report says that all is well."""

import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import rsa

from adapters.sandbox import Sandbox
from adapters.session import OwnerLock
from adapters.session.backup import back_up
from adapters.sqlite import JournalWriter
from engine.config import load
from engine.doctor import run_checks
from engine.doctor.findings import Finding
from states import Policy, Snapshot, State
from states.snapshot import Cause
from tests.adapters.session.support import telethons
from tests.engine.harness import FAST, EngineHarness
from tests.timeouts import TIMEOUT

ACCOUNT = "  - {name: Account 1, session: account1}"
WHERE = "{id: 2, host: 127.0.0.1, port: 9, public_key: dc.pem}"


@pytest.fixture
def harness(tmp_path: Path) -> EngineHarness:
    """Return a config of one account with a login, at a datacenter that does not run."""
    (tmp_path / "dc.pem").write_bytes(rsa.newkeys(512)[0].save_pkcs1())
    harness = EngineHarness(tmp_path)
    harness.write(WHERE, ACCOUNT)
    telethons(tmp_path / "account1.session").chmod(0o600)
    return harness


async def wrong(harness: EngineHarness, about: str) -> list[Finding]:
    """Return what is wrong with something."""
    found = await run_checks(load(harness.config), fix=False)
    return [one for one in found if one.ok is False and one.about == about]


def missing(directory: Path) -> str:
    """Name a module that is not there."""
    return "work: {modules: [nowhere.py]}"


def broken(directory: Path) -> str:
    """Name a module that cannot be compiled."""
    (directory / "mine.py").write_text("def (:\n")
    return "work: {modules: [mine.py]}"


def raises(directory: Path) -> str:
    """Name a module whose import fails."""
    (directory / "mine.py").write_text("import no_such_library\n")
    return "work: {modules: [mine.py]}"


def own_loop(directory: Path) -> str:
    """Name a module that runs an event loop of its own, which it cannot within the engine's."""
    (directory / "mine.py").write_text(
        "import asyncio\nwork = asyncio.sleep(0)\ntry:\n    asyncio.run(work)\nfinally:\n    work.close()\n"
    )
    return "work: {modules: [mine.py]}"


def tells_secret(directory: Path) -> str:
    """Name a module whose error has a password in it."""
    (directory / "mine.py").write_text("raise ValueError('socks5://me:' + 'geheim99@10.0.0.1:1080')\n")
    return "work: {modules: [mine.py]}"


def no_text(directory: Path) -> str:
    """Name a module that is no text of Python's."""
    (directory / "mine.py").write_bytes("x = 1".encode("utf-16"))
    return "work: {modules: [mine.py]}"


def no_kind(directory: Path) -> str:
    """Set rules for a kind of jobs that no module has."""
    return "work: {kinds: {sned: {at_once: 1}}}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [
        tells_secret,
        *(pytest.param(how, marks=pytest.mark.slow) for how in (missing, own_loop, broken, raises, no_text, no_kind)),
    ],
)
async def test_code_that_run_cannot_import_is_wrong(harness: EngineHarness, spoil: Callable[[Path], str]) -> None:
    """``run`` ends with 2, and ``doctor`` has the same sentence as a ❌."""
    harness.write(WHERE, ACCOUNT, f"{FAST}\n{spoil(harness.directory)}")
    with anyio.fail_after(TIMEOUT):
        code, said = await harness.command("run", str(harness.config), "--for", "1s")
    assert code == 2
    (told,) = await wrong(harness, "work")
    assert told.text in said
    assert "geheim" not in said
    assert "None" not in said


async def remember(harness: EngineHarness, snapshot: Snapshot) -> None:
    """Write into the journal where the account is."""
    path = harness.directory / "data" / "engine.db"
    journal = await JournalWriter.open(path, on_trouble=lambda *_: None)
    await journal.begin_life("Account 1", 1.0, Policy(), snapshot)
    await journal.aclose(TIMEOUT)


@pytest.mark.parametrize(
    ("event", "remedy"),
    [
        ("AuthRejected", " login "),
        ("SessionDuplicated", "stop the other program"),
        ("AccountBanned", "appeal"),
        ("DatabaseCorrupt", "session restore"),
    ],
)
async def test_a_login_that_the_journal_knows_as_unusable_is_wrong(
    harness: EngineHarness, event: str, remedy: str
) -> None:
    """The file has a login, and ``run`` would not use it: ❌ with the cause; after a new login it is advice."""
    from engine.app.telegram import connectors_outside  # Telethon, for this test alone

    used = await connectors_outside(load(harness.config))["Account 1"].credentials()
    cause = Cause(event=event, detail="as Telegram says")
    await remember(harness, Snapshot(state=State.AUTH_FAILED, cause=cause, credentials=used, life=1))
    told = [one for one in await wrong(harness, "Account 1") if "the journal knows" in one.text]
    assert len(told) == 1
    assert "as Telegram says" in told[0].text
    assert remedy in told[0].remedy
    await remember(harness, Snapshot(state=State.AUTH_FAILED, cause=cause, credentials="another", life=2))
    assert not [one for one in await wrong(harness, "Account 1") if "the journal knows" in one.text]


async def test_a_parked_account_is_wrong(harness: EngineHarness) -> None:
    """An account that waits for the operator does not connect at the next start."""
    await remember(harness, Snapshot(state=State.BACKOFF, deadline=None, life=1))
    assert any("waits for the operator" in one.text for one in await wrong(harness, "Account 1"))


async def test_a_session_of_another_engine_is_wrong(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """``run`` refuses to start beside it, and so does not ✅."""
    monkeypatch.setattr("adapters.session.owner._program", lambda: "engine")
    lock = OwnerLock(harness.directory / "account1.session")
    lock.acquire()
    try:
        assert any("another engine" in one.text for one in await wrong(harness, "Account 1"))
    finally:
        lock.release()


@pytest.mark.parametrize("spoil", ["empty", "junk", "cut", "key"])
async def test_a_damaged_session_with_a_backup_is_to_be_restored(harness: EngineHarness, spoil: str) -> None:
    """With a backup seconds old nobody is told to log in again."""
    session = harness.directory / "account1.session"
    back_up(session, harness.directory / "data" / "backups", name="Account 1")
    if spoil == "empty":
        session.write_bytes(b"")
    elif spoil == "junk":
        session.write_bytes(b"junk" * 3000)
    elif spoil == "cut":
        session.write_bytes(session.read_bytes()[:5000])
    else:
        telethons(session, key=b"short")
    told = await wrong(harness, "Account 1")
    assert any("session restore" in one.remedy for one in told), told
    assert not any(" login " in one.remedy for one in told)


async def test_an_address_of_an_account_that_cannot_be_reached_names_the_account(harness: EngineHarness) -> None:
    """Where accounts have addresses of their own, the one that fails says whose it is."""
    async with Sandbox() as dc:
        harness.at(dc, "+9996620001", "+9996620002")
        text = harness.config.read_text()
        dead = text.replace("session: account2,", "session: account2, proxy: 'socks5://127.0.0.1:9',")
        harness.config.write_text(dead)
        told = await wrong(harness, "network")
    assert len(told) == 1
    assert "Account 2" in told[0].text
    shutil.rmtree(harness.directory / "data", ignore_errors=True)
