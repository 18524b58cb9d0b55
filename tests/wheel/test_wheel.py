"""The wheel as its user meets it: installed into an environment of its own, far from the checkout."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import frozen

import engine

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
USER_PROJECT = """
[mypy]
strict = true
[mypy-telethon.*]
ignore_missing_imports = true
"""
"""What a user's project needs to say to mypy: Telethon ships no types."""
TIMEOUT = 300.0
"""Seconds that one command may take on a busy machine; the longest takes about ten on a quiet one."""


def run(*command: str | Path, within: Path) -> str:
    """Run a command that has to succeed, without a way back to the checkout; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, command)),
        check=False,
        cwd=within,
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@frozen
class Installed:
    """A directory of a user's, and the environment beside it that has the wheel."""

    directory: Path
    commands: Path

    def run(self, command: str, *words: str | Path) -> str:
        """Run a command of the environment in the directory; return what it printed."""
        return run(self.commands / command, *words, within=self.directory)

    def copy(self, sources: Sequence[Path]) -> list[str]:
        """Copy files into the directory; return their names."""
        return [shutil.copy(source, self.directory) and source.name for source in sources]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel, and install it with mypy into a new environment."""
    place = tmp_path_factory.mktemp("wheel")
    run("uv", "build", "--wheel", "--out-dir", place / "dist", ROOT, within=place)
    (wheel,) = (place / "dist").glob("*.whl")
    run("uv", "venv", "--python", sys.executable, place / "venv", within=place)
    python = place / "venv" / "bin" / "python"
    run("uv", "pip", "install", "--python", python, wheel, "mypy", within=place)
    directory = place / "project"
    directory.mkdir()
    (directory / "mypy.ini").write_text(USER_PROJECT, encoding="utf-8")
    return Installed(directory, python.parent)


def test_the_installed_command_says_its_version(installed: Installed) -> None:
    """``holdfast`` is on the path, and knows the version from what was installed."""
    assert installed.run("holdfast", "--version") == "holdfast 0.1.0\n"
    assert installed.run("python", "-m", "engine", "--version") == "holdfast 0.1.0\n"


def test_mypy_strict_passes_on_a_users_program(installed: Installed) -> None:
    """Decorated functions keep their types, and mistakes in using them are found."""
    names = installed.copy([Path(__file__).with_name(name) for name in ("typed_program.py", "mistakes.py")])
    assert "no issues found in 2 source files" in installed.run("mypy", *names)


def test_mypy_strict_knows_every_public_name(installed: Installed) -> None:
    """The lazy imports hide none of them from a type checker."""
    uses = "".join(f"print(engine.{name})\n" for name in engine.__all__)
    (installed.directory / "every_name.py").write_text(f"import engine\n\n{uses}", encoding="utf-8")
    assert "no issues found" in installed.run("mypy", "every_name.py")


def test_mypy_strict_passes_on_the_examples(installed: Installed) -> None:
    """What a user copies from ``examples/`` is typed as strictly as mypy can check it."""
    names = installed.copy(sorted((ROOT / "examples").glob("*.py")))
    assert f"no issues found in {len(names)} source files" in installed.run("mypy", *names)


def test_the_default_config_runs(installed: Installed) -> None:
    """The sandbox starts from the installed packages, accounts connect, and the run ends in order."""
    (name,) = installed.copy([ROOT / "config.yaml"])
    printed = installed.run("holdfast", "run", name, "--for", "3s")
    assert "✅ Successfully connected Account 1" in printed
    assert "✅ Stopped" in printed
    assert "Traceback" not in printed


def test_the_page_of_verify_comes_with_the_package(installed: Installed) -> None:
    """Its style and its scripts are in the wheel, and the file that it is written into needs nothing else."""
    printed = installed.run("holdfast", "verify", "--html", "machine.html")
    assert "machine.html has the page; open it in a browser" in printed
    page = (installed.directory / "machine.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert all(part in page for part in ("class Machine", "function readLink", "#picture", '"configurations":['))
    assert len(page) < 5_000_000
