"""The sections ``web``, ``health``, ``heartbeat`` and ``metrics``."""

import pytest

from engine.config import HealthSection, ListenAddress, MetricAccounts, MetricsSection, WebSection
from tests.engine.config.texts import HEAD, ONE, Load, Problems, shown

PING = "https://hc.example.org/KeyOfTheHeartbeatKeyOfTheHeartbeat"


def test_without_them_there_is_no_server_and_no_heartbeat(good: Load) -> None:
    """And ready is the share that the documents give."""
    config = good(HEAD + ONE)
    assert (config.web, config.heartbeat) == (None, None)
    assert (config.health, config.metrics) == (HealthSection(ready_when=0.9), MetricsSection())


@pytest.mark.parametrize("text", ["web:\n", "web: {}\n", "web:\n  # listen: 0.0.0.0:80\n"])
def test_a_section_without_keys_is_a_server_on_loopback(good: Load, text: str) -> None:
    """Whoever writes the section wants the server."""
    assert good(HEAD + ONE + text).web == WebSection(listen=ListenAddress("127.0.0.1", 8080))


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("'[::1]:9'", "::1", 9),
        ("localhost:0", "localhost", 0),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
    ],
)
def test_an_address_is_read_and_written_alike(good: Load, written: str, host: str, port: int) -> None:
    """``str`` gives what the config has."""
    web = good(HEAD + ONE + f"web: {{listen: {written}}}\n").web
    assert web is not None
    assert web.listen == ListenAddress(host, port)
    assert str(web.listen) == written.strip("'")


@pytest.mark.parametrize(("written", "share"), [("90%", 0.9), ("0.5", 0.5), ("100 %", 1.0), ("1", 1.0), ("0%", 0.0)])
def test_a_share_is_a_percentage_or_a_fraction(good: Load, written: str, share: float) -> None:
    """Both are written."""
    assert good(HEAD + ONE + f"health: {{ready_when: {written}}}\n").health.ready_when == share


def test_a_heartbeat_has_a_url_that_nothing_shows(good: Load) -> None:
    """The URL of such a service is its key."""
    config = good(HEAD + ONE + f"heartbeat: {{url: {PING}, every: 30s}}\n")
    assert config.heartbeat is not None
    assert (config.heartbeat.url, config.heartbeat.every) == (PING, 30.0)
    assert "KeyOfTheHeartbeat" not in shown(config)


def test_the_accounts_with_series_are_chosen(good: Load) -> None:
    """There are two ways."""
    assert good(HEAD + ONE + "metrics: {accounts: all}\n").metrics.accounts is MetricAccounts.ALL


@pytest.mark.parametrize(
    ("section", "key", "said"),
    [
        ("web: 8080", "web", "must be a mapping (key: value), not a number"),
        ("web: {listen: 8080}", "web.listen", "must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080"),
        ("web: {listen: 127.0.0.1:70000}", "web.listen", "the port at most 65535"),
        ("web: {listen: '::1:80'}", "web.listen", "must be an address and a port"),
        ("web: {listen: '[1:2]:80'}", "web.listen", "must be an address and a port"),
        ("web: {hosts: [a b]}", "web.hosts", "must be names of hosts without ports"),
        ("web: {hosts: 'a.org'}", "web.hosts", "must be a list, not text"),
        ("web: {port: 80}", "web.port", "unknown key"),
        ("health: {ready_when: 90}", "health.ready_when", "with a number above 1, write the % too"),
        ("health: {ready_when: .nan}", "health.ready_when", "must be a percentage such as 90%"),
        ("health: {ready_when: most}", "health.ready_when", "must be a percentage such as 90%"),
        ("health: {ready_when: true}", "health.ready_when", "must be a percentage such as 90%"),
        ("heartbeat:", "heartbeat.url", "is required"),
        ("heartbeat: {url: 'ftp://example.org/x'}", "heartbeat.url", "must begin with https:// or http://"),
        ("heartbeat: {url: 'https://a:b@example.org/x'}", "heartbeat.url", "must have no user or password"),
        ("heartbeat: {url: 'https://exa mple.org/x'}", "heartbeat.url", "must be a URL such as"),
        ("heartbeat: {url: 'https://[::1/x'}", "heartbeat.url", "must be a URL such as"),
        ("heartbeat: {url: 'https://example.org:99999/'}", "heartbeat.url", "must be a URL such as"),
        ("heartbeat: {url: 'https://example.org', every: 10ms}", "heartbeat.every", "must be at least 1 s"),
        ("metrics: {accounts: some}", "metrics.accounts", "must be one of troubled, all, not 'some'"),
    ],
)
def test_a_wrong_value_is_one_sentence(bad: Problems, section: str, key: str, said: str) -> None:
    """It names the key and what may be written there."""
    (problem,) = bad(HEAD + ONE + section + "\n")
    assert key in problem
    assert said in problem


def test_a_wrong_url_is_not_repeated(bad: Problems) -> None:
    """A mistake in it leaves it a secret."""
    (problem,) = bad(HEAD + ONE + "heartbeat: {url: 'https://example.org/KeyOfThe Heartbeat'}\n")
    assert "KeyOfThe" not in problem


def test_the_tokens_of_the_page_are_in_files_of_their_own(good: Load, bad: Problems) -> None:
    """Relative to the config; a link stays what it is, so that it is refused when it is read."""
    web = good(HEAD + ONE + "web: {token_file: secrets/op.token, reader_token_file: /run/x/read.token}\n").web
    assert web is not None
    assert web.token_file is not None
    assert web.token_file.is_absolute()
    assert web.token_file.parts[-2:] == ("secrets", "op.token")
    assert str(web.reader_token_file) == "/run/x/read.token"
    default = good(HEAD + ONE + "web: {token_file: null}\n").web
    assert default is not None
    assert (default.token_file, default.reader_token_file) == (None, None)
    assert bad(HEAD + ONE + "web: {token_file: a, reader_token_file: ./a}\n") == [
        "config.yaml:3: web: has one file as token_file and as reader_token_file; readers need another one"
    ]
