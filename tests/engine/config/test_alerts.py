"""The section ``alerts``: what it may say, and what each mistake in it is told, without a part of an address."""

import os
from pathlib import Path

import attrs
import pytest

from engine.config import AlertConfig, ConfigError, load, load_outline
from states.alerts import KINDS
from states.pace import Hours
from tests.engine.config.texts import HEAD, ONE, Load, Problems, shown

URL = "json://localhost/verysecretpath"
LONG = "x" * 3000


def test_a_whole_section_is_read(good: Load) -> None:
    """As the documents write it: durations, hours, one address or several, or a command."""
    text = (
        f'alerts:\n  - {{to: "{URL}", on: [needs_person, storage], after: 5m, repeat: 1h, quiet: "22:00-07:00"}}\n'
        f'  - {{to: ["mailto://a:b@example.org", "ntfy://topic"]}}\n'
        f"  - {{exec: \"sh -c 'cat >/dev/null'\", on: outage, repeat: }}\n"
    )
    first, second, third = good(HEAD + ONE + text).alerts
    assert (first.to, first.on, first.after, first.repeat) == ((URL,), ("needs_person", "storage"), 300, 3600)
    assert first.quiet == Hours(22 * 60, 7 * 60)
    assert second == AlertConfig(to=("mailto://a:b@example.org", "ntfy://topic"))
    assert (second.after, second.repeat, second.quiet) == (120, 6 * 3600, None)
    assert os.path.basename(third.exec[0]) == "sh"
    assert (third.exec[1:], third.on, third.repeat) == (("-c", "cat >/dev/null"), ("outage",), None)


@pytest.mark.parametrize("text", ["", "alerts:\n", "alerts: []\n"])
def test_there_may_be_no_alerts(good: Load, text: str) -> None:
    """The section may be left out or be empty."""
    assert good(HEAD + ONE + text).alerts == ()


def test_no_repr_shows_an_address(good: Load) -> None:
    """Neither the config's nor the entry's; nor does what identifies a channel."""
    config = good(f'{HEAD}{ONE}alerts: [{{to: "{URL}"}}, {{exec: "sh -c verysecretpath"}}]')
    text = shown(config) + repr(config.alerts) + repr(attrs.asdict(config.alerts[0]))
    assert "verysecretpath" not in text + " ".join(each for entry in config.alerts for each in entry.channels)


def test_a_channel_stays_the_same_in_another_order(good: Load) -> None:
    """What identifies it comes from its target, not from its place."""
    one, two = f'{{to: "{URL}"}}', '{to: ["ntfy://a", "ntfy://b"], after: 1m}'
    before = good(f"{HEAD}{ONE}alerts: [{one}, {two}]").alerts
    after = good(f"{HEAD}{ONE}alerts: [{two}, {one}]").alerts
    assert [each.channels for each in before] == [each.channels for each in reversed(after)]
    assert len({name for each in before for name in each.channels}) == 3


def test_an_address_may_come_from_the_environment(good: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every secret."""
    monkeypatch.setenv("OPS_URL", URL)
    assert good(f'{HEAD}{ONE}alerts: [{{to: "${{OPS_URL}}"}}]').alerts[0].to == (URL,)


def test_a_command_beside_the_config_is_found(good: Load, tmp_path: Path) -> None:
    """A path with a slash starts at the config's directory, wherever the engine is started."""
    program = tmp_path / "tell.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert good(f"{HEAD}{ONE}alerts: [{{exec: ./tell.sh --now}}]").alerts[0].exec == (str(program), "--now")


ADDRESS = "must be an address that Apprise knows"
WRONG = [
    ("{to: x}", "alerts", "must be a list of entries"),
    ("[3]", "alerts[0]", "must be a mapping"),
    ("[{}]", "alerts[0]", "needs to (an address of Apprise) or exec (a command)"),
    ("[{on: outage}]", "alerts[0]", "needs to (an address of Apprise) or exec (a command)"),
    ("[{to: 'ntfy://a', exec: sh}]", "alerts[0]", "has both to and exec"),
    ("[{to: []}]", "alerts[0].to", "at least one address"),
    ("[{to: 5}]", "alerts[0].to", ADDRESS),
    ("[{to: ''}]", "alerts[0].to", ADDRESS),
    ("[{to: verysecret}]", "alerts[0].to", ADDRESS),
    ("[{to: 'json:// verysecret'}]", "alerts[0].to", ADDRESS),
    (f"[{{to: 'json://{LONG}'}}]", "alerts[0].to", ADDRESS),
    ("[{to: ['ntfy://a', 7]}]", "alerts[0].to", ADDRESS),
    ("[{exec: ''}]", "alerts[0].exec", "must be a command"),
    ("[{exec: 7}]", "alerts[0].exec", "must be a command"),
    ('[{exec: "a \'b"}]', "alerts[0].exec", "a quote that does not end"),
    ("[{exec: no-such-program --verysecret}]", "alerts[0].exec", "cannot be run ('no-such-program')"),
    ("[{exec: [./no-such-file]}]", "alerts[0].exec", "cannot be run"),
    ("[{to: 'ntfy://a', on: []}]", "alerts[0].on", "at least one of"),
    ("[{to: 'ntfy://a', on: [outages]}]", "alerts[0].on", "did you mean 'outage'?"),
    ("[{to: 'ntfy://a', on: [3]}]", "alerts[0].on", "must be a list of"),
    ("[{to: 'ntfy://a', after: soon}]", "alerts[0].after", "not 'soon'"),
    ("[{to: 'ntfy://a', repeat: 1s}]", "alerts[0].repeat", "at least 60 s"),
    ("[{to: 'ntfy://a', quiet: 22-7}]", "alerts[0].quiet", "two different times of a day"),
    ("[{to: 'ntfy://a', every: 1h}]", "alerts[0].every", "unknown key"),
    (f"[{', '.join(['{to: ntfy://a}'] * 51)}]", "alerts", "at most 50"),
]


@pytest.mark.parametrize(("section", "where", "said"), WRONG, ids=[f"{where}-{said}" for _, where, said in WRONG])
def test_each_mistake_is_a_sentence_with_its_place(bad: Problems, section: str, where: str, said: str) -> None:
    """A bad value is told by line, key path and what would be right; an address is never quoted."""
    (problem,) = bad(f"{HEAD}{ONE}alerts: {section}")
    assert problem.startswith(f"config.yaml:3: {where}: ")
    assert said in problem
    assert "verysecret" not in problem


UNUSABLE = [
    ("[{to: 'foo://verysecret'}]", "alerts[0].to", "this foo:// address (it knows no such service)"),
    ("[{to: ['ntfy://a', 'tgram://verysecret/']}]", "alerts[0].to[1]", "this tgram:// address (a part of it is"),
    ("[{to: 'json://'}, {to: 'ntfy://b'}]", "alerts[0].to", ADDRESS),
    ("[{to: 'dbus://verysecret'}]", "alerts[0].to", "needs another package or program"),
    ("[{to: 'ntfy://a'}, {to: ['ntfy://b', 'ntfy://a']}]", "alerts[1].to[1]", "alerts[0] has the same target"),
    ("[{to: ['ntfy://a', 'ntfy://a']}]", "alerts[0].to[1]", "alerts[0] has the same target"),
    ("[{exec: sh}, {exec: sh}]", "alerts[1].exec", "alerts[0] has the same target"),
]


@pytest.mark.parametrize(("section", "where", "said"), UNUSABLE)
def test_an_address_that_apprise_refuses_is_told_at_load(tmp_path: Path, section: str, where: str, said: str) -> None:
    """By its place and its scheme; commands that only read do not ask, because that takes most of a second."""
    path = tmp_path / "config.yaml"
    path.write_text(f"{HEAD}{ONE}alerts: {section}", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"config.yaml:3: {where}: ")
    assert said in problem
    assert "verysecret" not in problem
    if said is not ADDRESS:
        assert load_outline(path).names == ("A",)


def test_every_kind_of_incident_may_be_told(good: Load) -> None:
    """By its name."""
    assert good(f"{HEAD}{ONE}alerts: [{{to: 'ntfy://a', on: [{', '.join(KINDS)}]}}]").alerts[0].on == KINDS
