"""The difference of two configs: what a running engine has to do, and what it cannot do."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.app.telegram import wait_up_to
from engine.config import Config, load
from engine.config.difference import HIDDEN, ConfigDifference, Setting, difference
from engine.config.difference_text import lines

HASH = "0123456789abcdef0123456789abcdef"
Read = Callable[..., Config]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a config with these accounts and further sections, and load it."""

    def write_and_load(*accounts: str, rest: str = "", api: str = f"{{api_id: 1, api_hash: {HASH}}}") -> Config:
        path = tmp_path / "config.yaml"
        listed = "".join(f"  - {{{each}}}\n" for each in accounts)
        path.write_text(f"telegram: {api}\naccounts:\n{listed}{rest}", encoding="utf-8")
        return load(path)

    return write_and_load


A, B, C = ("name: A, session: a", "name: B, session: b", "name: C, session: c")


def test_the_same_config_has_no_difference(read: Read) -> None:
    """Order and spelling are no differences, and a direct connection is one whether or not it is written."""
    before = read(A, B, rest="states: {healthy: {probe_every: 60s}}\n")
    after = read("name: B, session: b.session, proxy: direct", A, rest="states: {healthy: {probe_every: 1m}}\n")
    found = difference(before, after)
    assert found == ConfigDifference(kept=2)
    assert found.is_empty
    assert lines(found) == ["Nothing has changed"]


def test_accounts_come_and_go(read: Read) -> None:
    """An account is added, another removed, and the third keeps its connection."""
    found = difference(read(A, B), read(B, C))
    assert (found.added, found.removed, found.changed, found.kept) == (("C",), ("A",), (), 1)
    assert lines(found) == [
        "1 account added: C",
        "1 account removed (closed in order, and what is stored is kept): A",
        "1 account will keep its connection",
    ]


def test_the_same_session_file_is_the_same_account(read: Read) -> None:
    """Another name for a session file is a new name, also when two accounts have swapped theirs."""
    found = difference(read(A, B, C), read("name: B, session: a", "name: A, session: b", C))
    assert [(each.former, each.name, each.reconnects) for each in found.renamed] == [("A", "B", True), ("B", "A", True)]
    assert (found.added, found.removed, found.kept) == ((), (), 1)


def test_the_same_login_in_another_file_is_the_same_account(read: Read) -> None:
    """A session file that was moved and an account that was renamed with it is found by its login."""
    logins = {"a": "one", "moved": "one", "b": "two"}
    found = difference(
        read(A, B), read("name: New, session: moved", B), login_of=lambda session: logins.get(session.stem, "")
    )
    (change,) = found.changed
    assert (change.former, change.name, change.reconnects) == ("A", "New", True)
    assert [setting.key for setting in change.settings] == ["session"]


def test_a_name_with_another_file_and_login_stays_that_account(read: Read) -> None:
    """An account that has another session file now reconnects with it."""
    found = difference(read(A, B), read("name: A, session: other", B))
    (change,) = found.changed
    assert (change.name, change.former, change.reconnects, found.kept) == ("A", None, True, 1)


def test_another_proxy_reconnects_one_account(read: Read) -> None:
    """What is shown of proxies is neither user nor password, and another password is a change all the same."""
    first = "name: A, session: a, proxy: 'socks5://me:first@10.0.0.1:1080'"
    second = "name: A, session: a, proxy: 'socks5://me:second@10.0.0.1:1080'"
    found = difference(read(A, B), read(first, B))
    assert lines(found)[0] == "A: proxy: direct → socks5://10.0.0.1:1080; it reconnects"
    (change,) = difference(read(first), read(second)).changed
    (setting,) = change.settings
    assert setting.after == "socks5://10.0.0.1:1080, with another secret"
    assert "second" not in repr(difference(read(first), read(second)))


def test_what_only_a_login_reads_moves_no_connection(read: Read) -> None:
    """A phone number is in use at a login alone, and is not shown."""
    found = difference(read(A), read(f'{A}, phone: "+9996620001"'))
    (change,) = found.changed
    assert (change.reconnects, change.settings) == (False, (Setting(key="phone", before=HIDDEN, after=HIDDEN),))
    assert found.kept == 1
    assert "6620001" not in json.dumps(found.as_json())


def test_schedules_budgets_and_log_levels_move_no_connection(read: Read) -> None:
    """Each key that has another value is named once, with both values as one writes them."""
    before = read(A, rest="states: {backoff: {network: {factor: 2}}}\nwork: {kinds: {send: {patience: 30s}}}\n")
    after = read(
        A,
        rest="states: {healthy: {probe_every: 90s}, backoff: {network: {factor: 1.5}}}\n"
        "work: {per_account: 2, kinds: {send: {patience: 40s}, join: {hours: '09:00-18:00'}}}\n"
        "logging: {levels: {holdfast.jobs: debug}}\nfleet: {stagger: auto}\nstorage: {keep: 90d}\n",
    )
    found = difference(before, after)
    shown = {each.key: (each.before, each.after) for each in found.settings}
    assert shown == {
        "states.healthy.probe_every": ("20 s", "1 min 30 s"),
        "states.backoff.network.factor": ("2", "1.5"),
        "work.per_account": ("4", "2"),
        "work.kinds.send.patience": ("30 s", "40 s"),
        "work.kinds.join": ("left out", "{hours: 09:00-18:00}"),
        "logging.levels.holdfast.jobs": ("left out", "debug"),
        "fleet.stagger": ("0.1 s", "auto"),
        "storage.keep": ("left out", "90 days"),
    }
    assert (found.refused, found.kept, found.concerns("states"), found.concerns("sandbox")) == ((), 1, True, False)


def test_another_application_reconnects_every_account(read: Read) -> None:
    """Every connection begins with the application's number and hash; the hash is not shown."""
    other = HASH.replace("0", "f")
    found = difference(read(A, B), read(A, B, api=f"{{api_id: 2, api_hash: {other}}}"))
    assert (found.reconnecting, found.kept, found.refused) == (("A", "B"), 0, ())
    assert lines(found) == [
        "telegram.api_id: 1 → 2",
        "telegram.api_hash: another value, which is not shown",
        "2 accounts will reconnect",
        "0 accounts will keep their connection",
    ]
    assert other not in json.dumps(found.as_json())


@pytest.mark.parametrize(
    ("rest", "api", "key"),
    [
        ("storage: {directory: elsewhere}\n", f"{{api_id: 1, api_hash: {HASH}}}", "storage.directory"),
        ("storage: {database: 'postgresql://h/d'}\n", f"{{api_id: 1, api_hash: {HASH}}}", "storage.database"),
        ("", f"{{api_id: 1, api_hash: {HASH}, datacenter: sandbox}}", "telegram.datacenter"),
    ],
)
def test_what_cannot_change_refuses_the_whole(read: Read, rest: str, api: str, key: str) -> None:
    """One sentence says which key it is, why, and what to do; the accounts that could be added are not told of."""
    found = difference(read(A), read(A, B, rest=rest, api=api))
    assert [each.key for each in found.refused] == [key]
    (line,) = lines(found)
    assert line.startswith(f"{key} cannot change while the engine runs: ")
    assert line.endswith("; change it back, or stop the engine and start it again")


def test_a_section_that_nobody_applies_is_refused(read: Read) -> None:
    """Sections are applied by those that use them: without one, a change is not taken for done."""
    before, after = read(A), read(A, rest="fleet: {connects_at_once: 3}\n")
    assert not difference(before, after).refused
    assert [each.key for each in difference(before, after, live={"accounts"}).refused] == ["fleet.connects_at_once"]


def test_long_lists_are_cut_for_people_only(read: Read) -> None:
    """A line has eight names, and JSON has all."""
    many = [f"name: N{number}, session: n{number}" for number in range(30)]
    found = difference(read(A), read(A, *many))
    assert lines(found)[0].endswith("N6, N7 and 22 more")
    assert len(found.as_json()["added"]) == 30


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("", "web: {}", ["web: left out → with its defaults"]),
        ("", "web: {listen: '[::1]:9'}", ["web: left out → {listen: [::1]:9}"]),
        ("web: {}", "web: {hosts: [a.example]}", ["web.hosts: none → a.example"]),
        ("health: {ready_when: 75%}", "", ["health.ready_when: 75% → 90%"]),
        ("incidents: {after: 1m}", "", ["incidents.after: 1 min → 2 min"]),
        ("metrics: {accounts: all}", "", ["metrics.accounts: all → troubled"]),
        ("", "heartbeat: {url: 'http://x/s3cret'}", ["heartbeat: left out → {url: …}"]),
        (
            "heartbeat: {url: 'http://x/s3cret'}",
            "heartbeat: {url: 'http://x/t3cret', every: 5m}",
            ["heartbeat.url: another value, which is not shown", "heartbeat.every: 1 min → 5 min"],
        ),
        ("", "alerts: [{to: 'json://u:s3cret@x'}]", ["alerts: none → {to: …}"]),
        (
            "alerts: [{to: 'json://u:s3cret@x'}, {exec: /bin/true}]",
            "alerts: [{to: 'json://u:t3cret@x', quiet: '22:00-07:00'}, {exec: /bin/true, on: outage}]",
            [
                "alerts[0].to: another value, which is not shown",
                "alerts[0].quiet: left out → 22:00-07:00",
                "alerts[1].on: needs_person, outage, stalled, job_failed, storage → outage",
            ],
        ),
        (
            "alerts: [{to: 'json://u:s3cret@x'}, {exec: /bin/true s3cret}]",
            "alerts: [{to: 'json://u:s3cret@x'}]",
            ["alerts: {exec: …} → none"],
        ),
    ],
)
def test_each_section_of_what_leaves_the_machine_is_shown_without_its_secrets(
    read: Read, before: str, after: str, said: list[str]
) -> None:
    """All of it is applied, one line tells each key, and no address or command is in any of them."""
    found = difference(read(A, rest=before), read(A, rest=after))
    assert found.refused == ()
    assert lines(found)[:-1] == said
    told = json.dumps([found.as_json(), repr(found), lines(found)])
    assert not any(secret in told for secret in ("s3cret", "t3cret", "bin/true"))


def test_a_changed_entry_of_a_list_concerns_its_section(read: Read) -> None:
    """A module for other accounts is a change of the modules, and a step of the scenario one of the sandbox."""
    found = difference(
        read(A, B, rest="work: {modules: [{module: a.py, accounts: A}]}"),
        read(A, B, rest="work: {modules: [{module: a.py, accounts: B}]}"),
    )
    assert lines(found)[0] == "work.modules[0].accounts: A → B"
    assert (found.concerns("work.modules"), found.concerns("work"), found.refused) == (True, True, ())


def test_another_bound_of_waits_in_place_moves_no_connection(read: Read) -> None:
    """That of one account and that of all are asked for by the next request; nothing reconnects, nothing is refused."""
    before = read(A, B, rest="requests: {wait_up_to: 10s}\n")
    after = read("name: A, session: a, requests: {wait_up_to: 0}", B, rest="requests: {wait_up_to: 5m}\n")
    found = difference(before, after)
    assert (found.refused, found.reconnecting, found.kept) == ((), (), 2)
    assert [each.name for each in found.changed] == ["A"]
    assert found.concerns("requests")
    assert [wait_up_to(after, account) for account in after.accounts] == [0.0, 300.0]
