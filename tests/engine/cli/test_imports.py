"""Which heavy modules each command imports: most commands are short, and importing is nearly all that they do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

HEAVY = (
    "anyio",
    "apprise",
    "asyncio",
    "cattrs",
    "cryptg",
    "cyclopts",
    "difflib",
    "docstring_parser",
    "engine.config.sections",
    "engine.config.structure",
    "engine.control.client",
    "engine.screen",
    "markdown_it",
    "msgspec",
    "multiprocessing",
    "pygments",
    "requests",
    "rich",
    "ruamel",
    "segno",
    "ssl",
    "states.events",
    "states.jobs",
    "states.machine",
    "states.schedules",
    "structlog",
    "telethon",
    "tempfile",
    "tomllib",
    "transitions",
    "uvloop",
    "yaml",
)
"""What takes several milliseconds to import, or seconds; a module stands for all below it."""
WHOLE_CONFIG = {"engine.config.sections", "engine.config.structure", "states.jobs", "states.schedules"}
"""What a command imports that needs more of the config than its outline."""
COMMANDS: dict[str, set[str]] = {
    "status CONFIG": {"rich"},
    "status CONFIG --json": set(),
    "log CONFIG": {"rich"},
    "log CONFIG -n 20 --json": set(),
    "jobs list CONFIG --json": set(),
    "jobs list CONFIG": {"rich"},
    "jobs show CONFIG 1 --json": set(),
    "incidents CONFIG": set(),
    "incidents CONFIG --open --json": set(),
    "pause CONFIG A": WHOLE_CONFIG | {"engine.control.client"},
    "reload CONFIG": {"engine.control.client"},
    "account list CONFIG": WHOLE_CONFIG,
    "resume CONFIG A": WHOLE_CONFIG | {"engine.control.client"},
    "retry CONFIG A": WHOLE_CONFIG | {"engine.control.client"},
    "session backup CONFIG --json": WHOLE_CONFIG | {"tempfile", "states.events"},
    "simulate CONFIG": WHOLE_CONFIG
    | {"rich", "states.events", "states.machine", "transitions", "structlog", "asyncio", "ssl", "tempfile", "pygments"},
    "whatif CONFIG --json": WHOLE_CONFIG
    | {
        "asyncio",
        "cattrs",
        "pygments",
        "rich",
        "ssl",
        "states.events",
        "states.machine",
        "structlog",
        "transitions",
    },
    "--version": {"cyclopts", "docstring_parser", "markdown_it", "pygments", "rich", "tempfile", "tomllib"},
}
"""Commands, and the heavy modules that each may import."""
PROGRAM = """
import atexit, json, sys
from engine.__main__ import holdfast
sys.argv[0] = "holdfast"
atexit.register(lambda: print("\\n" + json.dumps(sorted(sys.modules)), file=sys.stderr))
holdfast()
"""
CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
accounts:
  - {name: A, session: a}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a config whose engine has run once, and has a job."""
    from adapters.sqlite.jobs import NewJob, add

    path = tmp_path_factory.mktemp("imports") / "config.yaml"
    path.write_text(CONFIG, "utf-8")
    (path.parent / "data").mkdir()
    add(path.parent / "data" / "engine.db", [NewJob(kind="send", data={"to": "@x", "text": "hi"})])
    return path


def imported(words: list[str]) -> set[str]:
    """Return the modules that a command has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_what_it_needs_and_nothing_else(config: Path, command: str) -> None:
    """A command whose line is read does not wait for Telethon, the rules, or the tables that it does not print."""
    found = imported([str(config) if word == "CONFIG" else word for word in command.split()])
    assert {heavy for heavy in HEAVY if heavy in found} <= COMMANDS[command]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_no_other_command(config: Path, command: str) -> None:
    """The modules of the other commands stay unread."""
    others = {"run", "status", "control", "login", "doctor", "diagram", "verify", "log", "session_store", "jobs"}
    others |= {"simulate", "incidents"}
    found = imported([str(config) if word == "CONFIG" else word for word in command.split()])
    assert len(found & {f"engine.cli.{other}" for other in others}) <= 1 or command.startswith("--")


def test_an_unusual_line_is_read_by_the_library(config: Path) -> None:
    """The library is imported for a line that is not plain."""
    assert "cyclopts" in imported(["status", str(config), "--json=true"])


def test_the_page_of_commands_does_not_import_telethon() -> None:
    """The page lists all commands, and shows none of what they do."""
    found = imported(["--help"])
    assert not {"telethon", "asyncio", "structlog", "segno", "ssl"} & found
