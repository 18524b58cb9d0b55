"""``login`` and ``logout`` as their user meets them: the real command, a real terminal, with an engine or without."""

import shlex
import signal
import sqlite3
import sys
import termios
from contextlib import closing
from pathlib import Path

import anyio
import pytest
import segno

from adapters.sandbox import Fault, FaultKind, Sandbox
from engine.cli import qr
from tests.engine.harness import COMPLAINTS, EngineHarness, all_are
from tests.engine.terminal import at_terminal

PHONE, OTHER = "+9996620001", "+9996620002"
CODE = "22222"
PASSWORD = "correct horse battery"
BOT = "7000000001:a-token_of_a_bot-in-tests"
ME = ("config.yaml", "Account 1")
CODE_ASKED = "(Enter to have it sent again): "


def session_of(harness: EngineHarness) -> Path:
    """Return the account's session file."""
    return harness.directory / "account1.session"


def key_in(path: Path) -> bytes:
    """Return the key that a session file holds."""
    with closing(sqlite3.connect(path)) as database:
        return bytes(database.execute("select auth_key from sessions").fetchone()[0])


def left_over(harness: EngineHarness) -> list[str]:
    """Return the hidden files and locks that are left beside the session."""
    return [path.name for path in harness.directory.iterdir() if path.name[0] == "." or path.suffix == ".lock"]


async def piped(harness: EngineHarness, *words: str, said: str = "") -> tuple[int, str]:
    """Run a command with lines as its input; return exit code and everything it printed."""
    done = await anyio.run_process(
        [sys.executable, "-W", "error", "-m", "engine", *words],
        input=said.encode(),
        check=False,
        cwd=harness.directory,
        env=harness.environment,
    )
    return done.returncode, done.stdout.decode() + done.stderr.decode()


@pytest.mark.slow
async def test_a_dialogue_at_a_terminal(harness: EngineHarness) -> None:
    """Wrong code, right code, hint, a password that is not shown, and the new session with a backup of the old one."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        await dc.set_password(PHONE, PASSWORD, "a battery")
        before = key_in(session_of(harness))
        async with at_terminal(harness, "login", *ME) as terminal:
            await terminal.expect(CODE_ASKED)
            terminal.type("11111")
            await terminal.expect("That is not the code")
            await terminal.expect(CODE_ASKED)
            terminal.type(CODE)
            await terminal.expect("(hint: a battery): ")
            terminal.type(PASSWORD)
            await terminal.expect("Account 1 is logged in\n")
            assert await terminal.end() == 0
            shown = terminal.text
    assert PASSWORD not in shown
    assert PHONE[1:] not in shown
    assert not COMPLAINTS.search(shown), shown
    assert key_in(session_of(harness)) != before
    (backup,) = (harness.directory / "data" / "backups").iterdir()
    assert key_in(backup) == before
    assert left_over(harness) == []


@pytest.mark.slow
async def test_ctrl_c_at_the_password_changes_nothing(harness: EngineHarness) -> None:
    """Exit code 130, a sentence, the session to the byte, and the terminal shows again what is typed."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        await dc.set_password(PHONE, PASSWORD)
        before = session_of(harness).read_bytes()
        async with at_terminal(harness, "login", *ME) as terminal:
            await terminal.expect(CODE_ASKED)
            terminal.type(CODE)
            await terminal.expect("Password of the two-step verification: ")
            hidden = termios.tcgetattr(terminal.screen)[3]
            terminal.press(b"\x03")
            await terminal.expect("Stopped; nothing was changed\n")
            assert await terminal.end() == 130
            assert not hidden & termios.ECHO
            assert termios.tcgetattr(terminal.screen)[3] & termios.ECHO
    assert session_of(harness).read_bytes() == before
    assert left_over(harness) == []


@pytest.mark.slow
async def test_ctrl_d_is_an_end_of_the_input(harness: EngineHarness) -> None:
    """Exit code 1, and a sentence."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        async with at_terminal(harness, "login", *ME) as terminal:
            await terminal.expect(CODE_ASKED)
            terminal.press(b"\x04")
            await terminal.expect("The input ended; nothing was changed\n")
            assert await terminal.end() == 1


@pytest.mark.slow
async def test_a_qr_code_at_a_terminal_is_drawn_over_the_last_one(harness: EngineHarness) -> None:
    """It is black on white, the next one takes its place, and its text is in no line."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        dc.set_token_lifetime(1.5)
        async with at_terminal(harness, "login", *ME, "--qr") as terminal:
            await terminal.expect("then scan this.\n")
            await terminal.expect("█")
            while "A\x1b[38;5;16;48;5;231m" not in terminal._shown.decode(errors="replace"):
                assert await terminal._read()
            terminal.press(b"\x03")
            assert await terminal.end() == 130
            assert "tg://" not in terminal.text


def test_a_qr_code_says_what_it_is_given() -> None:
    """Read back from its half blocks, with four light squares around, it is the code that the library makes."""
    url = f"tg://login?token={'x' * 43}"
    drawn = qr.lines(url, coloured=False)
    squares = {character: pair for pair, character in qr.SQUARES.items()}
    rows = [[squares[character][half] for character in line] for line in drawn for half in (0, 1)]
    made = [list(map(int, row)) for row in segno.make(url, error="l", micro=False, boost_error=False).matrix]
    size = len(made)
    assert [row[4 : 4 + size] for row in rows[4 : 4 + size]] == made
    assert sum(map(sum, rows)) == sum(map(sum, made))
    assert len(drawn) <= 24
    assert len(drawn[0]) <= 80


@pytest.mark.slow
async def test_a_bot_needs_no_dialogue(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its token comes from the environment, and is in nothing that is printed."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        dc.make_bot(BOT)
        text = harness.config.read_text()
        harness.config.write_text(text.replace(f'phone: "{PHONE}"', 'bot_token: "${BOT_TOKEN}"'))
        monkeypatch.setenv("BOT_TOKEN", BOT)
        code, printed = await piped(harness, "login", *ME)
        wrong = await piped(harness, "login", *ME, "--qr")
    assert code == 0, printed
    assert printed.startswith("Account 1 is logged in\n")
    assert BOT not in printed
    assert wrong[0] == 2


@pytest.mark.slow
async def test_a_refusal_is_one_sentence_and_exit_code_1(harness: EngineHarness) -> None:
    """A flood wait is told and not waited for."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        fault = Fault(FaultKind.RPC_ERROR, code=420, text="FLOOD_WAIT_600", request="auth.sendCode", duration=60)
        await dc.inject(fault)
        code, printed = await piped(harness, "login", *ME)
    assert code == 1
    assert printed.startswith("Account 1 is not logged in: Telegram asks to wait until ")
    assert printed.count("\n") == 1


async def test_what_is_wrong_with_the_words_is_said(harness: EngineHarness) -> None:
    """Exit code 2 for a name that is wrong, no name, and options that do not go together."""
    harness.write("sandbox", "  - {name: Account 1, session: account1}")
    for command in ("login", "logout"):
        code, printed = await piped(harness, command, "Acount 1")
        assert (code, "did you mean 'Account 1'?" in printed) == (2, True)
        assert (await piped(harness, command))[0] == 2
    assert (await piped(harness, "login", "Account 1", "--qr", "--code"))[0] == 2


@pytest.mark.slow
async def test_another_user_is_refused_without_a_terminal(harness: EngineHarness) -> None:
    """Without a terminal no question can be asked, so the old session stays; --yes is the answer beforehand."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        assert (await piped(harness, "login", *ME, said=f"{CODE}\n"))[0] == 0
        before = key_in(session_of(harness))
        other = ("--phone", OTHER)
        code, printed = await piped(harness, "login", *ME, *other, said=f"{CODE}\n")
        assert (code, "add --yes" in printed) == (1, True)
        assert key_in(session_of(harness)) == before
        assert (await piped(harness, "login", *ME, *other, "--yes", said=f"{CODE}\n"))[0] == 0
        assert key_in(session_of(harness)) != before


@pytest.mark.slow
async def test_a_healthy_account_logs_in_anew_beside_the_engine(harness: EngineHarness) -> None:
    """It is paused meanwhile, goes on with the new login, and the other account notices nothing."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE, OTHER)
        before = key_in(session_of(harness))
        async with harness.running(dev=True) as engine:
            await harness.until(all_are("healthy", 2))
            async with at_terminal(harness, "login", *ME) as terminal:
                await terminal.expect("Replace it by a new one? [y/N] ")
                terminal.type("y")
                await terminal.expect("Account 1 is paused in the running engine meanwhile.")
                await terminal.expect(CODE_ASKED)
                assert sorted(harness.states()) == ["healthy", "shutting_down"]
                terminal.type(CODE)
                await terminal.expect("The engine uses the new login: Account 1 is healthy\n")
                assert await terminal.end() == 0
            await harness.until(all_are("healthy", 2))
            assert await harness.finish(engine, signal.SIGINT) == 0
        connected = [entry.account for entry in harness.entries() if entry.event == "Connected"]
    assert sorted(connected) == ["Account 1", "Account 1", "Account 2"]
    assert key_in(session_of(harness)) != before
    assert not COMPLAINTS.search(harness.text), harness.text


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", pytest.param("hang-up", marks=pytest.mark.slow)])
async def test_an_account_goes_on_when_its_login_does_not(harness: EngineHarness, how: str) -> None:
    """Ctrl+C, and a terminal that is closed: the account is resumed with the login that it had."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        before = key_in(session_of(harness))
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 1))
            async with at_terminal(harness, "login", *ME, "--yes") as terminal:
                await terminal.expect(CODE_ASKED)
                if how == "ctrl-c":
                    terminal.press(b"\x03")
                else:
                    terminal.process.send_signal(signal.SIGHUP)
                assert await terminal.end() == (130 if how == "ctrl-c" else 129)
            await harness.until(all_are("healthy", 1))
            assert await harness.finish(engine, signal.SIGINT) == 0
    assert key_in(session_of(harness)) == before


@pytest.mark.slow
async def test_a_revoked_account_comes_back_by_a_login(harness: EngineHarness) -> None:
    """In auth_failed nothing is paused; the engine notices the new key, and the command says so."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 1))
            await dc.inject(Fault(FaultKind.REVOKE, account=PHONE))
            await harness.until(all_are("auth_failed", 1))
            await dc.clear()
            code, printed = await piped(harness, "login", *ME, said=f"{CODE}\n")
            assert await harness.finish(engine, signal.SIGINT) == 0
    assert code == 0, printed
    assert "paused" not in printed
    assert "The engine uses the new login: Account 1 is healthy\n" in printed
    assert "CredentialsReplaced" in [entry.event for entry in harness.entries()]


@pytest.mark.slow
async def test_a_log_out_beside_the_engine(harness: EngineHarness) -> None:
    """Asked for, done, and the engine has the account in auth_failed; the copy is in the backups."""
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        before = key_in(session_of(harness))
        async with harness.running() as engine:
            await harness.until(all_are("healthy", 1))
            async with at_terminal(harness, "logout", *ME) as terminal:
                await terminal.expect("Log it out? [y/N] ")
                terminal.type("n")
                await terminal.expect("Nothing was changed\n")
                assert await terminal.end() == 1
            async with at_terminal(harness, "logout", *ME) as terminal:
                await terminal.expect("Log it out? [y/N] ")
                terminal.type("y")
                await terminal.expect(
                    f"To log in again: {shlex.quote(sys.executable)} -W error -m engine login config.yaml 'Account 1'\n"
                )
                await terminal.expect("The engine has Account 1 in auth_failed now")
                assert await terminal.end() == 0
            assert not session_of(harness).exists()
            assert await harness.finish(engine, signal.SIGINT) == 0
    (copy,) = (harness.directory / "data" / "backups").glob("*logged-out*")
    assert key_in(copy) == before


@pytest.mark.slow
async def test_the_sandbox_of_a_running_engine_is_found(harness: EngineHarness) -> None:
    """With ``datacenter: sandbox`` the login goes to the engine's own sandbox, and without an engine starts it."""
    harness.write("sandbox", f'  - {{name: Account 1, session: account1, phone: "{PHONE}"}}')
    assert (await piped(harness, "login", *ME, said=f"{CODE}\n"))[0] == 0
    before = key_in(session_of(harness))
    async with harness.running() as engine:
        await harness.until(all_are("healthy", 1))
        code, printed = await piped(harness, "login", *ME, "--yes", said=f"{CODE}\n")
        assert await harness.finish(engine, signal.SIGINT) == 0
    assert code == 0, printed
    assert "The engine uses the new login: Account 1 is healthy\n" in printed
    assert key_in(session_of(harness)) != before
    assert not (harness.directory / "data" / "sandbox" / "running.json").exists()


@pytest.mark.slow
async def test_an_engine_does_not_start_during_a_login_at_its_sandbox(harness: EngineHarness) -> None:
    """Two sandboxes on one state would forget logins: the engine leaves with 3, and works afterwards."""
    harness.write("sandbox", f'  - {{name: Account 1, session: account1, phone: "{PHONE}"}}')
    async with at_terminal(harness, "login", *ME) as terminal:
        await terminal.expect(CODE_ASKED)
        code, _ = await piped(harness, "run", "config.yaml", "--for", "1s")
        assert code == 3
        terminal.type(CODE)
        assert await terminal.end() == 0
