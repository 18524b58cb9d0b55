"""What a bad config is told: every problem, by line and key, in a sentence."""

import os
from pathlib import Path
from typing import Any

import pytest

from engine.config import (
    ConfigError,
    UnknownAccount,
    load,
    parse_duration,
)
from tests.engine.config.texts import API_HASH, HEAD, KEY, ONE, Load, Problems

ACCOUNT = HEAD + "accounts: [{name: A, session: a, %s}]"

WRONG: list[tuple[str, str, str]] = [
    (HEAD.replace("777", "0") + ONE, "telegram.api_id", "from 1 to"),
    (HEAD.replace("777", "true") + ONE, "telegram.api_id", "not true or false"),
    (HEAD.replace("777", "'777'") + ONE, "telegram.api_id", "not text"),
    (HEAD.replace("777", "1.5") + ONE, "telegram.api_id", "whole number"),
    (HEAD.replace("api_id: 777, ", "") + ONE, "telegram.api_id", "is required"),
    (HEAD.replace(API_HASH, "abc") + ONE, "telegram.api_hash", "32 hex digits"),
    (HEAD.replace(API_HASH, "1" * 32) + ONE, "telegram.api_hash", "put it in quotes"),
    (HEAD.replace("}", ", datacenter: sandbx}") + ONE, "telegram.datacenter", "not 'sandbx'"),
    (HEAD.replace("}", ", datacenter: {id: 1000}}") + ONE, "telegram.datacenter.id", "from 1 to 999"),
    (HEAD.replace("}", ", datacenter: {port: 65536}}") + ONE, "telegram.datacenter.port", "from 1 to 65535"),
    (HEAD.replace("}", ", datacenter: {host: ''}}") + ONE, "telegram.datacenter.host", "host name"),
    (
        HEAD.replace("}", ", datacenter: {public_key: '-----BEGIN'}}") + ONE,
        "telegram.datacenter.public_key",
        "itself",
    ),
    (HEAD + "accounts: []", "accounts", "must have at least one entry"),
    (HEAD + "accounts: {A: a}", "accounts", "must be a list, not a mapping"),
    (HEAD + "accounts: text", "accounts", "must be a list, not text"),
    (HEAD + "accounts: [7]", "accounts[0]", "must be a mapping (key: value), not a number"),
    (HEAD + "accounts: [{name: ' A', session: a}]", "accounts[0].name", "no space at either end"),
    (HEAD + f"accounts: [{{name: {'A' * 65}, session: a}}]", "accounts[0].name", "1 to 64"),
    (HEAD + 'accounts: [{name: "\\e[31m", session: a}]', "accounts[0].name", "printable"),
    (HEAD + "accounts: [{name: 2024-01-01, session: a}]", "accounts[0].name", "not a date; put it in quotes"),
    (HEAD + "accounts: [{name: A, session: a/}]", "accounts[0].session", "not a directory"),
    (HEAD + 'accounts: [{name: A, session: "a\\0"}]', "accounts[0].session", "printable"),
    (HEAD + "accounts: [{name: A, session: ~nobody-of-this-name/a}]", "accounts[0].session", "whole path"),
    (ACCOUNT % "phone: 9996620001", "accounts[0].phone", "put the phone number in quotes"),
    *[
        (ACCOUNT % f"proxy: {proxy}", f"accounts[0].proxy{place}", said)
        for proxy, place, said in (
            ("7", "", "must be text, like socks5://user:password@host:1080"),
            ("{}", "", "not a mapping"),
            ("[]", "", "at least one proxy"),
            ("''", "", "must be direct, or begin with one of socks5://"),
            ("host:1080", "", "must be direct, or begin with one of socks5://"),
            ("'ftp://host:1080'", "", "must be direct, or begin with one of socks5://"),
            ("'https://host:1080'", "", "use one that accepts http://"),
            ("'socks5://host'", "", "must end in the proxy's port, from 1 to 65535"),
            ("'socks5://host:0'", "", "must end in the proxy's port, from 1 to 65535"),
            ("'socks5://host:65536'", "", "must end in the proxy's port, from 1 to 65535"),
            ("'socks5://host:x'", "", "must end in host:port"),
            ("'socks5://host:1080/path'", "", "must end in host:port"),
            ("'socks5://::1:1080'", "", "put an IPv6 address in brackets"),
            ("'socks5://[host]:1080'", "", "no IPv6 address in them"),
            ("'socks5://:1080'", "", "must have the name or the IP address of the proxy"),
            ("'socks5://a..b:1080'", "", "must have the name or the IP address of the proxy"),
            ("'socks5://user@host:1080'", "", "needs a password after the user"),
            ("'socks5://:password@host:1080'", "", "no user before it"),
            ("'socks5://@host:1080'", "", "no user before it"),
            ("'socks5://user:100%@host:1080'", "", "write a plain % as %25"),
            ("'socks5://user:caf\u00e9@host:1080'", "", "printable ASCII"),
            ("'socks5://user:%C3%A9@host:1080'", "", "printable ASCII"),
            ("'socks5://user:%00@host:1080'", "", "printable ASCII"),
            (f"'socks5://user:{'x' * 256}@host:1080'", "", "at most 255"),
            ("'socks4://user:password@host:1080'", "", "SOCKS4 supports only a user"),
            ("'http://us%3Aer:password@host:1080'", "", "a user without a colon"),
            ("'mtproxy://host:443'", "", "must have its secret before the @"),
            ("'mtproxy://0123@host:443'", "", "32 hex digits, or dd and 32 hex digits"),
            (f"'mtproxy://aa{API_HASH}@host:443'", "", "32 hex digits, or dd and 32 hex digits"),
            (f"'mtproxy://ee{API_HASH}6578616d706c65@host:443'", "", "fake-TLS secret"),
            ("[direct, 7]", "[1]", "must be text"),
            ("[direct, 'socks5://host']", "[1]", "must end in the proxy's port"),
        )
    ],
    (HEAD + ONE + "storage: {directory: ''}", "storage.directory", "not empty"),
    (HEAD + ONE + "fleet: {connects_at_once: 0}", "fleet.connects_at_once", "from 1 to"),
    (HEAD + ONE + "storage: {database: 5}", "storage.database", "like postgresql://"),
    (HEAD + ONE + "storage: {database: 'mysql://h/d'}", "storage.database", "like postgresql://"),
    (HEAD + ONE + "storage: {database: 'postgresql://h/d e'}", "storage.database", "is %20"),
    (HEAD + ONE + "fleet: {stagger: -1}", "fleet.stagger", "not -1"),
    (HEAD + ONE + "fleet: {stagger: .nan}", "fleet.stagger", "duration such as"),
    (HEAD + ONE + "fleet: {stagger: yes}", "fleet.stagger", "not true or false"),
    (HEAD + ONE + "path: x", "path", "unknown key"),
    (HEAD + ONE + "states: {auth_failed: {}}", "states.auth_failed", "auth_failed has no schedule"),
    (HEAD + ONE + "states: {timeout: {patience: 10s}}", "states.timeout.patience", "must be a list"),
    (HEAD + ONE + "states: {timeout: {patience: []}}", "states.timeout.patience", "at least one duration"),
    (HEAD + ONE + "states: {timeout: {patience: [1, x]}}", "states.timeout.patience[1]", "not 'x'"),
    (HEAD + ONE + "states: {backoff: {server: {then: stop}}}", "states.backoff.server.then", "keep_trying, park"),
    (HEAD + ONE + "states: {backoff: {server: {jitter: 10ms}}}", "states.backoff.server.jitter", "must be a number"),
    (HEAD + ONE + "states: {backoff: {server: {first: 200}}}", "states.backoff.server", "cap (120 s)"),
    (HEAD + ONE + "states: {backoff: {flood: {first: 1}}}", "states.backoff.flood.first", "there are: slack"),
    (HEAD + ONE + "states: {backoff: {database: {alert_after: -1}}}", "states.backoff.database.alert_after", "not -1"),
    (
        HEAD + ONE + "states: {backoff: {database: {alert_after: no}}}",
        "states.backoff.database.alert_after",
        "not true or",
    ),
    (
        HEAD + ONE + "states: {backoff: {network: {alert_after: 1}}}",
        "states.backoff.network.alert_after",
        "unknown key",
    ),
    (HEAD + ONE + "states: {shutting_down: {grace: 0}}", "states.shutting_down.grace", "grace: must be more than 0 s"),
]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n", "openssl rsa -pubin"),
        ("-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n", "holds no 'BEGIN RSA PUBLIC KEY'"),
    ],
)
def test_a_bad_key_file_is_explained(bad: Problems, tmp_path: Path, content: str | None, said: str) -> None:
    """A missing file and a key of another form are told apart."""
    if content is not None:
        (tmp_path / "dc.pem").write_text(content)
    text = HEAD.replace("}", ", datacenter: {id: 2, host: h, port: 1, public_key: dc.pem}}")
    (problem,) = bad(text + ONE)
    assert problem.startswith("config.yaml:1: telegram.datacenter.public_key: ")
    assert said in problem


@pytest.mark.parametrize(("text", "key", "said"), WRONG, ids=[f"{key}-{said}" for _, key, said in WRONG])
def test_a_wrong_value_is_named_by_line_and_key(bad: Problems, text: str, key: str, said: str) -> None:
    """Every rule about one value says where it was broken and what would be right."""
    matching = [problem for problem in bad(text) if problem.split(": ")[1] == key]
    assert len(matching) == 1
    assert matching[0].startswith("config.yaml:")
    assert said in matching[0]


def test_every_problem_is_said_at_once(bad: Problems) -> None:
    """All mistakes are reported at once, in the order of the file, each with its line and key path."""
    problems = bad(
        "telegram:\n  api_id: x\n  api_hash: y\naccounts:\n- name: A\n  sesion: a\n- {name: A, session: 5}\n"
        "states:\n  backoff:\n    server:\n      first: 0\n      factor: 0\n      tries: 0\nflet: {}\n"
    )
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["config.yaml:2", "telegram.api_id"],
        ["config.yaml:3", "telegram.api_hash"],
        ["config.yaml:5", "accounts[0].session"],
        ["config.yaml:6", "accounts[0].sesion"],
        ["config.yaml:7", "accounts[1].session"],
        ["config.yaml:7", "accounts[1].name"],
        ["config.yaml:11", "states.backoff.server.first"],
        ["config.yaml:12", "states.backoff.server.factor"],
        ["config.yaml:13", "states.backoff.server.tries"],
        ["config.yaml:14", "flet"],
    ]


def test_an_unknown_key_gets_a_suggestion(bad: Problems) -> None:
    """A slip of the finger is recognised."""
    assert "config.yaml:2: accounts[0].phne: unknown key; did you mean 'phone'?" in bad(
        ACCOUNT.replace("%s", "phne: x")
    )


def test_the_error_reads_as_one_text(tmp_path: Path) -> None:
    """The exception's text names the file and all the problems."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'none.yaml'} cannot be used; fix this and try again:\n  ")
    assert caught.value.problems == ["there is no such file; give the path of the config, or write one there"]


def test_equal_names_are_an_error_that_names_both(bad: Problems) -> None:
    """Commands address an account by its name."""
    (problem,) = bad(HEAD + "accounts:\n- {name: A, session: a}\n- {name: B, session: b}\n- {name: A, session: c}")
    assert problem.startswith("config.yaml:5: accounts[2].name: accounts[0] and accounts[2] have the same name ('A')")


@pytest.mark.parametrize("other", ["a.session", "./s/../a", "symbolic", "hard", "dangling"])
def test_two_accounts_on_one_session_file_are_an_error(bad: Problems, tmp_path: Path, other: str) -> None:
    """Spelling, symbolic links and hard links hide nothing."""
    if other == "dangling":  # leads to a file that does not exist yet
        (tmp_path / "dangling.session").symlink_to("a.session")
    else:
        (tmp_path / "a.session").touch()
        (tmp_path / "s").mkdir()
        (tmp_path / "symbolic.session").symlink_to("a.session")
        os.link(tmp_path / "a.session", tmp_path / "hard.session")
    (problem,) = bad(HEAD + f"accounts: [{{name: A, session: a}}, {{name: B, session: {other}}}]")
    assert "accounts[1].session: accounts[0] ('A') and accounts[1] ('B') use the same file" in problem


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"# only a comment\n", "the file is empty"),
        (b"- a\n- b\n", "must be a mapping (key: value), not a list"),
        (b"caf\xe9: 1", "config.yaml:1: the file is not UTF-8"),
        (b"a: 1\nb: [1, 2\nc: }", "config.yaml:3: this is not YAML at column 2"),
        (b"a: 1\nb: \x00", "config.yaml:2: the character U+0000 is not allowed"),
        (b"a: {b: ${C}}", "put quotes around ${NAME}"),
        (b"a: 1\n--- 2", "but found another document"),
        (b"a: !!python/object/apply:os.system [ls]", "config.yaml:1: a: this YAML tag is not accepted here"),
        (b"a: !!int x", "config.yaml:1: a: this YAML tag is not accepted here"),
        (b"a:\n\n  - 1", "config.yaml:1: a: unknown key"),
        (b"a: 2024-13-45", "config.yaml:1: a: neither a number nor a date"),
        (b"a: " + b"9" * 5000, "config.yaml:1: a: neither a number nor a date"),
        (b"a: " + b":".join([b"1"] * 9000), "config.yaml:1: a: neither a number nor a date"),
        (b"[a]: 1", "config.yaml:1: a key must be text"),
        (b"<<: 1", "config.yaml:1: '<<' must be followed by an alias"),
        (b"a: 1\nb: 2\na: 3", "config.yaml:3: a: given twice, first in line 1; keep one of them"),
        (b"a: *b", "has no finished anchor"),
        (b"a: &a [*a]", "has no finished anchor"),
        (b"[" * 100_000, "nested more than 20 levels deep"),
        (b"- " * 100_000, "nested more than 20 levels deep"),
        (b"x0: &x0 [1]\n" + b"".join(b"x%d: &x%d [*x%d]\n" % (n, n, n - 1) for n in range(1, 999)), "nested more than"),
        (
            b"x0: &x0 [1]\n" + b"".join(b"x%d: &x%d [%s]\n" % (n, n, b"*x%d," % (n - 1) * 9) for n in range(1, 9)),
            "values",
        ),
        (b"#" * (1024 * 1024 + 1), "larger than 1,048,576 bytes"),
    ],
    ids=range(24),
)
def test_a_file_that_is_not_a_config_is_explained(tmp_path: Path, content: bytes, said: str) -> None:
    """Whatever the bytes are, a sentence comes back, and soon."""
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "config.yaml")
    assert any(said in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("name", "said"), [(".", "is a directory"), ("a\0b", "cannot have this name"), ("x" * 999, "cannot be read")]
)
def test_a_path_that_is_not_a_file_is_explained(tmp_path: Path, name: str, said: str) -> None:
    """The operating system's refusal becomes a sentence."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / name)
    assert said in caught.value.problems[0]


def test_an_unreadable_file_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions cannot be taken from root, so the refusal is played."""

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "config.yaml")
    assert "cannot be read (Permission denied)" in caught.value.problems[0]


def test_an_unset_variable_is_one_problem_with_its_name(bad: Problems, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value that is not there is not complained about a second time."""
    monkeypatch.delenv("HF_NONE", raising=False)
    assert bad(HEAD.replace("777", "'${HF_NONE}'") + ONE) == [
        "config.yaml:1: telegram.api_id: the environment variable HF_NONE is not set; set it, or write the value here"
    ]


@pytest.mark.parametrize("text", ["${", "${}", "${1X}", "a ${HOME"])
def test_a_malformed_variable_is_a_problem(bad: Problems, text: str) -> None:
    """A forgotten brace does not become part of a name."""
    (problem,) = bad(f"{HEAD}accounts: [{{name: '{text}', session: a}}]")
    assert "accounts[0].name: '${' is not followed by a variable's name" in problem


def test_an_unknown_account_gets_a_suggestion(good: Load) -> None:
    """The sentence names the nearest name."""
    config = good(HEAD + "accounts: [{name: Account 1, session: a}, {name: Other, session: b}]")
    with pytest.raises(UnknownAccount, match="no account 'Acount 1'; did you mean 'Account 1'"):
        config.account("Acount 1")


@pytest.mark.parametrize(
    "text",
    ["", "s", "10 s", "-1s", "1x", "1m1h", "1s1s", "1e3", "inf", "nan", "٣s", "36501d", "9" * 500, "1S", "10s\n"],
)
def test_a_bad_duration_says_what_is_accepted(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="duration such as 10s, 100ms"):
        parse_duration(text)


def test_a_wildcard_has_its_own_mistakes(tmp_path: Path) -> None:
    """One that fits nothing, one with a key of a single account, and names that exist already: a sentence each."""
    (tmp_path / "one.session").touch()
    path = tmp_path / "config.yaml"
    path.write_text(
        "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\n"
        "accounts:\n- session: none/*.session\n- {name: A, session: o*}\n- {name: one, session: other}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    said = "\n".join(caught.value.problems)
    assert "accounts[0].session: no session file matches this wildcard" in said
    assert "accounts[1].name: belongs to one account" in said
    assert "accounts[1] and accounts[2] have the same name" in said


@pytest.mark.parametrize(
    ("files", "entry", "says"),
    [
        (["a/x", "b/x"], "{session: '*/*'}", "'a/x.session' and 'b/x.session' would be accounts of the same name"),
        (["a/" + "x" * 70], "{session: 'a/*'}", "an account is named after its file"),
        (["a/ x"], "{session: 'a/*'}", "'a/ x.session' cannot be a name"),
        ([], "{session: '~nobody-is-called-so/*'}", "no session file matches"),
    ],
)
def test_files_that_make_no_names_are_named(tmp_path: Path, files: list[str], entry: str, says: str) -> None:
    """What a wildcard finds must give each account a name of its own; the one problem is at the wildcard."""
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.session").touch()
    path = tmp_path / "config.yaml"
    path.write_text(f"telegram: {{api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}}\naccounts:\n- {entry}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.startswith("config.yaml:3: accounts[0].session: ")
    assert says in problem


def test_a_mistake_beside_a_wildcard_is_told_once_and_where_it_is(tmp_path: Path) -> None:
    """However many files fit, the entry in the config has one number, one line and one problem."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.session").touch()
    path = tmp_path / "config.yaml"
    path.write_text(
        "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef}\n"
        "accounts:\n- {session: '*', fone: 1}\n- {name: c, session: d}\n- session: none/*\n- session: no/*\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    said = caught.value.problems
    assert [problem.partition(": ")[2].partition(": ")[0] for problem in said] == [
        "accounts[0].fone",
        "accounts[0].name",
        "accounts[2].session",
        "accounts[3].session",
    ]
    assert "accounts[1] and accounts[0] have the same name ('c')" in said[1]


@pytest.mark.parametrize(
    "block",
    [
        "abcde", "MIIB", "====", "AAAA", KEY[:200], KEY[4:], f"{KEY}AAAA", KEY.replace("MIIB", "MIIC"), "A" * 400,
        "MAYCAQMCAQM=", f"{KEY[:100]}={KEY[101:]}",
    ],
)  # fmt: skip
def test_a_damaged_key_is_told_before_anything_starts(bad: Problems, tmp_path: Path, block: str) -> None:
    """Half a key, or another text in its block, is a problem of the config, not of the first connection."""
    (tmp_path / "dc.pem").write_text(f"-----BEGIN RSA PUBLIC KEY-----\n{block}\n-----END RSA PUBLIC KEY-----\n")
    text = HEAD.replace("}", ", datacenter: {id: 2, host: h, port: 1, public_key: dc.pem}}")
    (problem,) = bad(text + ONE)
    assert "damaged key" in problem
    assert block not in problem
