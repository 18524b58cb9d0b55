"""What a good config means."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sandbox import FaultKind
from adapters.sandbox.faults.kinds import FAULT_RULES
from adapters.sandbox.store.channels import ACCOUNT_USERNAME, USERNAME
from engine.config import (
    Chaos,
    DatacenterConfig,
    Group,
    ProxyConfig,
    SandboxConfig,
    ScenarioStep,
    Scheme,
    StepCommand,
    Telegram,
    load,
    parse_duration,
)
from states.schedules import Backoff, FileBackoff, Policy, Then
from tests.engine.config.texts import API_HASH, HEAD, ONE, PEM, PHONE, SANDBOX, Load


def test_the_smallest_config_has_the_documented_defaults(good: Load, tmp_path: Path) -> None:
    """Two sections are enough; all else has its default."""
    config = good(HEAD + ONE)
    assert config.path == tmp_path / "config.yaml"
    assert config.telegram == Telegram(api_id=777, api_hash=API_HASH, datacenter=None)
    assert config.states == Policy()
    assert (config.fleet.connects_at_once, config.fleet.stagger) == (32, 0.1)
    assert config.storage.directory == (tmp_path / "data").resolve()
    assert config.sandbox.scenario == ()
    assert config.accounts[0].phone is None
    assert config.accounts[0].proxy == ()


def test_loading_creates_nothing(good: Load, tmp_path: Path) -> None:
    """Neither the data directory nor a session file appears."""
    good(HEAD + ONE)
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]


def test_the_example_of_the_design_is_the_default_policy(good: Load) -> None:
    """Every number that the documentation writes out equals the built-in one."""
    long = "{first: 10s, factor: 2, cap: 120s, jitter: 0.2, tries: 5, then: keep_trying}"
    policy = f"""
      connecting:    {{patience: [60s, 75s, 90s]}}
      healthy:       {{probe_every: 20s, prove_every: 60s, stable_after: 60s}}
      reconnecting:  {{patience: [60s, 75s, 90s]}}
      timeout:       {{patience: [10s, 20s]}}
      backoff:
        network:  {long}
        server:   {long}
        database: {{first: 5s, factor: 1, cap: 5s, jitter: 0, alert_after: 30s}}
        flood:    {{slack: 1s}}
      shutting_down: {{grace: 15s}}
    """
    assert good(f"{HEAD}{ONE}states: {policy}").states == Policy()


@pytest.mark.parametrize("section", ["storage", "states", "fleet", "logging", "sandbox"])
def test_an_optional_section_with_nothing_in_it_is_as_if_left_out(good: Load, section: str) -> None:
    """A section whose lines are commented out and whose head is left is an empty one."""
    assert good(f"{HEAD}{ONE}{section}:\n  # nothing\n") == good(HEAD + ONE)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("database", "{first: 3s}", FileBackoff(first=3, factor=1, cap=5, jitter=0, alert_after=30)),
        ("database", "{alert_after: 2m}", FileBackoff(first=5, factor=1, cap=5, jitter=0, alert_after=120)),
        ("transport_flood", "{factor: 3}", Backoff(first=30, factor=3, cap=900)),
        ("auth_key", "", Backoff(first=5, cap=900)),
        ("network", "{tries: 2, then: park}", Backoff(tries=2, then=Then.PARK)),
    ],
)
def test_a_partial_back_off_keeps_its_own_defaults(good: Load, name: str, given: str, expected: Backoff) -> None:
    """What is left out comes from the same schedule, not from the general one."""
    assert getattr(good(f"{HEAD}{ONE}states: {{backoff: {{{name}: {given}}}}}").states.backoff, name) == expected


def test_a_partial_state_keeps_its_defaults(good: Load) -> None:
    """A state may set one number of three."""
    health = good(f"{HEAD}{ONE}states: {{healthy: {{prove_every: 5m}}}}").states.healthy
    assert (health.probe_every, health.prove_every, health.stable_after) == (20, 300, 60)


def test_paths_start_at_the_config_file(good: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the working directory; absolute ones stay, and the home is expanded."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    accounts = (
        f"accounts: [{{name: A, session: s/a}}, {{name: B, session: {tmp_path}/b.session}}, {{name: C, session: ~/c}}]"
    )
    config = good(f"{HEAD}{accounts}\nstorage: {{directory: ~/d}}")
    root = tmp_path.resolve()
    wanted = [root / "s/a.session", root / "b.session", root / "home/c.session"]
    assert [account.session for account in config.accounts] == wanted
    assert config.storage.directory == root / "home/d"


def test_the_sandbox_is_a_datacenter_of_its_own(good: Load) -> None:
    """The word sandbox is a value that ``match`` can tell from the others."""
    assert good(SANDBOX + ONE).telegram.datacenter == SandboxConfig()


def test_a_datacenter_keeps_the_text_of_its_key(good: Load, tmp_path: Path) -> None:
    """The key is read at once, from a path beside the config."""
    (tmp_path / "dc.pem").write_text(PEM)
    text = HEAD.replace("}", ", datacenter: {id: 2, host: 127.0.0.1, port: 4430, public_key: dc.pem}}")
    wanted = DatacenterConfig(id=2, host="127.0.0.1", port=4430, public_key=PEM)
    assert good(text + ONE).telegram.datacenter == wanted


def test_a_scenario_is_read(good: Load) -> None:
    """Each kind of step has what it needs, in the order of the file."""
    one = f'accounts: [{{name: A, session: a, phone: "{PHONE}"}}]\n'
    refuse, message = "{at: 1m, do: refuse, for: 10, account: A}", "{at: 2m, do: message, account: A, text: hello}"
    steps = f"[{{at: 5s, do: reset}}, {refuse}, {message}]"
    assert good(f"{SANDBOX}{one}sandbox: {{scenario: {steps}}}").sandbox.scenario == (
        ScenarioStep(at=5.0, do=FaultKind.RESET),
        ScenarioStep(at=60.0, do=FaultKind.REFUSE, account="A", duration=10.0),
        ScenarioStep(at=120.0, do=StepCommand.MESSAGE, account="A", text="hello"),
    )


@pytest.mark.parametrize(
    ("step", "meant"),
    [
        ("do: reset, times: 3", {"do": FaultKind.RESET, "times": 3}),
        ("do: close, for: 2s", {"do": FaultKind.CLOSE, "duration": 2.0}),
        ("do: syn_drop, for: 2s", {"do": FaultKind.SYN_DROP, "duration": 2.0}),
        ("do: slow, for: 5s, seconds: 500ms", {"do": FaultKind.SLOW, "duration": 5.0, "seconds": 0.5}),
        ("do: revoke", {"do": FaultKind.REVOKE}),
        ("do: duplicate", {"do": FaultKind.DUPLICATE}),
        ("do: forget_key", {"do": FaultKind.FORGET_KEY}),
        ("do: bad_salt", {"do": FaultKind.BAD_SALT}),
        ("do: transport_error, code: -404, times: 2", {"do": FaultKind.TRANSPORT_ERROR, "code": -404, "times": 2}),
        (
            "do: clock_offset, for: 5s, seconds: -400s",
            {"do": FaultKind.CLOCK_OFFSET, "duration": 5.0, "seconds": -400.0},
        ),
        ("do: clock_offset, for: 5s, seconds: -1.5", {"do": FaultKind.CLOCK_OFFSET, "duration": 5.0, "seconds": -1.5}),
        (
            "do: rpc_error, code: -503, text: Timeout, request: 'updates.*'",
            {"do": FaultKind.RPC_ERROR, "code": -503, "text": "Timeout", "request": "updates.*"},
        ),
    ],
)
def test_each_fault_is_read_with_its_keys(good: Load, step: str, meant: dict[str, Any]) -> None:
    """What is left out is None, and the sandbox has its own idea of it."""
    (read,) = good(f"{SANDBOX}{ONE}sandbox: {{scenario: [{{at: 1s, {step}}}]}}").sandbox.scenario
    assert read == ScenarioStep(at=1.0, **meant)


@pytest.mark.parametrize("kind", list(FaultKind))
def test_each_fault_of_the_sandbox_is_a_step(good: Load, kind: FaultKind) -> None:
    """The config takes every fault that the sandbox has, with the keys that its rule requires."""
    rule = FAULT_RULES[kind]
    given = {"code": rule.codes[0] if rule.codes else 420, "text": (*rule.texts, "INTERNAL")[0], "seconds": "1s"}
    keys = "".join(f", {key}: {given[key]}" for key in rule.required)
    (step,) = good(f"{SANDBOX}{ONE}sandbox: {{scenario: [{{at: 1s, do: {kind}, for: 5s{keys}}}]}}").sandbox.scenario
    assert step.do is kind


@pytest.mark.parametrize(
    ("section", "seed", "duration"),
    [("{scenario: chaos}", None, 120.0), ("{scenario: chaos, seed: 7, for: 5m}", 7, 300.0)],
)
def test_chaos_is_a_word(good: Load, section: str, seed: int | None, duration: float) -> None:
    """Seed and time may be left out."""
    one = f'accounts: [{{name: A, session: a, phone: "{PHONE}"}}]\n'
    sandbox = good(f"{SANDBOX}{one}sandbox: {section}").sandbox
    assert (sandbox.scenario, sandbox.seed, sandbox.duration) == (Chaos(), seed, duration)


def test_groups_are_read(good: Load) -> None:
    """A group has its name for a title and no messages, unless the config says otherwise."""
    groups = "[{name: holdfast_news, title: News of the day, messages: 3000}, {name: talk}]"
    assert good(f"{SANDBOX}{ONE}sandbox: {{groups: {groups}}}").sandbox.groups == (
        Group(name="holdfast_news", title="News of the day", messages=3000),
        Group(name="talk", title="talk", messages=0),
    )


@given(st.from_regex(r"[a-zA-Z0-9_ü-]{2,34}|user[0-9]*|Bot[0-9]*_bot[0-9]*", fullmatch=True))
def test_the_config_and_the_sandbox_take_the_same_names(name: str) -> None:
    """The two rules are apart, because the config knows no adapter; they must not say different things."""
    taken = USERNAME.fullmatch(name) is not None and ACCOUNT_USERNAME.fullmatch(name) is None
    try:
        Group(name=name)
    except ValueError:
        assert not taken
    else:
        assert taken


def test_anchors_and_merges_work(good: Load) -> None:
    """Two schedules can share their numbers; an own key comes before a merged one."""
    text = "states: {backoff: {network: &n {tries: 7, factor: 3}, server: *n, unexpected: {<<: *n, tries: 9}}}"
    backoff = good(f"{HEAD}{ONE}{text}").states.backoff
    assert backoff.network == backoff.server == Backoff(tries=7, factor=3)
    assert backoff.unexpected == Backoff(tries=9, factor=3)


def test_the_environment_is_read(good: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a whole value, inside a longer one, as a number; ``$${`` stays a plain ``${``."""
    monkeypatch.setenv("HF_ID", "77")
    monkeypatch.setenv("HF_NAME", "Bo${HF_ID}")
    config = good(
        f"telegram: {{api_id: '${{HF_ID}}', api_hash: {API_HASH}}}\naccounts:\n- name: x ${{HF_NAME}} $${{Y}}\n"
        "  session: s/${HF_ID}\nfleet: {stagger: '${HF_ID}ms', connects_at_once: '${HF_ID}'}"
    )
    assert (config.telegram.api_id, config.fleet.connects_at_once, config.fleet.stagger) == (77, 77, 0.077)
    assert config.accounts[0].name == "x Bo${HF_ID} ${Y}"
    assert type(config.accounts[0].name) is str
    assert config.accounts[0].session == tmp_path.resolve() / "s/77.session"


@pytest.mark.parametrize(
    ("text", "proxy", "shown"),
    [
        ("socks5://host:1080", ProxyConfig(scheme=Scheme.SOCKS5, host="host", port=1080), "socks5://host:1080"),
        (
            "socks5://us%20er:p%40ss%3a%25@host:1080/",
            ProxyConfig(scheme=Scheme.SOCKS5, host="host", port=1080, user="us er", password="p@ss:%"),
            "socks5://host:1080",
        ),
        (
            "socks5://user:a@b:c/d@[::1]:1080",
            ProxyConfig(scheme=Scheme.SOCKS5, host="::1", port=1080, user="user", password="a@b:c/d"),
            "socks5://[::1]:1080",
        ),
        ("socks4://user@1.2.3.4:9", ProxyConfig(scheme=Scheme.SOCKS4, host="1.2.3.4", port=9, user="user"), "socks4://1.2.3.4:9"),
        (
            "http://user@host.example:3128",
            ProxyConfig(scheme=Scheme.HTTP, host="host.example", port=3128, user="user", password=""),
            "http://host.example:3128",
        ),
        *[
            (f"mtproxy://{text}@host:443", ProxyConfig(scheme=Scheme.MTPROXY, host="host", port=443, secret=secret), "mtproxy://host:443")
            for text, secret in (
                ("0123456789ABCDEF0123456789abcdef", bytes.fromhex(API_HASH)),
                (f"dd{API_HASH}", b"\xdd" + bytes.fromhex(API_HASH)),
                (f"ee{API_HASH[2:]}", b"\xee" + bytes.fromhex(API_HASH[2:])),
                ("3QEjRWeJq83vASNFZ4mrze8", b"\xdd" + bytes.fromhex(API_HASH)),
            )
        ],
    ],
)  # fmt: skip
def test_a_proxy_is_read(good: Load, text: str, proxy: ProxyConfig, shown: str) -> None:
    """Percent-encoding, brackets, and the forms that a secret of an MTProxy has; its text has no secret."""
    account = good(f"{HEAD}accounts: [{{name: A, session: a, proxy: '{text}'}}]").accounts[0]
    assert account.proxy == (proxy,)
    assert str(account.proxy[0]) == shown


def test_a_list_of_proxies_keeps_its_order(good: Load) -> None:
    """``direct`` is an entry like the others, and one without a list is a list of one."""
    one = ProxyConfig(scheme=Scheme.HTTP, host="host", port=1)
    text = "accounts: [{name: A, session: a, proxy: ['http://host:1', direct]}, {name: B, session: b, proxy: direct}]"
    assert [account.proxy for account in good(HEAD + text).accounts] == [(one, None), (None,)]


def test_a_proxy_s_login_comes_from_the_environment(good: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the config can be shown to others."""
    monkeypatch.setenv("HF_PASSWORD", "p%40ss")
    text = "accounts: [{name: A, session: a, proxy: 'http://user:${HF_PASSWORD}@host:1'}]"
    (proxy,) = good(HEAD + text).accounts[0].proxy
    assert proxy is not None
    assert proxy.password == "p@ss"


def test_an_account_is_found_by_name(good: Load) -> None:
    """The right one of two."""
    assert (
        good(HEAD + "accounts: [{name: A, session: a}, {name: B, session: b}]").account("B").session.name == "b.session"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    list(
        zip(
            ["10s", "100ms", "9ms", "5m", "2h", "1d", "1h30m", "1d2h3m4s5ms", "30", "1.5", "1.5h", "0s"],
            [10, 0.1, 0.009, 300, 7200, 86400, 5400, 93784.005, 30, 1.5, 5400, 0],
            strict=True,
        )
    ),
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    """Every unit, alone and together, and the plain number."""
    assert parse_duration(text) == seconds


@given(st.integers(min_value=0, max_value=36_500 * 86_400_000))
def test_a_formatted_duration_is_parsed_to_the_same(milliseconds: int) -> None:
    """Writing a duration with units and reading it gives the same seconds, to the last bit."""
    rest, text = milliseconds, ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    assert parse_duration(text or "0ms") == milliseconds / 1000


def test_a_wildcard_stands_for_every_session_that_fits(tmp_path: Path) -> None:
    """A directory of session files is a fleet, each account called as its file; the other entries keep their places."""
    given = tmp_path / "given"
    given.mkdir()
    for name in ("shop", "news 1", "news 2"):
        (given / f"{name}.session").touch()
    (given / "notes.txt").touch()
    path = tmp_path / "config.yaml"
    path.write_text(
        "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\n"
        "accounts:\n- session: given/*\n- {name: Own, session: own}\n"
    )
    accounts = load(path).accounts
    assert [account.name for account in accounts] == ["news 1", "Own", "news 2", "shop"]
    assert accounts[0].session == given / "news 1.session"


def test_brackets_are_brackets(tmp_path: Path) -> None:
    """Only ``*`` and ``?`` stand for others: a directory or a session with brackets in its name is found as it is."""
    folder = tmp_path / "[prod]"
    (folder / "[old]").mkdir(parents=True)
    (folder / "[old]" / "a.session").touch()
    path = folder / "config.yaml"
    path.write_text(
        "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\n"
        "accounts:\n- session: '[old]/*'\n- {name: B, session: 'b [1]'}\n"
    )
    accounts = load(path).accounts
    assert [account.session for account in accounts] == [folder / "[old]" / "a.session", folder / "b [1].session"]


@pytest.mark.parametrize("storage", ["", "storage: {directory: kept}\n"])
def test_backups_are_no_accounts(tmp_path: Path, storage: str) -> None:
    """``**`` goes through all directories, but a copy of a session is not run beside it: that would end both."""
    for name in ("s/a.session", f"{'kept' if storage else 'data'}/backups/a-20260101T000000Z.session"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    path = tmp_path / "config.yaml"
    path.write_text(
        "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\n"
        f"{storage}accounts:\n- session: '**/*.session'\n"
    )
    assert [account.name for account in load(path).accounts] == ["a"]
