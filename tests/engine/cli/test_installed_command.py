"""``holdfast``, the installed command, beside ``python -m engine``: the same commands, a version, completion."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from engine.cli import app, command_line
from engine.cli.version import DISTRIBUTION, version_line


def _not_installed(name: str) -> str:
    assert name == DISTRIBUTION
    raise PackageNotFoundError(name)


def printed(words: list[str], capsys: pytest.CaptureFixture[str], name: str = "holdfast") -> str:
    """Run a command that has to succeed; return what it printed."""
    with pytest.raises(SystemExit) as left:
        command_line(name)(words)
    assert not left.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["holdfast", "python -m engine"])
def test_the_help_shows_the_name_that_was_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the help shows can be copied."""
    assert printed(["log", "explain", "--help"], capsys, name).startswith(f"Usage: {name} log explain")


def test_the_completion_knows_the_commands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script that is installed completes a command, and the shell's startup file loads it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    script = tmp_path / "completion"
    printed(["--install-completion", "--shell", "bash", "--output", str(script)], capsys)
    ask = f'source {script}; COMP_WORDS=(holdfast ver); COMP_CWORD=1; _holdfast; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", ask], check=True, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    assert done.stdout == "verify\n"
    assert str(script) in (tmp_path / ".bashrc").read_text(encoding="utf-8")


def test_two_words_are_not_completed() -> None:
    """A shell completes what follows a command of one word, so ``python -m engine`` does not offer it."""
    assert "--install-completion" in command_line("holdfast")
    assert "--install-completion" not in app


def test_the_version_of_a_checkout_is_that_of_its_project_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the project is not installed, ``--version`` says what the next wheel will be."""
    installed = version_line()
    monkeypatch.setattr("engine.cli.version.version", _not_installed)
    assert version_line() == installed


def test_the_version_of_nothing_known_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A copy of the packages alone has no version; another project's is not taken for it."""
    monkeypatch.setattr("engine.cli.version.version", _not_installed)
    project_file = tmp_path / "pyproject.toml"
    monkeypatch.setattr("engine.cli.version.PROJECT_FILE", project_file)
    assert version_line() == "holdfast unknown"
    project_file.write_text('[project]\nname = "other"\nversion = "7"\n')
    assert version_line() == "holdfast unknown"


@pytest.mark.parametrize(("home", "code"), [("/proc/1/nowhere", 1), (".", 0)])
def test_a_path_installs_the_completion_of_the_name(home: str, code: int, tmp_path: Path) -> None:
    """Called by its path it completes ``holdfast``; where it cannot write, it says so in a sentence."""
    done = subprocess.run(
        [Path(sys.executable).with_name("holdfast"), "--install-completion", "--shell", "bash"],
        check=False, capture_output=True, text=True, cwd=tmp_path,
        env={"HOME": home if home != "." else str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
