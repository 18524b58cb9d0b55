"""``login`` and ``logout`` as their user meets them: the real command, a real terminal, with an engine or without."""

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
from tests.engine.terminal import seated
from tests.engine.workplace import COMPLAINTS, Workplace, all_are

PHONE, OTHER = "+9996620001", "+9996620002"
CODE = "22222"
PASSWORD = "correct horse battery"
BOT = "7000000001:a-token_of_a_bot-in-tests"
ME = ("config.yaml", "Account 1")
CODE_ASKED = "(Enter to have it sent again): "


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    """Return an empty directory to work in."""
    return Workplace(tmp_path)


def session_of(workplace: Workplace) -> Path:
    """Return the account's session file."""
    return workplace.directory / "account1.session"


def key_in(path: Path) -> bytes:
    """Return the key that a session file holds."""
    with closing(sqlite3.connect(path)) as database:
        return bytes(database.execute("select auth_key from sessions").fetchone()[0])


def left_over(workplace: Workplace) -> list[str]:
    """Return the hidden files and locks that are left beside the session."""
    return [path.name for path in workplace.directory.iterdir() if path.name[0] == "." or path.suffix == ".lock"]


async def piped(workplace: Workplace, *words: str, said: str = "") -> tuple[int, str]:
    """Run a command with lines as its input; return exit code and everything it printed."""
    done = await anyio.run_process(
        [sys.executable, "-W", "error", "-m", "engine", *words],
        input=said.encode(),
        check=False,
        cwd=workplace.directory,
        env=workplace.environment,
    )
    return done.returncode, done.stdout.decode() + done.stderr.decode()


async def test_a_dialogue_at_a_terminal(workplace: Workplace) -> None:
    """Wrong code, right code, hint, a password that is not shown, and the new session with a backup of the old one."""
    async with Sandbox() as dc:
        workplace.at(dc, PHONE)
        await dc.set_password(PHONE, PASSWORD, "a battery")
        before = key_in(session_of(workplace))
        async with seated(workplace, "login", *ME) as seat:
            await seat.expect(CODE_ASKED)
            seat.type("11111")
            await seat.expect("That is not the code")
            await seat.expect(CODE_ASKED)
            seat.type(CODE)
            await seat.expect("(hint: a battery): ")
            seat.type(PASSWORD)
            await seat.expect("Account 1 is logged in\n")
            assert await seat.end() == 0
            shown = seat.text
    assert PASSWORD not in shown
    assert PHONE[1:] not in shown
    assert not COMPLAINTS.search(shown), shown
    assert key_in(session_of(workplace)) != before
    (backup,) = (workplace.directory / "data" / "backups").iterdir()
    assert key_in(backup) == before
    assert left_over(workplace) == []


async def test_ctrl_c_at_the_password_changes_nothing(workplace: Workplace) -> None:
    """Exit code 130, a sentence, the session to the byte, and the terminal shows again what is typed."""
    async with Sandbox() as dc:
        workplace.at(dc, PHONE)
        await dc.set_password(PHONE, PASSWORD)
        before = session_of(workplace).read_bytes()
        async with seated(workplace, "login", *ME) as seat:
            await seat.expect(CODE_ASKED)
            seat.type(CODE)
            await seat.expect("Password of the two-step verification: ")
            hidden = termios.tcgetattr(seat.screen)[3]
            seat.press(b"\x03")
            await seat.expect("Stopped; nothing was changed\n")
            assert await seat.end() == 130
            assert not hidden & termios.ECHO
            assert termios.tcgetattr(seat.screen)[3] & termios.ECHO
    assert session_of(workplace).read_bytes() == before
    assert left_over(workplace) == []


async def test_ctrl_d_is_an_end_of_the_input(workplace: Workplace) -> None:
    """Exit code 1, and a sentence."""
    async with Sandbox() as dc:
        workplace.at(dc, PHONE)
        async with seated(workplace, "login", *ME) as seat:
            await seat.expect(CODE_ASKED)
            seat.press(b"\x04")
            await seat.expect("The input ended; nothing was changed\n")
            assert await seat.end() == 1


async def test_a_qr_code_at_a_terminal_is_drawn_over_the_last_one(workplace: Workplace) -> None:
    """It is black on white, the next one takes its place, and its text is in no line."""
    async with Sandbox() as dc:
        workplace.at(dc, PHONE)
        dc.set_token_lifetime(1.5)
        async with seated(workplace, "login", *ME, "--qr") as seat:
            await seat.expect("then scan this.\n")
            await seat.expect("█")
            while "A\x1b[38;5;16;48;5;231m" not in seat._shown.decode(errors="replace"):
                assert await seat._read()
            seat.press(b"\x03")
            assert await seat.end() == 130
            assert "tg://" not in seat.text


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


async def test_a_bot_needs_no_dialogue(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its token comes from the environment, and is in nothing that is printed."""
    async with Sandbox() as dc:
        workplace.at(dc, PHONE)
        dc.make_bot(BOT)
        text = workplace.config.read_text()
        workplace.config.write_text(text.replace(f'phone: "{PHONE}"', 'bot_token: "${BOT_TOKEN}"'))
        monkeypatch.setenv("BOT_TOKEN", BOT)
        code, printed = await piped(workplace, "login", *ME)
        wrong = await piped(workplace, "login", *ME, "--qr")
    assert code == 0, printed
    assert printed.startswith("Account 1 is logged in\n")
    assert BOT not in printed
    assert wrong[0] == 2


async def test_a_refusal_is_one_sentence_and_exit_code_1(workplace: Workplace) -> None:
    """A flood wait is told and not waited for."""
    async with Sandbox() as dc:
        workplace.at(dc, PHONE)
        fault = Fault(FaultKind.RPC_ERROR, code=420, text="FLOOD_WAIT_600", request="auth.sendCode", duration=60)
        await dc.inject(fault)
        code, printed = await piped(workplace, "login", *ME)
    assert code == 1
    assert printed.startswith("Account 1 is not logged in: Telegram asks to wait until ")
    assert printed.count("\n") == 1


async def test_what_is_wrong_with_the_words_is_said(workplace: Workplace) -> None:
    """Exit code 2 for a name that is wrong, no name, and options that do not go together."""
    workplace.write("sandbox", "  - {name: Account 1, session: account1}")
    for command in ("login", "logout"):
        code, printed = await piped(workplace, command, "Acount 1")
        assert (code, "did you mean 'Account 1'?" in printed) == (2, True)
        assert (await piped(workplace, command))[0] == 2
    assert (await piped(workplace, "login", "Account 1", "--qr", "--code"))[0] == 2


async def test_another_user_is_refused_without_a_terminal(workplace: Workplace) -> None:
    """Nobody can be asked, so the old session stays; --yes is the answer beforehand."""
    async with Sandbox() as dc:
        workplace.at(dc, PHONE)
        assert (await piped(workplace, "login", *ME, said=f"{CODE}\n"))[0] == 0
        before = key_in(session_of(workplace))
        other = ("--phone", OTHER)
        code, printed = await piped(workplace, "login", *ME, *other, said=f"{CODE}\n")
        assert (code, "add --yes" in printed) == (1, True)
        assert key_in(session_of(workplace)) == before
        assert (await piped(workplace, "login", *ME, *other, "--yes", said=f"{CODE}\n"))[0] == 0
        assert key_in(session_of(workplace)) != before


async def test_a_healthy_account_logs_in_anew_beside_the_engine(workplace: Workplace) -> None:
    """It is paused meanwhile, goes on with the new login, and the other account notices nothing."""
    async with Sandbox() as dc:
        workplace.at(dc, PHONE, OTHER)
        before = key_in(session_of(workplace))
        async with workplace.running(dev=True) as engine:
            await workplace.until(all_are("healthy", 2))
            async with seated(workplace, "login", *ME) as seat:
                await seat.expect("Account 1 is paused in the running engine meanwhile.")
                await seat.expect(CODE_ASKED)
                assert sorted(workplace.states()) == ["healthy", "shutting_down"]
                seat.type(CODE)
                await seat.expect("The engine uses the new login: Account 1 is healthy\n")
                assert await seat.end() == 0
            await workplace.until(all_are("healthy", 2))
            assert await workplace.finish(engine, signal.SIGINT) == 0
        connected = [entry.account for entry in workplace.entries() if entry.event == "Connected"]
    assert sorted(connected) == ["Account 1", "Account 1", "Account 2"]
    assert key_in(session_of(workplace)) != before
    assert not COMPLAINTS.search(workplace.text), workplace.text


@pytest.mark.parametrize("how", ["ctrl-c", "hang-up"])
async def test_an_account_goes_on_when_its_login_does_not(workplace: Workplace, how: str) -> None:
    """Ctrl+C, and a terminal that is closed: the account is resumed with the login that it had."""
    async with Sandbox() as dc:
        workplace.at(dc, PHONE)
        before = key_in(session_of(workplace))
        async with workplace.running() as engine:
            await workplace.until(all_are("healthy", 1))
            async with seated(workplace, "login", *ME) as seat:
                await seat.expect(CODE_ASKED)
                if how == "ctrl-c":
                    seat.press(b"\x03")
                else:
                    seat.process.send_signal(signal.SIGHUP)
                assert await seat.end() == (130 if how == "ctrl-c" else 129)
            await workplace.until(all_are("healthy", 1))
            assert await workplace.finish(engine, signal.SIGINT) == 0
    assert key_in(session_of(workplace)) == before


async def test_a_revoked_account_comes_back_by_a_login(workplace: Workplace) -> None:
    """In auth_failed nothing is paused; the engine notices the new key, and the command says so."""
    async with Sandbox() as dc:
        workplace.at(dc, PHONE)
        async with workplace.running() as engine:
            await workplace.until(all_are("healthy", 1))
            await dc.inject(Fault(FaultKind.REVOKE, account=PHONE))
            await workplace.until(all_are("auth_failed", 1))
            await dc.clear()
            code, printed = await piped(workplace, "login", *ME, said=f"{CODE}\n")
            assert await workplace.finish(engine, signal.SIGINT) == 0
    assert code == 0, printed
    assert "paused" not in printed
    assert "The engine uses the new login: Account 1 is healthy\n" in printed
    assert "CredentialsReplaced" in [entry.event for entry in workplace.entries()]


async def test_a_log_out_beside_the_engine(workplace: Workplace) -> None:
    """Asked for, done, and the engine has the account in auth_failed; the copy is in the backups."""
    async with Sandbox() as dc:
        workplace.at(dc, PHONE)
        before = key_in(session_of(workplace))
        async with workplace.running() as engine:
            await workplace.until(all_are("healthy", 1))
            async with seated(workplace, "logout", *ME) as seat:
                await seat.expect("Log it out? [y/N] ")
                seat.type("n")
                await seat.expect("Nothing was changed\n")
                assert await seat.end() == 1
            async with seated(workplace, "logout", *ME) as seat:
                await seat.expect("Log it out? [y/N] ")
                seat.type("y")
                await seat.expect("python -m engine login config.yaml 'Account 1'\n")
                await seat.expect("The engine has Account 1 in auth_failed now")
                assert await seat.end() == 0
            assert not session_of(workplace).exists()
            assert await workplace.finish(engine, signal.SIGINT) == 0
    (copy,) = (workplace.directory / "data" / "backups").glob("*logged-out*")
    assert key_in(copy) == before


async def test_the_sandbox_of_a_running_engine_is_found(workplace: Workplace) -> None:
    """With ``datacenter: sandbox`` the login goes to the engine's own sandbox, and without an engine starts it."""
    workplace.write("sandbox", f'  - {{name: Account 1, session: account1, phone: "{PHONE}"}}')
    assert (await piped(workplace, "login", *ME, said=f"{CODE}\n"))[0] == 0
    before = key_in(session_of(workplace))
    async with workplace.running() as engine:
        await workplace.until(all_are("healthy", 1))
        code, printed = await piped(workplace, "login", *ME, said=f"{CODE}\n")
        assert await workplace.finish(engine, signal.SIGINT) == 0
    assert code == 0, printed
    assert "The engine uses the new login: Account 1 is healthy\n" in printed
    assert key_in(session_of(workplace)) != before
    assert not (workplace.directory / "data" / "sandbox" / "running.json").exists()


async def test_an_engine_does_not_start_during_a_login_at_its_sandbox(workplace: Workplace) -> None:
    """Two sandboxes on one state would forget logins: the engine leaves with 3, and works afterwards."""
    workplace.write("sandbox", f'  - {{name: Account 1, session: account1, phone: "{PHONE}"}}')
    async with seated(workplace, "login", *ME) as seat:
        await seat.expect(CODE_ASKED)
        code, _ = await piped(workplace, "run", "config.yaml", "--for", "1s")
        assert code == 3
        seat.type(CODE)
        assert await seat.end() == 0
