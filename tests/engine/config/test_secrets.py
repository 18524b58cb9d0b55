"""No secret is ever in what the loader says, whatever it was given."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config import (
    ConfigError,
    load,
)
from engine.config.difference import difference
from tests.engine.config.texts import (
    API_HASH,
    BOT_TOKEN,
    HEAD,
    ONE,
    PEM,
    PHONE,
    PROXY_PASSWORD,
    PROXY_SECRET,
    SECRETS,
    Load,
    Problems,
    shown,
)

FULL: dict[str, Any] = {
    "telegram": {"api_id": 5, "api_hash": API_HASH, "datacenter": {"id": 2, "host": "h", "port": 1, "public_key": PEM}},
    "accounts": [
        {"name": "A", "session": "a", "phone": PHONE, "proxy": f"http://user:{PROXY_PASSWORD}@h:1"},
        {"name": "C", "session": "c", "bot_token": BOT_TOKEN},
        {"name": "B", "session": "b", "phone": int(PHONE), "proxy": [f"mtproxy://{PROXY_SECRET}@h:1", PROXY_SECRET]},
    ],
    "states": {"backoff": {"server": {"first": "${HF_TOKEN}", "then": "${HF_TOKEN}"}}, "timeout": {"patience": [1]}},
    "sandbox": {
        "scenario": [{"at": "1s", "do": "${HF_TOKEN}", "for": "x${HF_TOKEN}"}],
        "groups": [{"name": "-${HF_TOKEN}", "title": "\t${HF_TOKEN}", "messages": "${HF_TOKEN}"}],
    },
}

PLACES = (
    *("telegram", "telegram.api_id", "telegram.datacenter", "accounts", "fleet.stagger", "fleet.connects_at_once"),
    *("storage.directory", "states", "states.backoff", "states.backoff.server", "sandbox.scenario"),
    *("sandbox.groups", "sandbox.groups.title"),
)


def test_no_repr_shows_a_secret(good: Load, tmp_path: Path) -> None:
    """A config in a log line or a traceback gives nothing away."""
    (tmp_path / "dc.pem").write_text(PEM)
    text = HEAD.replace("}", ", datacenter: {id: 2, host: h, port: 1, public_key: dc.pem}}")
    proxy = f"[socks5://user:{PROXY_PASSWORD}@h:1, mtproxy://{PROXY_SECRET}@h:2]"
    config = good(f'{text}accounts: [{{name: A, session: a, phone: "{PHONE}", proxy: {proxy}}}]')
    assert config.accounts[0].phone == PHONE
    assert repr(config) == "<Config config.yaml: 1 account>"
    assert [str(one) for one in config.accounts[0].proxy] == ["socks5://h:1", "mtproxy://h:2"]
    assert not [secret for secret in SECRETS if secret in shown(config) or secret in str(config.telegram)]


def test_what_may_be_a_secret_is_quoted_nowhere(bad: Problems) -> None:
    """A phone number that slipped to another key, or became a key, is not repeated."""
    problems = bad(f"{HEAD}{ONE}fleet: {{stagger: '{PHONE}'}}\n'{PHONE}': 1\n{API_HASH}: 1")
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["config.yaml:3", "fleet.stagger"],
        ["config.yaml:4", "…"],
        ["config.yaml:5", "…"],
    ]
    assert not [secret for secret in SECRETS if secret in str(problems)]


def test_the_password_of_a_database_is_shown_nowhere(
    good: Load, bad: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes from the environment; no repr, no problem with the address and no difference repeats it."""
    monkeypatch.setenv("DATABASE_PASSWORD", PROXY_PASSWORD)
    config = good(HEAD + ONE + "storage: {database: 'postgresql://u:${DATABASE_PASSWORD}@a,b/holdfast'}")
    assert config.storage.database == f"postgresql://u:{PROXY_PASSWORD}@a,b/holdfast"
    assert PROXY_PASSWORD not in shown(config)
    found = difference(good(HEAD + ONE), config)
    assert PROXY_PASSWORD not in repr(found) + str(found.as_json())
    (wrong,) = bad(HEAD + ONE + "storage: {database: 'postgresql://u:${DATABASE_PASSWORD} @a/holdfast'}")
    assert "storage.database" in wrong
    assert PROXY_PASSWORD not in wrong


def test_a_bot_token_is_shown_nowhere(good: Load, bad: Problems, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes from the environment or the file; neither a repr nor a problem with it repeats it."""
    monkeypatch.setenv("BOT_TOKEN", BOT_TOKEN)
    config = good(HEAD + "accounts: [{name: A, session: a, bot_token: '${BOT_TOKEN}'}]")
    assert config.accounts[0].bot_token == BOT_TOKEN
    assert BOT_TOKEN not in shown(config)
    (wrong,) = bad(HEAD + f"accounts: [{{name: A, session: a, bot_token: '{BOT_TOKEN} '}}]")
    assert "accounts[0].bot_token: must be a number, a colon and a key; copy it from @BotFather" in wrong
    (both,) = bad(HEAD + f"accounts: [{{name: A, session: a, bot_token: '{BOT_TOKEN}', phone: '{PHONE}'}}]")
    assert "remove one of the two" in both
    assert not [secret for secret in SECRETS if secret in wrong + both]


@pytest.mark.parametrize("text", ["socks5://u:secret@h:1", "http://h:1", "u:secret@h:1", "secret@h:1"])
def test_a_url_in_a_wrong_place_is_not_quoted(bad: Problems, text: str) -> None:
    """Where a URL or its end slipped to another key, or became one, the login in it is not repeated."""
    problems = bad(f"{HEAD}{ONE}fleet: {{stagger: '{text}'}}\n'{text}': 1\nstates: {{'{text}': 1}}")
    assert len(problems) == 3
    assert text not in str(problems)


@pytest.mark.parametrize("content", [b"a: \xff", b"a: [", b"a: 1"])
def test_the_error_keeps_nothing_of_the_file(tmp_path: Path, content: bytes) -> None:
    """What led to the error holds the bytes that were read; a traceback must not lead there."""
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "config.yaml")
    assert caught.value.__context__ is None


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_no_damage_to_a_config_shows_a_secret_or_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    """Take pieces away from a config or put some in: it loads, or ConfigError says why, and no secret is in it."""
    text = yaml.safe_dump(FULL, default_flow_style=data.draw(st.booleans()), sort_keys=False)
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        text = (
            text[:start]
            + data.draw(st.sampled_from(["", "[", "{", "}", ": ", "\n", "&", "*", "!", "'", "- "]))
            + text[end:]
        )
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", "SecretOfTheEnvironment")
        try:
            said = shown(load(path))
        except ConfigError as error:
            said = f"{error} {error!r} {error.__context__!r}"
    assert not [secret for secret in (*SECRETS, "SecretOfTheEnvironment") if secret in said]


@pytest.mark.slow
@given(
    place=st.sampled_from(PLACES),
    value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists) | st.dates(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
def test_no_type_anywhere_makes_a_traceback(tmp_path: Path, place: str, value: object) -> None:
    """Whatever stands at a key, ConfigError is the only way to refuse it."""
    for key in reversed(place.split(".")):
        value = {key: value}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(value), encoding="utf-8")
    with pytest.raises(ConfigError):  # at the least, something is missing
        load(tmp_path / "config.yaml")
