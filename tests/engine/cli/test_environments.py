"""Every command in every odd environment: no traceback, and only the exit codes that the documents list."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import Factory, frozen
from cyclopts import App

from engine.cli import app, command_line
from states.events import AuthRejected, Connected, NetworkLost, Started, TurnGranted
from tests.engine.commands import write_stories
from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

DRIVER = Path(__file__).with_name("environment_driver.py")
NAMES = ("Новости 📰", "Shop [1]", "-x")
CONFIG = """
telegram:
  api_id: 12345
  api_hash: 0123456789abcdef0123456789abcdef
  datacenter: {id: 2, host: 127.0.0.1, port: 9, public_key: dc.pem}
accounts:
  - {name: "Новости 📰", session: sessions/one, phone: "+9996620001"}
  - {name: "Shop [1]", session: sessions/two, phone: "+9996620002"}
  - {name: "-x", session: sessions/three, phone: "+9996620003"}
"""
PUBLIC_KEY = """-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAyMEdY1aR+sCR3ZSJrtztKTKqigvO/vBfqACJLZtS7QMgCGXJ6XIR
yy7mx66W0/sOFa7/1mAZtEoIokDP3ShoqF4fVNb6XeqgQfaUHd8wJpDWHcR2OFwv
plUUI1PLTktZ9uW2WE23b+ixNwJjJGwBDJPQEQFBE+vfmH0JP503wr5INS1poWg/
j25sIWeYPHYeOrFp/eXaqhISP6G+q2IeTaWTXpwZj4LzXq5YOpk4bYEQ6mvRq7D1
aHWfYmlEGepfaYR8Q0YqvvhYtMte3ITnuSJs171+GDqpdKcSwHnd6FudwGO4pcCO
j4WcDuXc2CTHgH8gFTNhp/Y8/SpDOhvn9QIDAQAB
-----END RSA PUBLIC KEY-----
"""

COMMANDS_PAGE = (ROOT / "docs" / "commands.md").read_text("utf-8")


@frozen
class Environment:
    """What is odd: variables (None: unset), standard streams, the directory, the user."""

    variables: Mapping[str, str | None] = Factory(dict)
    streams: Mapping[str, str] = Factory(dict)
    unknown_user: bool = False
    directory: bytes = b"work"
    encoding: str = "utf-8"
    """The encoding of the config file."""


KINDS: Mapping[str, Mapping[str, Environment]] = {
    "nothing odd": {
        "plain": Environment(),
    },
    "all unset": {
        "an empty environment": Environment(
            {name: None for name in os.environ if name not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
        ),
    },
    "encoding": {
        "stdout in ISO-8859-1": Environment({"PYTHONIOENCODING": "iso-8859-1"}),
        "stdout in ASCII": Environment({"PYTHONIOENCODING": "ascii"}),
        "stdout in cp1252": Environment({"PYTHONIOENCODING": "cp1252"}),
        "stdout in KOI8-R": Environment({"PYTHONIOENCODING": "koi8-r"}),
        "stdout in UTF-16": Environment({"PYTHONIOENCODING": "utf-16"}),
        "stdout in Shift JIS": Environment({"PYTHONIOENCODING": "shift_jis"}),
    },
    "locale": {
        "C locale, nothing coerced": Environment(
            {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "LANG": None}
        ),
        "an unknown locale": Environment({"LC_ALL": "xx_YY.nonsense", "LANG": "\x7f", "LANGUAGE": "tlh"}),
        "no locale": Environment({"LC_ALL": None, "LANG": None, "LC_CTYPE": None}),
    },
    "time zone": {
        "a bad time zone": Environment({"TZ": "Nowhere/Land:99"}),
        "a far time zone": Environment({"TZ": "XYZ-14:59:59"}),
        "an empty time zone": Environment({"TZ": ""}),
    },
    "home": {
        "no HOME": Environment({"HOME": None}, unknown_user=True),
        "an unknown user": Environment(unknown_user=True),
        "HOME that does not exist": Environment({"HOME": "/nonexistent/home"}),
        "no temporary directory": Environment({"TMPDIR": "/nonexistent"}),
    },
    "closed": {
        "stdout closed": Environment(streams={"stdout": "closed"}),
        "stderr closed": Environment(streams={"stderr": "closed"}),
        "stdin closed": Environment(streams={"stdin": "closed"}),
        "all streams closed": Environment(streams={"stdin": "closed", "stdout": "closed", "stderr": "closed"}),
    },
    "full": {
        "stdout full": Environment(streams={"stdout": "full"}),
        "stderr full": Environment(streams={"stderr": "full"}),
        "both full": Environment(streams={"stdout": "full", "stderr": "full"}),
        "unbuffered, and full": Environment({"PYTHONUNBUFFERED": "1"}, streams={"stdout": "full"}),
    },
    "reader gone": {
        "stdout's reader gone": Environment(streams={"stdout": "gone"}),
        "stderr's reader gone": Environment(streams={"stderr": "gone"}),
        "both readers gone": Environment(streams={"stdout": "gone", "stderr": "gone"}),
    },
    "terminal": {
        "no TERM": Environment({"TERM": None}),
        "a dumb terminal": Environment({"TERM": "dumb", "FORCE_COLOR": "1"}),
        "an unknown terminal": Environment({"TERM": "klingon", "COLORTERM": "truecolor", "TTY_COMPATIBLE": "1"}),
        "no colours": Environment({"NO_COLOR": "1", "TERM": "xterm-256color"}),
    },
    "columns": {
        "one column": Environment({"COLUMNS": "1", "LINES": "1"}),
        "no columns": Environment({"COLUMNS": "0"}),
        "absurd columns": Environment({"COLUMNS": "999999999999", "LINES": "999999999999"}),
        "columns that are no number": Environment({"COLUMNS": "²", "LINES": "wide"}),
    },
    "directory": {
        "the directory deleted": Environment(streams={"directory": "deleted"}),
        "a directory of bytes": Environment(directory=b"caf\xe9 \xff"),
        "a directory of bytes, in ASCII": Environment({"PYTHONIOENCODING": "ascii"}, directory=b"caf\xe9 \xff"),
    },
    "config": {
        "a config with a BOM": Environment(encoding="utf-8-sig"),
        "a config in Latin-1": Environment(encoding="latin-1"),
        "a config in UTF-16": Environment(encoding="utf-16"),
    },
}
"""The environments, by what is odd in them."""
ENVIRONMENTS = {name: environment for kind in KINDS.values() for name, environment in kind.items()}
WHOLE = ("plain", "an empty environment", "stdout in ISO-8859-1", "all streams closed")
"""Those that every command meets."""
SHARE = 3
"""Of the other environments of a kind a command meets every third; no kind has fewer than that."""

WORDS: Mapping[str, Sequence[Sequence[str]]] = {
    "run": [["CONFIG", "--for", "0.2s"]],
    "status": [["CONFIG"], ["CONFIG", "--json"], ["CONFIG", "Shop [1]"], ["CONFIG", "--svg", "page.svg"]],
    "log": [["CONFIG"], ["CONFIG", "--json"], ["CONFIG", "-n", "1"]],
    "log explain": [["3", "CONFIG"], ["3", "CONFIG", "--json"]],
    "jobs add": [
        ["CONFIG", "send", "to=@x", "text=Ж📰"],
        ["CONFIG", "--file", "-"],
        ["CONFIG", "--file", "jobs.jsonl"],
    ],
    "jobs list": [["CONFIG"], ["CONFIG", "--json"]],
    "jobs show": [["CONFIG", "1"], ["CONFIG", "1", "--json"]],
    "jobs retry": [["CONFIG", "1"]],
    "jobs cancel": [["CONFIG", "1"]],
    "pause": [["CONFIG", "Новости 📰"]],
    "resume": [["CONFIG", "Shop [1]"]],
    "retry": [["CONFIG", "Shop*"]],
    "login": [["CONFIG", "Новости 📰"]],
    "logout": [["CONFIG", "Shop [1]"]],
    "session backup": [["CONFIG"], ["CONFIG", "--json"]],
    "session restore": [["CONFIG", "Новости 📰"], ["CONFIG", "Новости 📰", "--list"]],
    "session export": [
        ["CONFIG", "Новости 📰", "Ж.txt", "--to", "string"],
        ["CONFIG", "Shop [1]", "o", "--to", "pyrogram"],
    ],
    "session import": [["CONFIG", "Новости 📰", "-"], ["CONFIG", "Shop [1]", "nowhere.txt"]],
    "backup": [["CONFIG", "n.tar.gz"], ["CONFIG", "o.tar.gz", "--json"]],
    "restore": [["CONFIG", "nowhere.tar.gz"], ["CONFIG", "nowhere.tar.gz", "--list"]],
    "doctor": [["CONFIG"], ["CONFIG", "--json"]],
    "diagram": [[], ["CONFIG", "--heat"], ["CONFIG", "--account", "Новости 📰", "--format", "md"], ["--check"]],
    "simulate": [["CONFIG"], ["CONFIG", "--json"], ["CONFIG", "--scenario", "Ж.yaml"]],
    "verify": [[], ["--json"]],
}
"""The arguments that are tried; a command that is not here is tried with none, with a config, and with a name."""
FIRST = ("run", "jobs add")
"""Those whose work other commands show: they run in every environment."""


def commands(of: App, path: str = "") -> list[str]:
    """Return the words of each command of the program."""
    found = []
    for name in of:
        if name.startswith("-"):
            continue
        words = f"{path} {name}".strip()
        found += [words] if of[name].default_command is not None else []
        found += commands(of[name], words)
    return found


def lines_for(command: str, config: str) -> list[list[str]]:
    """Return the command lines to try of a command, its help first."""
    words = [["--help"], *WORDS.get(command, [[], ["CONFIG"], ["CONFIG", "Shop [1]"]])]
    return [[*command.split(), *(config if word == "CONFIG" else word for word in line)] for line in words]


def documented() -> dict[int, str]:
    """Return the exit codes that the documents list, and which commands have them."""
    table = COMMANDS_PAGE.split("\n## Exit codes\n")[1].split("\n## ")[0]
    return {int(code): whose for code, whose in re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|", table, re.MULTILINE)}


async def prepare(directory: Path, environment: Environment) -> Path:
    """Write a config, its key, a journal and a file of jobs; return the directory."""
    work = Path(os.fsdecode(os.fsencode(directory) + b"/" + environment.directory))
    work.mkdir()
    await write_stories(
        work,
        CONFIG,
        {
            "Новости 📰": [Started(), TurnGranted(generation=0), NetworkLost(detail="тайм-аут 📰")],
            "Shop [1]": [Started(), TurnGranted(generation=0), Connected()],
            "-x": [Started(), TurnGranted(generation=0), AuthRejected(detail="SESSION_REVOKED (401)")],
        },
    )
    text = CONFIG if environment.encoding != "latin-1" else CONFIG.replace("Новости 📰", "Café")
    (work / "config.yaml").write_text(text, environment.encoding)
    (work / "dc.pem").write_text(PUBLIC_KEY)
    (work / "jobs.jsonl").write_text('{"kind": "send", "data": {"to": "@x", "text": "Ж"}}\n', "utf-8")
    for parent in (work, work / "data", *(work / "data").iterdir()):
        parent.chmod(0o777)
    for parent in (directory, *directory.parents):
        if parent.owner() and parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    return work


def outcomes(directory: Path, work: Path, environment: Environment, lines: Sequence[Sequence[str]]) -> Any:
    """Run the command lines in an environment; return what became of each."""
    plan, report = directory / "plan.json", directory / "report.json"
    streams = dict(environment.streams)
    plan.write_text(
        json.dumps({"commands": lines, "streams": streams, "unknown_user": environment.unknown_user}), "utf-8"
    )
    variables = {**os.environ, "HOME": str(directory), "PYTHONPATH": str(ROOT), **environment.variables}
    closed = [number for number, name in enumerate(("stdin", "stdout", "stderr")) if streams.get(name) == "closed"]
    before = "".join(f" {number}{'<' if not number else '>'}&-" for number in closed)
    subprocess.run(
        ["/bin/sh", "-c", f'exec "$@"{before}', "sh", sys.executable, str(DRIVER), str(plan), str(report)],
        cwd=work,
        env={name: value for name, value in variables.items() if value is not None},
        timeout=30 * TIMEOUT,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return json.loads(report.read_text("utf-8"))


def complaints(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is wrong with outcomes: a traceback, or an exit code that is not documented."""
    codes = documented()
    wrong = []
    for each in found:
        command = next((name for name in ALL if each["words"][: len(name.split())] == name.split()), "")
        whose = codes.get(each["code"], "")
        said = each["stdout"] + each["stderr"] + each["escaped"]
        listed = whose == "every command" or f"`{command}`" in whose
        if (
            not listed
            or each["code"] == 70
            or "file names are" in said
            or "Traceback" in said
            or "Logging error" in said
        ):
            wrong.append(f"{each['words']}: {each['code']}\n{said[-1500:]}")
    return wrong


ALL = sorted(commands(app), key=len, reverse=True)


def met(name: str) -> list[str]:
    """Return the commands that an environment meets, as the test below says."""
    if name in WHOLE:
        return ALL
    kind = next(tuple(names) for names in KINDS.values() if name in names)
    turn = kind.index(name)
    return [command for number, command in enumerate(ALL) if command in FIRST or (number + turn) % SHARE == 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
async def test_every_command_is_orderly(name: str, tmp_path: Path) -> None:
    """Every command of the program ends with a documented code, and without a traceback.

    Those of ``WHOLE`` run every command. Each other environment runs every third, and the one after it in its kind the
    next third: so each command meets each kind at least once, always in the same environments, and with all its lines.
    """
    environment = ENVIRONMENTS[name]
    work = await prepare(tmp_path, environment)
    config = str(work / "config.yaml") if "directory" in environment.streams else "config.yaml"
    lines = [line for command in reversed(met(name)) for line in lines_for(command, config)]
    lines += [
        ["--version"],
        ["--help"],
        [],
        ["nonsense"],
        ["jobs", "show", "--nonsense"],
        ["--install-completion", "--shell", "bash"],
    ]
    assert not complaints(outcomes(tmp_path, work, environment, lines))


def test_the_program_has_no_command_that_the_matrix_misses() -> None:
    """The commands are read from the program itself, under the name that is installed."""
    assert set(WORDS) <= set(ALL)
    assert set(commands(command_line("holdfast"))) == set(ALL)


def test_every_command_meets_every_kind_of_environment() -> None:
    """However many commands there are, and in whatever order."""
    for kind, names in KINDS.items():
        assert {command for name in names for command in met(name)} == set(ALL), kind
