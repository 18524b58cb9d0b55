"""What a bad section ``sandbox`` is told: its steps, chaos and groups, and what they need of the rest of the config."""

import pytest

from tests.engine.config.texts import HEAD, ONE, PHONE, SANDBOX, Problems


@pytest.mark.parametrize(
    ("step", "where", "said"),
    [
        *[(f"{{at: 1, do: {do}}}", "", "add for: 10s") for do in ("refuse", "accept_then_close", "blackhole")],
        *[(f"{{at: 1, do: {do}, for: 1s}}", ".for", "takes no 'for'") for do in ("clear", "message, account: A")],
        ("{at: 1, do: message}", "", "a message goes to one account"),
        ("{at: 1, do: reset, account: B}", ".account", "give it one"),
        ("{at: 1, do: close, text: hello}", ".text", "takes no 'text'"),
        ("{at: 1, do: explode}", ".do", "not 'explode'"),
        ("{at: 1, do: close, account: a}", ".account", "there are: A, B"),
        ("{at: 1, do: close, duration: 1s}", ".duration", "unknown key"),
        ("{do: close}", ".at", "is required"),
        ("{at: 1, do: refuse, for: soon}", ".for", "not 'soon'"),
        *[(f"{{at: 1, do: {do}}}", "", "add for: 10s or times: 3") for do in ("lost_update", "too_long", "blackhole")],
        *[(f"{{at: 1, do: {do}}}", "", "add for: 10s or times: 3") for do in ("lost_difference", "wrong_pts")],
        (
            "{at: 1, do: too_long, times: 1, request: 'ping*'}",
            ".request",
            "must be updates.getDifference or updates.get",
        ),
        ("{at: 1, do: reset, channel: news}", ".channel", "reset takes no 'channel'"),
        ("{at: 1, do: syn_drop}", "", "add for: 10s"),
        ("{at: 1, do: refuse, for: 1s, times: 3}", ".times", "refuse takes no 'times'; remove it"),
        ("{at: 1, do: reset, request: '*'}", ".request", "reset takes no 'request'"),
        ("{at: 1, do: slow, for: 1s}", "", "slow needs seconds; add seconds: 2s"),
        ("{at: 1, do: rpc_error, text: FLOOD_WAIT_30}", "", "rpc_error needs code; add code: 420"),
        ("{at: 1, do: rpc_error, code: 420}", "", "rpc_error needs text; add text: FLOOD_WAIT_30"),
        ("{at: 1, do: rpc_error, code: 420, text: two words}", ".text", "must be the text of an error"),
        ("{at: 1, do: revoke, text: ''}", ".text", "must be the text of an error"),
        ("{at: 1, do: rpc_error, code: 0, text: A}", ".code", "like 420 or -503"),
        ("{at: 1, do: rpc_error, code: x, text: A}", ".code", "whole number"),
        ("{at: 1, do: transport_error, for: 1s, code: -405}", ".code", "one of -404, -429, -444 for transport_error"),
        ("{at: 1, do: bad_msg, code: 21}", ".code", "one of 16, 17"),
        ("{at: 1, do: reset, times: 0}", ".times", "from 1 to 10000"),
        ("{at: 1, do: slow, times: 1, seconds: -2s}", ".seconds", "must be more than 0 s"),
        ("{at: 1, do: slow, times: 1, seconds: 2h}", ".seconds", "at most 1h"),
        ("{at: 1, do: slow, times: 1, seconds: soon}", ".seconds", "not 'soon'"),
        ("{at: 1, do: clock_offset, times: 1, seconds: 0}", ".seconds", "must not be 0"),
        ("{at: 1, do: slow, times: 1, seconds: 1s, request: ''}", ".request", "1 to 128 printable"),
    ],
)
def test_a_bad_step_is_explained(bad: Problems, step: str, where: str, said: str) -> None:
    """A step that makes no sense is named by its number."""
    accounts = f'accounts: [{{name: A, session: a, phone: "{PHONE}"}}, {{name: B, session: b}}]\n'
    (problem,) = bad(f"{SANDBOX}{accounts}sandbox: {{scenario: [{step}]}}")
    assert problem.startswith(f"config.yaml:3: sandbox.scenario[0]{where}: ")
    assert said in problem


@pytest.mark.parametrize(
    ("section", "where", "said"),
    [
        ("{scenario: choas}", ".scenario", "must be chaos, or a list of steps, not 'choas'"),
        ("{scenario: chaos, seed: -1}", ".seed", "from 0 to"),
        ("{scenario: chaos, seed: x}", ".seed", "whole number"),
        ("{scenario: chaos, for: 5s}", ".for", "must be from 10s to 24h"),
        ("{scenario: [], seed: 7}", ".seed", "seed is for scenario: chaos alone; remove it"),
        ("{for: 10s}", ".for", "for is for scenario: chaos alone; remove it"),
        ("{scenario: chaos, duration: 10s}", ".duration", "unknown key"),
    ],
)
def test_a_bad_chaos_is_explained(bad: Problems, section: str, where: str, said: str) -> None:
    """The word, its seed and its time are checked like any other value."""
    (problem,) = bad(f'{SANDBOX}accounts: [{{name: A, session: a, phone: "{PHONE}"}}]\nsandbox: {section}')
    assert problem.startswith(f"config.yaml:3: sandbox{where}: ")
    assert said in problem


@pytest.mark.parametrize(
    ("groups", "where", "said"),
    [
        ("news", "", "must be a list, not text"),
        ("[news]", "[0]", "must be a mapping"),
        ("[{title: News}]", "[0].name", "is required"),
        *[
            (f"[{{name: {name}}}]", "[0].name", "must be 4 to 32 letters, digits and _, a letter first")
            for name in ("abc", "9news", "news-1", "naïve", "newſ", "User123", "bot7_bot", "a" * 33)
        ],
        ("[{name: news, title: ''}]", "[0].title", "must be 1 to 128 printable characters"),
        ("[{name: news, title: ' '}]", "[0].title", "not only blanks"),
        (f"[{{name: news, title: {'x' * 129}}}]", "[0].title", "must be 1 to 128 printable characters"),
        ("[{name: news, messages: -1}]", "[0].messages", "must be a whole number from 0 to 100000"),
        ("[{name: news, messages: 100001}]", "[0].messages", "must be a whole number from 0 to 100000"),
        ("[{name: news, messages: many}]", "[0].messages", "whole number"),
        ("[{name: news, mesages: 1}]", "[0].mesages", "did you mean 'messages'?"),
        ("[{name: news}, {name: talk}, {name: NEWS}]", "[2].name", "groups[0] and groups[2] have the same name"),
        (f"[{', '.join(f'{{name: news{number}}}' for number in range(101))}]", "", "must be at most 100"),
    ],
)
def test_a_bad_group_is_explained(bad: Problems, groups: str, where: str, said: str) -> None:
    """A group that the sandbox could not have is named by its number and key."""
    (problem,) = bad(f"{SANDBOX}{ONE}sandbox: {{groups: {groups}}}")
    assert problem.startswith(f"config.yaml:3: sandbox.groups{where}: ")
    assert said in problem


def test_groups_need_the_sandbox(bad: Problems) -> None:
    """At Telegram itself a config makes no groups."""
    (problem,) = bad(f"{HEAD}{ONE}sandbox: {{groups: [{{name: news}}]}}")
    assert problem.startswith("config.yaml:3: sandbox: works only with telegram.datacenter: sandbox")


def test_chaos_needs_an_account_with_a_phone(bad: Problems) -> None:
    """The sandbox knows an account by its phone; without one there is nothing to hurt."""
    (problem,) = bad(f"{SANDBOX}{ONE}sandbox: {{scenario: chaos}}")
    assert "sandbox.scenario: chaos hurts accounts by their phone, and none has one" in problem


def test_a_scenario_needs_the_sandbox(bad: Problems) -> None:
    """A config must not read as if Telegram itself were being hurt."""
    (problem,) = bad(f"{HEAD}{ONE}sandbox: {{scenario: []}}")
    assert problem.startswith("config.yaml:3: sandbox: works only with telegram.datacenter: sandbox")
