"""``alerts test``: a message by each channel, and what each mistake is told."""

import json
from pathlib import Path

import pytest

from engine.cli import app
from tests.adapters.alerts.servers import web_server
from tests.engine.config.texts import HEAD, ONE


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        app(words)
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def config_of(folder: Path, alerts: str) -> str:
    path = folder / "config.yaml"
    path.write_text(f"{HEAD}{ONE}{alerts}", "utf-8")
    return str(path)


def test_each_channel_gets_a_message_and_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line says which channel it is, and whether it took the message."""
    with web_server() as hooks:
        alerts = f'alerts: [{{to: "{hooks.address}"}}, {{exec: "sh -c \'echo no >&2; exit 1\'"}}]'
        code, out, err = run(["alerts", "test", config_of(tmp_path, alerts)], capsys)
        assert code == 1
        assert out.splitlines() == [
            "1 alerts[0] (json): sent",
            "2 alerts[1] (exec): not sent: the command ended with exit code 1: no",
        ]
        assert err == "1 of 2 channels did not take the message\n"
        assert "This is a test" in json.loads(hooks.got[0][1])["message"]


def test_one_channel_may_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the number that the lines begin with; with ``--json`` as an object."""
    config = config_of(tmp_path, "alerts: [{exec: 'false'}, {exec: 'true'}]")
    code, out, _ = run(["alerts", "test", config, "--channel", "2", "--json"], capsys)
    assert code == 0
    assert json.loads(out) == {"number": 2, "channel": "alerts[1] (exec)", "sent": True, "problem": None}


@pytest.mark.parametrize(
    ("alerts", "words", "said"),
    [
        ("", [], "there are no alerts to test"),
        ("alerts: [{exec: 'true'}]", ["--channel", "2"], "there is no channel '2'; there is only channel 1"),
        ("alerts: [{exec: 'true'}, {exec: 'false'}]", ["--channel", "x"], "there are channels 1 to 2"),
        ("alerts: [{to: 'foo://verysecret'}]", [], "Apprise cannot use this foo:// address"),
    ],
)
def test_a_mistake_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], alerts: str, words: list[str], said: str
) -> None:
    """With exit code 2, and no part of an address."""
    code, out, err = run(["alerts", "test", config_of(tmp_path, alerts), *words], capsys)
    assert (code, out) == (2, "")
    assert said in err
    assert "verysecret" not in err
