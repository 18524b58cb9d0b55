"""The command: what it checks, what it draws over the machine, and how it says what is wrong."""

import json
import re
import shutil
from pathlib import Path

import pytest

from adapters.system import EngineLock
from engine import paths
from engine.cli.diagram import DIAGRAMS
from tests.engine.commands import ENGINE
from tests.engine.diagram.conftest import CONFIG, Run

needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


def arrow(dot: str, source: str, target: str) -> str:
    """Return what a dot text says about an arrow: its label and its two halves."""
    found = [line for line in dot.splitlines() if f'"{source} to {target}"' in line]
    assert len(found) == 3
    return "\n".join(found)


# --- --check ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the committed diagrams to where they may be spoilt."""
    for path in DIAGRAMS.glob("machine.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("engine.cli.diagram.DIAGRAMS", tmp_path)
    return tmp_path


def test_the_committed_diagrams_are_up_to_date(run: Run) -> None:
    """``--check`` is content with what is committed."""
    code, out, _ = run("--check")
    assert code == 0
    assert "6 diagrams" in out


@pytest.mark.parametrize("name", ["mmd", "dot", "svg", "md", "json", "scxml"])
def test_a_stale_diagram_is_found(name: str, run: Run, kept: Path) -> None:
    """``--check`` names the file that differs and no other, and how to draw it anew."""
    spoilt = kept / f"machine.{name}"
    text = spoilt.read_text().replace("reconnecting", "elsewhere")
    spoilt.write_text(re.sub(r"(?<=sha256 )\w+", "0" * 64, text))
    code, _, err = run("--check")
    assert code == 1
    assert re.findall(r"machine\.(\w+) is not", err) == [name]
    assert f"-o {spoilt}" in err


def test_check_needs_no_graphviz(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture is checked by the fingerprint of the text that it was drawn from."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert run("--check")[0] == 0


# --- formats and files -----------------------------------------------------------------------------------------------


def test_diagram_of_a_config_has_its_schedules(run: Run, tmp_path: Path) -> None:
    """The numbers in the picture are those that the config sets."""
    (tmp_path / "config.yaml").write_text(CONFIG + "states: {connecting: {patience: [7s]}}\n")
    _, out, _ = run("config.yaml")
    assert "patience 7 s" in out


@pytest.mark.parametrize("form", ["svg", "png"])
def test_a_picture_without_graphviz_says_what_to_install(
    form: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line with both commands, exit code 1, and no file is begun."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    code, out, err = run("--format", form, "-o", "picture")
    assert (code, out) == (1, "")
    assert "apt-get install graphviz" in err
    assert "brew install graphviz" in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@needs_graphviz
def test_a_picture_goes_to_its_file(run: Run, tmp_path: Path) -> None:
    """``-o`` takes what is not text."""
    assert run("--format", "png", "-o", "machine.png") == (0, "", "")
    assert (tmp_path / "machine.png").read_bytes().startswith(b"\x89PNG")


# --- --account -------------------------------------------------------------------------------------------------------


def test_account_marks_where_it_is_and_how_it_came_there(run: Run, journal: Path) -> None:
    """The state is marked, the title tells the last five steps, and only the arrows of the path are bold."""
    with EngineLock(journal / "data" / paths.LOCK).held(0.0, ENGINE):
        code, out, _ = run("config.yaml", "--account", "News 1", "--format", "dot")
    assert code == 0
    path = "reconnecting → backoff → reconnecting → healthy → backoff"
    assert f"News 1 is in backoff; its last path: backoff → {path}" in out
    marked = set(re.findall(r'"(\w+ to \w+)".*penwidth=3.5', out))
    expected = {"either_attempt to healthy", "either_attempt to backoff", "healthy to backoff"}
    assert marked == expected | {"backoff to reconnecting"}
    here = [line.strip().split(" [")[0] for line in out.splitlines() if "now here" in line]
    assert here == ["backoff"]


def test_account_is_marked_in_mermaid_too(run: Run, journal: Path) -> None:
    """The state has the look of now, and the arrows say that they are the path."""
    with EngineLock(journal / "data" / paths.LOCK).held(0.0, ENGINE):
        _, out, _ = run("config.yaml", "--account", "News 2")
    assert "class healthy now" in out
    assert [line.split(":")[0].strip() for line in out.splitlines() if "last path<" in line] == [
        "either_attempt --> healthy"
    ]


def test_a_state_of_an_engine_that_is_gone_is_not_marked_as_now(run: Run, journal: Path) -> None:
    """Without its engine an account is nowhere: the drawing says where it was known last."""
    with EngineLock(journal / "data" / paths.LOCK).held(0.0, "another engine"):
        _, out, _ = run("config.yaml", "--account", "News 2", "--format", "dot")
    assert "now here" not in out
    assert "News 2 is in an unknown state, was healthy" in out
    assert [line.strip().split(" [")[0] for line in out.splitlines() if "was last known here" in line] == ["healthy"]


# --- --heat ----------------------------------------------------------------------------------------------------------


def test_heat_counts_each_way_and_dashes_those_never_taken(run: Run, journal: Path) -> None:
    """Arrows say how often they were taken by all accounts; the others are dashed."""
    _, out, _ = run("config.yaml", "--heat", "--format", "dot")
    assert "<b>2×</b>" in arrow(out, "either_attempt", "healthy")
    assert "<b>3×</b>" in arrow(out, "either_attempt", "backoff")
    assert "<b>3×</b>" in arrow(out, "backoff", "reconnecting")
    assert "style=dashed" not in arrow(out, "backoff", "reconnecting")
    assert "style=dashed" in arrow(out, "healthy", "timeout")
    assert "never taken" in arrow(out, "healthy", "timeout")


def test_heat_says_how_long_accounts_stayed(run: Run, journal: Path) -> None:
    """A state that was left has the median of its stays: a step is a second, an attempt takes two."""
    _, out, _ = run("config.yaml", "--heat")
    told = dict(re.findall(r"^    (\w+): .*stayed (.*?) \(median\)", out, re.MULTILINE))
    assert told == {"connecting": "3 s", "healthy": "1 s", "backoff": "1 s", "reconnecting": "2 s"}


def test_heat_of_one_account_leaves_out_the_others(run: Run, journal: Path) -> None:
    """With ``--account`` only its own ways are counted."""
    _, out, _ = run("config.yaml", "--heat", "--account", "News 2", "--format", "dot")
    assert "<b>1×</b>" in arrow(out, "either_attempt", "healthy")
    assert "never taken" in arrow(out, "either_attempt", "backoff")


def test_since_bounds_the_heat_and_not_the_path(run: Run, journal: Path) -> None:
    """The stories are long ago, so an hour has no heat, while the last path stays the last."""
    _, out, _ = run("config.yaml", "--heat", "--since", "1h", "--account", "News 1", "--format", "dot")
    assert "×</b>" not in out
    assert "→ healthy → backoff" in out


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--format", "mermeid"), "did you mean 'mermaid'?"),
        (("config.yaml", "--account", "Newz 1"), "did you mean 'News 1'?"),
        (("config.yaml", "--heat", "--since", "yesterday"), "duration"),
        (("config.yaml", "--since", "24h"), "add --heat"),
        (("config.yaml", "--heat", "--format", "scxml"), "mermaid, dot, svg, png"),
    ],
)
def test_a_bad_word_is_answered_with_what_is_accepted(
    words: tuple[str, ...], hint: str, run: Run, journal: Path
) -> None:
    """Exit code 2 and a hint, for every option that can be wrong."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert hint in err
    assert "Traceback" not in err


def test_an_account_that_never_ran_is_said_to(run: Run, journal: Path) -> None:
    """The config knows it and the journal does not, so there is a sentence instead of a drawing."""
    code, out, err = run("config.yaml", "--account", "Never ran")
    assert (code, out) == (1, "")
    assert "has not run yet" in err


def test_heat_before_the_first_run_says_what_to_do(run: Run, tmp_path: Path) -> None:
    """Without a journal there is a sentence, and no journal is made."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    code, _, err = run("config.yaml", "--heat")
    assert code == 1
    assert "start the engine once" in err
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_strange_name_spoils_no_drawing(run: Run, tmp_path: Path) -> None:
    """The name of an account is written as text, whatever characters it has."""
    from engine.diagram import FORMATS, Overlay
    from states import Policy

    name = 'A <b> & "quoted"; \\ one'
    drawn = {form: FORMATS[form].draw(Policy(), Overlay(title=name)).decode() for form in ("mermaid", "dot")}
    assert "A &lt;b&gt; &amp; &quot;quoted&quot;" in drawn["dot"]
    assert json.loads(drawn["mermaid"].splitlines()[1].removeprefix("title: ")) == name
