"""``doctor`` and the channels of alerts: which there are, without a message to them and without their addresses."""

from pathlib import Path

import pytest

from engine.config import load
from engine.doctor import alerts
from engine.doctor.findings import Finding
from tests.engine.config.texts import HEAD, ONE
from tests.engine.doctor.support import command

SECRET = "json://127.0.0.1:1/verysecretpath"


def findings(folder: Path, *entries: str) -> list[Finding]:
    path = folder / "config.yaml"
    path.write_text(f"{HEAD}{ONE}alerts: [{', '.join(entries)}]\n", "utf-8")
    return list(alerts.check(load(path)))


def test_channels_are_named_without_their_addresses(tmp_path: Path) -> None:
    """Nothing is sent: at this address nobody listens."""
    (found,) = findings(tmp_path, f"{{to: '{SECRET}'}}", "{exec: 'true'}")
    assert (found.ok, "alerts[0] (json), alerts[1] (exec)" in found.text) == (True, True)
    assert "verysecret" not in str(found)


def test_one_channel_alone_is_advice(tmp_path: Path) -> None:
    """When it fails, nobody hears of that. Without alerts there is nothing to say."""
    assert [each.ok for each in findings(tmp_path, "{exec: 'true'}")] == [True, None]
    assert findings(tmp_path) == []


@pytest.mark.parametrize("verb", [["doctor"], ["alerts", "test"], ["status"]])
def test_an_address_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    """With its place and without the address; ``status`` has no use for it, and does not look."""
    path = tmp_path / "config.yaml"
    path.write_text(f"{HEAD}{ONE}alerts: [{{to: 'nosuchservice://verysecretpath'}}]\n", "utf-8")
    code, said = command(capsys, *verb, str(path))
    if verb == ["status"]:
        assert (code, "alerts" in said) == (3, False)
        return
    assert (code, len(said.splitlines())) == (2, 2), said  # the file, and what is wrong in it
    assert "config.yaml" in said
    assert "Apprise cannot use this nosuchservice:// address (it knows no such service)" in said
    assert "verysecret" not in said
