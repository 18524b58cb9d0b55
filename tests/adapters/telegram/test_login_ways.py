"""Every way to log in and every way to be refused: the real client, the real sandbox, scripted answers."""

import time
from collections.abc import Callable
from functools import partial

import anyio
import pytest
from telethon import TelegramClient
from telethon.client import telegrambaseclient

from adapters.sandbox import Fault, FaultKind
from adapters.telegram import (
    AsBot,
    ByCode,
    ByQr,
    LoggedIn,
    Login,
    LoginFailed,
    LoginMethod,
    LoginPrompts,
    TelegramConnector,
)
from adapters.telegram.engine_session import stored_address
from states.events import Connected
from tests.adapters.telegram.fakes import CODE, ScriptedAnswers
from tests.adapters.telegram.harness import PHONE, DatacenterHarness
from tests.timeouts import TIMEOUT

OTHER = "+9996620002"
BOT = "7000000001:a-token_of_a_bot-in-tests"
THERE, CODE_THERE = "+9996640001", "44444"
"""A number of datacenter 4, once that is open."""


def newcomer(harness: DatacenterHarness) -> TelegramConnector:
    """Return a connector whose session does not exist yet."""
    return TelegramConnector(
        session=harness.directory / "new.session", api_id=1, api_hash="0" * 32, datacenter=harness.datacenter()
    )


async def log_in(connector: TelegramConnector, person: LoginPrompts, way: LoginMethod | None = None) -> LoggedIn:
    """Log in by code, or another way."""
    return await Login(connector, person, TIMEOUT).run(way or ByCode(PHONE))


async def connects(connector: TelegramConnector) -> bool:
    """Return whether a link with the session proves itself."""
    link = connector.link(1)
    events = await link.open(timeout=TIMEOUT)
    await link.close(timeout=TIMEOUT)
    await connector.settle()
    return events == [Connected(link=1)]


def files(harness: DatacenterHarness) -> list[str]:
    """Return what is in the directory."""
    return sorted(path.name for path in harness.directory.iterdir())


async def test_a_wrong_code_is_said_and_asked_for_again(harness: DatacenterHarness) -> None:
    """The second, right code logs in; spaces and dashes in it do not matter."""
    async with harness:
        person = ScriptedAnswers([PHONE, "11111", "2 22-22"])
        account = newcomer(harness)
        assert (await log_in(account, person, ByCode())).backup is None
        assert person.heard == [
            "phone",
            "code to the account's other devices, in Telegram",
            "That is not the code that Telegram sent; look again.",
            "code to the account's other devices, in Telegram",
        ]
        assert await connects(account)
        assert account.session.stat().st_mode & 0o077 == 0


async def test_three_wrong_codes_end_it(harness: DatacenterHarness) -> None:
    """There is no fourth question, and no file is left."""
    async with harness:
        person = ScriptedAnswers(["1", "2", "3", CODE])
        with pytest.raises(LoginFailed, match="3 codes were not right"):
            await log_in(newcomer(harness), person)
        assert list(person.answers) == [CODE]
        assert files(harness) == []


async def test_enter_has_the_code_sent_another_way(harness: DatacenterHarness) -> None:
    """Empty answers use auth.resendCode while Telegram has another way, and then begin anew."""
    async with harness as dc:
        person = ScriptedAnswers(["", "", "", CODE])
        await log_in(newcomer(harness), person)
        app = "code to the account's other devices, in Telegram"
        assert person.heard == [app, "code by SMS", "code by a phone call", app]
        requests = dc.stats()["requests"]
        assert (requests["auth.sendCode"], requests["auth.resendCode"]) == (2, 2)


async def test_a_code_is_not_sent_for_ever(harness: DatacenterHarness) -> None:
    """Five times, however it is sent."""
    async with harness as dc:
        with pytest.raises(LoginFailed, match="sent 5 times"):
            await log_in(newcomer(harness), ScriptedAnswers([""] * 9))
        requests = dc.stats()["requests"]
        assert requests["auth.sendCode"] + requests["auth.resendCode"] == 5


async def test_where_there_is_no_other_way_the_code_that_was_sent_still_counts(harness: DatacenterHarness) -> None:
    """SEND_CODE_UNAVAILABLE is told, and is not the end."""
    async with harness as dc:
        fault = Fault(FaultKind.RPC_ERROR, code=406, text="SEND_CODE_UNAVAILABLE", request="auth.resendCode", times=1)
        await dc.inject(fault)
        person = ScriptedAnswers(["", CODE])
        await log_in(newcomer(harness), person)
        assert person.heard[1] == "Telegram has no other way to send the code; use the one that was sent."


async def test_an_expired_code_is_replaced_at_enter(harness: DatacenterHarness) -> None:
    """The person hears that it has expired, and gets a new one for Enter."""
    async with harness as dc:

        async def late() -> str:
            assert dc.expire_codes() == 1
            return CODE

        person = ScriptedAnswers([late, "", CODE])
        await log_in(newcomer(harness), person)
        assert person.heard[1] == "The code has expired; press Enter to have a new one sent."
        assert dc.stats()["requests"]["auth.sendCode"] == 2


async def test_the_second_step_shows_its_hint_and_forgives_two_passwords(harness: DatacenterHarness) -> None:
    """Wrong passwords are asked for again; real SRP decides."""
    async with harness as dc:
        await dc.set_password(PHONE, "correct horse", "a battery")
        account = newcomer(harness)
        person = ScriptedAnswers([CODE, "wrong", "", "correct horse"])
        await log_in(account, person)
        assert person.heard[1:] == ["password a battery", "That is not the password."] * 2 + ["password a battery"]
        assert await connects(account)


async def test_three_wrong_passwords_end_it(harness: DatacenterHarness) -> None:
    """There is no fourth question, and no file is left."""
    async with harness as dc:
        await dc.set_password(PHONE, "correct horse")
        with pytest.raises(LoginFailed, match="3 passwords were wrong"):
            await log_in(newcomer(harness), ScriptedAnswers([CODE, "a", "b", "c", "correct horse"]))
        assert files(harness) == []


async def test_a_qr_code_is_renewed_and_scanned(harness: DatacenterHarness) -> None:
    """One that expired is shown anew; scanning the second logs in."""
    async with harness as dc:
        dc.set_token_lifetime(0.1)
        urls: list[str] = []

        def shown(url: str) -> None:
            urls.append(url)
            dc.set_token_lifetime(60)
            if len(urls) == 2:
                dc.accept_token(PHONE, url)

        account = newcomer(harness)
        await log_in(account, ScriptedAnswers(shown=shown), ByQr())
        assert len(set(urls)) == 2
        assert urls[0].startswith("tg://login?token=")
        assert await connects(account)


async def test_a_qr_code_can_need_the_password_too(harness: DatacenterHarness) -> None:
    """After the scan the second step is asked for."""
    async with harness as dc:
        await dc.set_password(PHONE, "correct horse")
        account = newcomer(harness)
        person = ScriptedAnswers(["correct horse"], shown=partial(dc.accept_token, PHONE))
        await log_in(account, person, ByQr())
        assert person.heard == ["qr", "password "]
        assert await connects(account)


async def test_a_code_that_is_not_scanned_ends_the_login(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A QR code is not shown for ever."""
    monkeypatch.setattr("adapters.telegram.conversation.QR_TIMEOUT", 0.1)
    async with harness as dc:
        dc.set_token_lifetime(0.1)
        with pytest.raises(LoginFailed, match="was not scanned"):
            await log_in(newcomer(harness), ScriptedAnswers(), ByQr())


async def test_a_bot_logs_in_by_its_token(harness: DatacenterHarness) -> None:
    """Nothing is asked."""
    async with harness as dc:
        dc.make_bot(BOT)
        account, person = newcomer(harness), ScriptedAnswers()
        await log_in(account, person, AsBot(BOT))
        assert person.heard == []
        assert await connects(account)


@pytest.mark.parametrize("expired", [False, True])
async def test_a_wrong_token_is_not_repeated(harness: DatacenterHarness, expired: bool) -> None:
    """The sentence says where to get the right one, and not what the wrong one was."""
    async with harness as dc:
        if expired:
            dc.make_bot(BOT)
            dc.expire_bot_token(BOT)
        with pytest.raises(LoginFailed, match="BotFather") as caught:
            await log_in(newcomer(harness), ScriptedAnswers(), AsBot(BOT))
        assert BOT not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (400, "PHONE_NUMBER_BANNED", "banned"),
        (400, "PHONE_NUMBER_INVALID", "does not accept this phone number"),
        (400, "PHONE_NUMBER_UNOCCUPIED", "register it in an official app"),
        (406, "PHONE_NUMBER_FLOOD", "try again tomorrow"),
        (406, "PHONE_PASSWORD_FLOOD", "try again tomorrow"),
        (400, "API_ID_INVALID", "mend telegram.api_id"),
        (406, "UPDATE_APP_TO_LOGIN", "update Holdfast"),
        (400, "SOMETHING_NEW", "Telegram says no: SOMETHING_NEW"),
    ],
)
async def test_a_refusal_is_one_sentence(harness: DatacenterHarness, code: int, text: str, said: str) -> None:
    """It names the account and what to do, and has neither number nor class in it; nothing was made."""
    async with harness as dc:
        await dc.inject(Fault(FaultKind.RPC_ERROR, code=code, text=text, request="auth.sendCode", duration=60))
        with pytest.raises(LoginFailed, match=said) as caught:
            await log_in(newcomer(harness), ScriptedAnswers())
        sentence = str(caught.value)
        assert sentence.startswith("new is not logged in: ")
        assert PHONE[1:] not in sentence
        assert "Error" not in sentence
        assert files(harness) == []


async def test_a_flood_says_until_when_and_asks_once(harness: DatacenterHarness) -> None:
    """FLOOD_WAIT is not waited for: one request, and a time."""
    async with harness as dc:
        await dc.inject(Fault(FaultKind.RPC_ERROR, code=420, text="FLOOD_WAIT_7200", request="auth.*", duration=60))
        until = time.strftime("%Y-%m-%d %H:", time.localtime(time.time() + 7200))
        with pytest.raises(LoginFailed, match=f"wait until {until}"):
            await log_in(newcomer(harness), ScriptedAnswers())
        assert dc.stats()["requests"]["auth.sendCode"] == 1


@pytest.mark.parametrize(
    ("status", "answers", "said"),
    [("unoccupied", [CODE], "register it in an official app"), ("banned", [], "recover@telegram.org")],
)
async def test_a_number_that_cannot_log_in(
    harness: DatacenterHarness, status: str, answers: list[str], said: str
) -> None:
    """No account is signed up (signUpRequired is an answer, not an error), and no code is sent to a banned number."""
    async with harness as dc:
        dc.set_number_status(PHONE, status)
        with pytest.raises(LoginFailed, match=said):
            await log_in(newcomer(harness), ScriptedAnswers(answers))
        assert files(harness) == []


async def at_telegram(harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch) -> TelegramConnector:
    """Return a connector without a datacenter of its own: it begins where Telethon does, and may be sent elsewhere."""
    await harness.dc.open_dc(4)
    monkeypatch.setattr(TelegramClient, "_config", None)  # Telethon keeps the first one for the whole process
    monkeypatch.setattr(telegrambaseclient, "DEFAULT_IPV4_IP", "127.0.0.1")
    monkeypatch.setattr(telegrambaseclient, "DEFAULT_PORT", harness.dc.port)
    return TelegramConnector(session=harness.directory / "new.session", api_id=1, api_hash="0" * 32)


async def test_phone_migrate_is_followed(harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of another datacenter logs in there, and its session says so."""
    async with harness:
        account = await at_telegram(harness, monkeypatch)
        await log_in(account, ScriptedAnswers([CODE_THERE]), ByCode(THERE))
        assert stored_address(account.session) == (4, "127.0.0.1", await harness.dc.open_dc(4))
        assert await connects(account)


async def test_a_qr_code_is_followed_to_the_account(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LoginTokenMigrateTo, and there the second step."""
    async with harness as dc:
        account = await at_telegram(harness, monkeypatch)
        await dc.set_password(THERE, "correct horse")
        await log_in(account, ScriptedAnswers(["correct horse"], shown=partial(dc.accept_token, THERE)), ByQr())
        assert await connects(account)


async def test_a_bot_is_followed_home(harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """USER_MIGRATE is followed, too."""
    async with harness as dc:
        account = await at_telegram(harness, monkeypatch)
        dc.make_bot(BOT, 4)
        await log_in(account, ScriptedAnswers(), AsBot(BOT))
        assert await connects(account)


async def test_an_account_of_another_datacenter_than_the_configs_is_refused(
    harness: DatacenterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A config that names a datacenter of its own cannot hold an account of another."""
    async with harness:
        await at_telegram(harness, monkeypatch)
        with pytest.raises(LoginFailed, match="lives in datacenter 4, and telegram"):
            await log_in(newcomer(harness), ScriptedAnswers([CODE_THERE]), ByCode(THERE))
        assert files(harness) == []


async def test_auth_restart_begins_anew(harness: DatacenterHarness) -> None:
    """AUTH_RESTART is asked again at once."""
    async with harness as dc:
        await dc.inject(Fault(FaultKind.RPC_ERROR, code=500, text="AUTH_RESTART", request="auth.sendCode", times=1))
        account, person = newcomer(harness), ScriptedAnswers([CODE])
        await log_in(account, person)
        assert dc.stats()["requests"]["auth.sendCode"] == 2
        assert person.heard.count("phone") == 0
        assert await connects(account)


async def test_a_link_that_breaks_while_the_code_is_awaited(harness: DatacenterHarness) -> None:
    """The login goes on, on a new connection with the same key."""
    async with harness as dc:

        async def slowly() -> str:
            await dc.inject(Fault(FaultKind.CLOSE))
            await _until(lambda: dc.stats()["connections"] == 0)
            return CODE

        account = newcomer(harness)
        await log_in(account, ScriptedAnswers([slowly]))
        assert dc.stats()["keys_made"] == 1
        assert await connects(account)


async def test_an_unreachable_datacenter_is_one_sentence(harness: DatacenterHarness) -> None:
    """A refused port says so, and leaves nothing."""
    async with harness as dc:
        await dc.inject(Fault(FaultKind.REFUSE, duration=60))
        with pytest.raises(LoginFailed, match="connection refused; see that the datacenter can be reached"):
            await log_in(newcomer(harness), ScriptedAnswers())
        assert files(harness) == []


async def _until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(TIMEOUT):
        while not holds():
            await anyio.sleep(0.01)
