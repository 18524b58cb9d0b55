"""Every secret, pasted under every key of a full config: nothing that is printed, shown or logged has it."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from engine.app.telegram import connectors_of
from engine.config import Config, ConfigError, load
from engine.console.logs import LogLine
from engine.doctor import as_data, limits, session_files, storage
from tests.engine.config.texts import PEM

API_HASH = "fedcba9876543210fedcba9876543210"
TELETHON = "1BVtsOK8Bu" + "Q9kLmZx7Pw2Rt5Yb8Vn3Cd6Fg1Hj4Ks0" * 10 + "AbCdEf12GhIj"
SECRETS = {
    "api_hash": API_HASH,
    "bot_token": "7000000001:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
    "string_session": TELETHON,
    "pyrogram": "BQ" + "x7Pw2Rt5Yb8Vn3Cd6Fg1Hj4Ks0Q9kLmZ" * 10 + "AA",
    "proxy_url": "socks5://alice:Tr0ub4dor-Horse@203.0.113.7:1080",
    "proxy_login": "alice:Tr0ub4dor-Horse@203.0.113.7",
    "mtproxy_secret": "dd00112233445566778899aabbccddeeff",
    "key": PEM,
}
TELLING = {
    "api_hash": (API_HASH,), "bot_token": ("AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",), "string_session": (TELETHON[10:90],),
    "pyrogram": ("x7Pw2Rt5Yb8Vn3Cd6Fg1Hj4Ks0Q9kLmZx7Pw2Rt5Yb8",), "proxy_url": ("Tr0ub4dor",),
    "proxy_login": ("Tr0ub4dor",),
    "mtproxy_secret": ("00112233445566778899aabbccddeeff",), "key": ("MarkerOfTheKey",),
}  # fmt: skip
"""The part of each secret that must be nowhere."""

FULL: dict[str, Any] = {
    "telegram": {
        "api_id": 5,
        "api_hash": "0123456789abcdef0123456789abcdef",
        "datacenter": {"id": 2, "host": "h", "port": 1, "public_key": "dc.pem"},
    },
    "accounts": [
        {"name": "A", "session": "a", "phone": "+9996620001", "proxy": ["direct", "http://u:p@h:1"]},
        {"name": "B", "session": "b", "bot_token": "7000000002:TokenOfTheBotTokenOfTheBot"},
    ],
    "storage": {"directory": "data", "keep": "90d"},
    "states": {
        "connecting": {"patience": ["20s"]},
        "healthy": {"probe_every": "30s", "prove_every": "5m", "stable_after": "1m"},
        "backoff": {"network": {"first": "1s", "factor": 2, "cap": "1m", "jitter": 0.2}},
        "shutting_down": {"grace": "15s"},
    },
    "fleet": {"connects_at_once": 32, "stagger": "100ms"},
    "logging": {"format": "text", "levels": {"holdfast.fleet": "debug"}},
    "work": {"modules": ["jobs.py", {"module": "more.py", "accounts": ["A"]}], "per_account": 2},
}
DEMO: dict[str, Any] = {
    "telegram": {"api_id": 5, "api_hash": "0123456789abcdef0123456789abcdef", "datacenter": "sandbox"},
    "accounts": [{"name": "A", "session": "a", "phone": "+9996620001"}],
    "sandbox": {
        "duration": "1m", "seed": 7,
        "groups": [{"name": "news", "title": "News", "messages": 5}],
        "jobs": [{"kind": "collect", "data": {"chat": "@news"}, "account": "A"}],
        "scenario": [
            {"at": "1s", "do": "reset", "account": "A", "for": "1s"},
            {"at": "1s", "do": "rpc_error", "request": "GetMe", "code": 400, "text": "X_Y", "times": 1},
            {"at": "2s", "do": "message", "account": "A", "text": "Hello"},
        ],
    },
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value, also of lists and mappings, and of a key in the place of each key."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def pasted(base: dict[str, Any], path: tuple[Any, ...], secret: str, *, as_key: bool) -> dict[str, Any]:
    """Return a config with a secret in one place, as the value or as the name of the key."""
    made = copy.deepcopy(base)
    at: Any = made
    for key in path[:-1]:
        at = at[key]
    if as_key and isinstance(at, dict):
        at[secret] = at.pop(path[-1])
    else:
        at[path[-1]] = secret
    return made


def seen(config: Config) -> str:
    """Return what people see of a config: reprs of all its parts, and what log, doctor and connectors say of them."""
    parts: list[Any] = [config, *attrs.astuple(config, recurse=False), *config.accounts]
    parts += [section for each in parts if attrs.has(type(each)) for section in attrs.astuple(each, recurse=False)]
    said = [repr(part) for part in parts] + [str(proxy) for one in config.accounts for proxy in one.proxy]
    findings = [*storage.check(config, fix=False), *limits.check(config)]
    for account in config.accounts:
        findings += session_files.SessionCheck(config, account, fix=False).run()
    said += [f"{finding} {json.dumps(as_data(finding), ensure_ascii=False)}" for finding in findings]
    names = [account.name for account in config.accounts]
    said += [repr(connector) for connector in connectors_of(config, dict.fromkeys(names)).values()]
    fields = {"event": "engine_starting", "accounts": len(config.accounts), "config": str(config.path)}
    said.append(str(LogLine(fields)))
    return "\n".join(said)


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("base", [pytest.param(FULL, id="real", marks=pytest.mark.slow), pytest.param(DEMO, id="demo")])
def test_no_pasted_secret_is_repeated(tmp_path: Path, base: dict[str, Any], kind: str) -> None:
    """Whatever became of it (an error, or a config that loads), the secret is in nothing that a person sees."""
    (tmp_path / "dc.pem").write_text(PEM)
    (tmp_path / "jobs.py").write_text("")
    path, leaks, tried = tmp_path / "config.yaml", [], 0
    for place in places(base):
        for as_key in (False, True):
            path.write_text(yaml.safe_dump(pasted(base, place, SECRETS[kind], as_key=as_key)), encoding="utf-8")
            tried += 1
            try:
                said = seen(load(path))
            except ConfigError as error:
                said = f"{error} {error!r} {error.__context__!r} {error.__cause__!r}"
            if any(part in said for part in TELLING[kind]):
                line = next(line for line in said.splitlines() if any(part in line for part in TELLING[kind]))
                leaks.append(f"{'.'.join(map(str, place))} as {'key' if as_key else 'value'}: {line[:200]}")
    assert tried > 40, tried
    assert not leaks, "\n".join(leaks)
