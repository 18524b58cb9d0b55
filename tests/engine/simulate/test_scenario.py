"""A scenario file: what is in it, whom a step is for, and a sentence for each mistake."""

import os
import sys
from pathlib import Path

import pytest

from adapters.sandbox.faults.kinds import FaultKind
from engine.config.load import ConfigError, read_document
from engine.simulate.disturbances import MOMENTS, SHARED_KINDS, ModelKind
from engine.simulate.driver import AccountModel
from engine.simulate.scenario import allowed, built_in, disturbances_of, load_scenario

OWN = [AccountModel("News 1"), AccountModel("News 2", "socks5://10.0.0.1:1080"), AccountModel("Shop")]
MISTAKES = {
    "{at: 1s, do: gon}": "scenario[0].do: must be one of gone, half_open, latency",
    "{at: 1s, do: gone}": "scenario[0]: gone lasts, and needs to know how long; add for: 10s",
    "{at: 1s, do: garbage}": "scenario[0].do: garbage is a detail of the protocol, which the model does not have",
    "{at: 1s, do: reset, share: 130%}": "scenario[0].share: must be more than 0 and at most 100%",
    "{at: 1s, do: reset, share: some}": "scenario[0].share: must be a part of the accounts, like 30% or 0.3",
    "{at: 1s, do: rpc_error, code: 420, for: 1s}": "scenario[0]: rpc_error needs text; add text: FLOOD_WAIT_30",
    "{at: 1s, do: rpc_error, code: 400, text: BAD, for: 1s}": "scenario[0].text: the model knows FLOOD_WAIT_30",
    "{at: 1s, do: handshakes, for: 1s}": "scenario[0]: handshakes needs rate; add rate: 50",
    "{at: 1s, do: handshakes, rate: 0, for: 1s}": "scenario[0].rate: must be from 0.01 to 1,000,000",
    "{at: 1s, do: handshakes, rate: 9, for: 1s, share: 3%}": "scenario[0].share: handshakes are counted for all",
    "{at: 1s, do: half_open, for: 3s}": "scenario[0].for: half_open happens at once and takes no 'for'; remove it",
    "{at: 1s, do: latency, seconds: 3s, for: 0s}": "scenario[0].for: must be more than 0 s, or be left out",
    "{at: 1s, do: transport_error, code: -1, for: 1s}": "scenario[0].code: must be one of -404, -429, -444",
    "{at: 1s, do: reset, seconds: 1s}": "scenario[0].seconds: reset takes no 'seconds'; remove it",
    "{do: reset}": "scenario[0].at: is required, and missing; add it",
    "7": "scenario[0]: must be a mapping (key: value), not a number",
}


def written(directory: Path, *steps: str) -> Path:
    """Write a scenario with these steps."""
    path = directory / "outage.yaml"
    path.write_text("scenario:\n" + "".join(f"  - {step}\n" for step in steps))
    return path


@pytest.mark.parametrize(("step", "sentence"), MISTAKES.items())
def test_a_mistake_is_one_sentence(tmp_path: Path, step: str, sentence: str) -> None:
    """It begins with the file, the line and the key."""
    with pytest.raises(ConfigError) as caught:
        load_scenario(written(tmp_path, step))
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"outage.yaml:2: {sentence}")


@pytest.mark.parametrize("step", ['{at: 1s, do: reset, account: "New 1"}', '{at: 1s, do: reset, proxy: "http://a:1"}'])
def test_an_account_or_a_proxy_that_is_not_there_is_named(tmp_path: Path, step: str) -> None:
    """The sentence says what there is."""
    path = written(tmp_path, step)
    with pytest.raises(ConfigError, match=r"News 1|socks5://10.0.0.1:1080"):
        disturbances_of(load_scenario(path).scenario, OWN, count=3, seed=0, path=path)


def test_a_pipe_is_not_read_again_for_the_place_of_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more comes out of it, so the sentence is without a line; it says what is wrong nevertheless."""
    steps = load_scenario(written(tmp_path, '{at: 1s, do: reset, account: "New 1"}')).scenario
    os.mkfifo(tmp_path / "pipe.yaml")
    monkeypatch.setattr(sys.modules[read_document.__module__], "PIPE_TIMEOUT", 0.01)
    with pytest.raises(ConfigError, match="no account is named like that"):
        disturbances_of(steps, OWN, count=3, seed=0, path=tmp_path / "pipe.yaml")


def test_a_scenario_that_is_not_there_is_not_called_a_config(tmp_path: Path) -> None:
    """The sentence says what to give."""
    with pytest.raises(ConfigError, match="give the path of the scenario"):
        load_scenario(tmp_path / "nowhere.yaml")


def test_every_kind_can_be_written(tmp_path: Path) -> None:
    """Each kind takes the options that it says it takes."""
    values = {"seconds": "2s", "code": "-429", "text": "FLOOD_WAIT_30", "rate": "50"}
    steps = []
    for kind in (*ModelKind, *SHARED_KINDS):
        options = [f"{key}: {values[key]}" for key in allowed(kind) if (kind, key) != (FaultKind.REVOKE, "text")]
        lasts = ["for: 10s"] if kind not in MOMENTS else []
        steps.append("{" + ", ".join(["at: 1s", f"do: {kind.value}", *options, *lasts]) + "}")
    assert len(load_scenario(written(tmp_path, *steps)).scenario) == len(steps)


def test_a_step_is_for_the_accounts_that_it_names_and_those_made_of_them(tmp_path: Path) -> None:
    """A pattern, a proxy and a share narrow each other; the same seed chooses the same accounts."""
    path = written(
        tmp_path,
        '{at: 1s, do: reset, account: "News *"}',
        '{at: 1s, do: reset, account: "News *", proxy: "socks5://10.0.0.1:1080"}',
        "{at: 1s, do: reset, share: 50%}",
        "{at: 1s, do: reset}",
    )
    steps = load_scenario(path).scenario
    news, through, half, everybody = disturbances_of(steps, OWN, count=8, seed=3, path=path)
    assert news.members == [0, 1, 3, 4, 6, 7]
    assert through.members == [1, 4, 7]
    assert half.members is not None
    assert len(half.members) == 4
    assert everybody.members is None
    assert disturbances_of(steps, OWN, count=8, seed=3, path=path)[2].members == half.members


def test_the_built_in_scenario_fits_every_duration() -> None:
    """All of it happens within the time."""
    for duration in (0.005, 60.0, 3600.0):
        assert all(step.at + (step.duration or 0.0) < duration for step in built_in(duration))


def test_an_empty_scenario_is_one_in_which_nothing_goes_wrong(tmp_path: Path) -> None:
    """An empty file is no mistake."""
    (tmp_path / "empty.yaml").write_text("")
    assert load_scenario(tmp_path / "empty.yaml").scenario == ()
