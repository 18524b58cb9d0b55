"""A login as text in the place of a name is refused in a sentence that does not have it."""

import base64
import random
import struct
from pathlib import Path

import pytest

from adapters.file_names import MAX_NAME_BYTES, is_string_session, name_problem
from adapters.session.backup import set_aside
from engine import HoldfastSession, NotASession
from engine.cli import command_line
from engine.config import AccountConfig, ConfigError, load
from tests.engine.config.texts import API_HASH, BOT_TOKEN, HEAD, Problems

_random = random.Random(3)
KEY = _random.randbytes(256)


def _encoded(form: str, *values: object) -> str:
    return base64.urlsafe_b64encode(struct.pack(form, *values)).decode()


TELETHON = "1" + _encoded(">B4sH256s", 2, bytes([149, 154, 167, 51]), 443, KEY)
STRINGS = {
    "telethon": TELETHON,
    "telethon ipv6": "1" + _encoded(">B16sH256s", 2, _random.randbytes(16), 443, KEY),
    "pyrogram 1": _encoded(">B?256sI?", 2, False, KEY, 777, False).rstrip("="),
    "pyrogram 2": _encoded(">BI?256sQ?", 2, 777, False, KEY, 777, False).rstrip("="),
    "gramjs": "1" + base64.b64encode(b"\x02\x00\x0e149.154.167.91\x01\xbb" + KEY).decode(),
    "hex": KEY.hex(),
    "in quotes": f'"{TELETHON}"',
    "in a directory": f"sessions/{TELETHON}",
    "with extension": f"{TELETHON}.session",
    "in two lines": f"{TELETHON[:200]} {TELETHON[200:]}",
    "the half of one": TELETHON[:170],
    "after its name": f"SESSION={TELETHON}",
}
NAMES = (
    *(
        "account1",
        "+4915112345678",
        "3f2a9b0c" * 8,
        "a.b c-d_e",
        "Ä" * 100,
        "/srv/Sessions/North East/Account 1.session",
    ),
    *(
        "MyCompanyMarketingAccountNumber1ForGermany2024Backup",
        "/home/x/" + "Team1/" * 80 + "a",
        "News [1]",
        "名前" * 30,
    ),
)


@pytest.mark.parametrize("text", STRINGS.values(), ids=STRINGS)
def test_a_config_with_a_login_as_its_session_is_refused_without_it(bad: Problems, text: str) -> None:
    """The loader names the place and the way out, and quotes nothing of what is written there."""
    (problem,) = bad(f"{HEAD}accounts:\n- name: A\n  session: '{text}'\n")
    assert problem.startswith("config.yaml:4: accounts[0].session: "), problem
    assert "session import" in problem
    assert len(problem) < 300
    assert not [start for start in range(0, len(text) - 16, 8) if text[start : start + 16] in problem]


@pytest.mark.parametrize("text", STRINGS.values(), ids=STRINGS)
def test_a_program_that_names_a_login_gets_one_sentence(tmp_path: Path, text: str) -> None:
    """``HoldfastSession`` and ``AccountConfig`` refuse it, and create nothing."""
    for make in (
        lambda: HoldfastSession(tmp_path / text),
        lambda: HoldfastSession(text),
        lambda: AccountConfig(name="A", session=Path(text)),
    ):
        with pytest.raises((NotASession, ValueError)) as caught:
            make()
        assert "session import" in str(caught.value)
        assert text[8:40] not in repr(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_people_give_is_no_secret(name: str) -> None:
    """Phone numbers, digests, words written together and deep paths stay possible."""
    assert name_problem(name) is None


@pytest.mark.parametrize("name", ["x" * 300, "ü" * 130, "x" * 221, "d/" * 3000 + "a", "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    """Bytes count, not characters, and the names of the companions have to fit as well."""
    assert name_problem(name) is not None
    assert len(str(name_problem(name))) < 250


def test_the_longest_name_serves_in_full(tmp_path: Path) -> None:
    """A session with the longest name that is allowed can be made, written, and set aside."""
    path = tmp_path / ("ü" * ((MAX_NAME_BYTES - 8) // 2) + ".session")
    session = HoldfastSession(path)
    session.set_dc(2, "127.0.0.1", 443)
    session.close()
    assert set_aside(path).exists()


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("storage: {directory: %s}\n", TELETHON),
        ("storage: {directory: %s}\n", "d" * 300),
        ("storage: {directory: '%s'}\n", BOT_TOKEN),
        ("storage: {directory: '%s'}\n", "socks5://user:TheSecretOfTheProxy@h:1"),
        ("accounts: [{name: '%s', session: a}]\n", BOT_TOKEN),
        ("accounts: [{name: A, session: '%s'}]\n", BOT_TOKEN),
        ("accounts: [{name: A, session: '%s'}]\n", "socks5://user:TheSecretOfTheProxy@h:1"),
        ("accounts: [{name: A, session: a, proxy: '%s'}]\n", TELETHON),
        ("accounts: [{name: A, session: a, bot_token: '%s'}]\n", TELETHON),
        ("accounts: [{name: A, session: a, phone: '%s'}]\n", TELETHON),
        ("logging: {format: '%s'}\n", TELETHON),
        ("logging: {levels: {a: '%s'}}\n", TELETHON),
        ("work: {modules: ['%s']}\n", TELETHON),
        ("TELEGRAM_HASH", TELETHON),
        ("TELEGRAM_KEY", TELETHON),
        ("TELEGRAM_KEY", API_HASH),
        ("TELEGRAM_HOST", TELETHON),
        ("TELEGRAM_HOST", BOT_TOKEN),
    ],
)
def test_no_other_key_echoes_a_misplaced_secret(bad: Problems, where: str, text: str) -> None:
    """Whatever key a secret was pasted under, it is refused there, and the error does not have it."""
    parts = {"telegram": HEAD, "accounts": "accounts: [{name: A, session: a}]\n"}
    datacenter = {"id": "2", "host": "h", "port": "1", "public_key": "dc.pem"}
    match where.removeprefix("TELEGRAM_"):
        case "HASH":
            parts["telegram"] = HEAD.replace(API_HASH, text)
        case "KEY" | "HOST" as name:
            datacenter["public_key" if name == "KEY" else "host"] = f"'{text}'"
            inner = ", ".join(f"{key}: {value}" for key, value in datacenter.items())
            parts["telegram"] = HEAD.replace("}", f", datacenter: {{{inner}}}}}")
        case _:
            parts[where.partition(":")[0]] = where % text
    said = " ".join(bad("".join(parts.values())))
    assert text[8:32] not in said


@pytest.mark.parametrize(
    "words",
    [
        ("run", TELETHON),
        ("doctor", "config.yaml", TELETHON),
        ("login", "config.yaml", TELETHON),
        ("login", TELETHON, "A"),
        ("session", "backup", "config.yaml", TELETHON),
        ("session", "restore", "config.yaml", "A", "--from", TELETHON),
        ("status", "config.yaml", TELETHON),
        (TELETHON,),
        ("log", "explain", TELETHON),
    ],
)
def test_no_command_repeats_a_login_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """A login on the command line, in whatever place, is not written to the terminal and the scrollback once more."""
    (tmp_path / "config.yaml").write_text(f"{HEAD}accounts: [{{name: A, session: a}}]\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exited:
        command_line("holdfast")(words)
    said = "".join(capfd.readouterr())
    assert exited.value.code in (1, 2)
    assert said
    assert not [start for start in range(0, len(TELETHON) - 16, 8) if TELETHON[start : start + 16] in said]


def test_a_loader_error_names_no_secret_path(tmp_path: Path) -> None:
    """A program that loads a login in place of a config gets a sentence that can be shown."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / TELETHON)
    assert is_string_session(TELETHON)
    assert TELETHON[8:40] not in str(caught.value)
