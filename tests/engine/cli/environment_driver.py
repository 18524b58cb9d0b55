"""Runs many commands in one odd environment: each in a child of this process, which has imported everything.

Arguments: a file with the commands (JSON), a file for the outcomes (JSON), and what the streams are.
"""

import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

LIMIT = 600.0
"""Seconds that one command may take; a machine that is busy is slow."""
UNKNOWN_USER = 54321
STANDARD = (
    "asyncio", "concurrent.futures.thread", "difflib", "getpass", "logging.handlers", "multiprocessing", "pprint",
    "pydoc", "shutil", "sqlite3", "ssl", "uuid", "uvloop", "webbrowser", "xml.sax.saxutils",
)  # fmt: skip
"""What libraries import when they need it, besides their own modules."""


def opened(kind: str, kept: Path) -> int:
    """Return a descriptor of an odd kind, or one of a file."""
    if kind == "full":
        return os.open("/dev/full", os.O_WRONLY)
    if kind == "gone":
        reading, writing = os.pipe()
        os.close(reading)
        return writing
    return os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def become(words: list[str], streams: Mapping[str, str], where: Path, user: int | None) -> None:
    """Run a command in this child, and end it."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    if streams.get("stdin") != "closed":
        os.dup2(nowhere, 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if streams.get(name) != "closed":
            os.dup2(opened(streams.get(name, "file"), where / name), number)
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    if streams.get("directory") == "deleted":
        lost = tempfile.mkdtemp()
        os.chdir(lost)
        os.rmdir(lost)
    sys.argv[:] = ["holdfast", *words]
    sys.orig_argv[:] = ["holdfast", *words]
    import engine.cli.verify as command
    from engine.__main__ import holdfast
    from engine.verify import VerificationReport
    from engine.verify.lease import usual_cases

    # What is explored reads nothing of an environment, and takes 20 s; what is printed of it is alike for all sizes.
    command.explore = lambda **_: VerificationReport()
    command.usual_cases = lambda: (attrs.evolve(usual_cases()[-1], limit=50),)
    code: Any = 0
    try:
        holdfast()
    except SystemExit as exc:
        code = exc.code
    except BaseException:
        (where / "escaped").write_text(traceback.format_exc(), encoding="utf-8", errors="replace")
        code = 255
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            code = 120  # as Python does it at exit
    os._exit(code if isinstance(code, int) else 1)


def outcome(child: int) -> int:
    """Return a child's exit code; -9 if it had to be killed."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -9


def read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""


def load_everything() -> None:
    """Import what commands import when they need it, once for all children: an unknown user may not read it."""
    import encodings

    import anyio
    import cyclopts
    import msgspec
    import rich
    import telethon
    import yaml

    import adapters
    import engine
    import states

    for name in STANDARD:
        importlib.import_module(name)
    for package in (encodings, anyio, cyclopts, msgspec, rich, telethon, yaml, adapters, engine, states):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", "mbcs", "oem", "cp65001", "sphinx_ext", "mkdocs")):
                with suppress(ImportError):
                    importlib.import_module(module.name)


def main() -> None:
    """Run all commands, and write down what became of them."""
    plan = json.loads(Path(sys.argv[1]).read_bytes().decode("utf-8", "surrogateescape"))
    load_everything()
    gc.freeze()  # a child that collects garbage would look through, and so copy, all that was imported
    outcomes = []
    report = Path(sys.argv[2]).absolute()
    for words in plan["commands"]:
        with tempfile.TemporaryDirectory() as directory:
            where = Path(directory)
            where.chmod(0o777)
            child = os.fork()
            if not child:
                become(words, plan["streams"], where, UNKNOWN_USER if plan["unknown_user"] else None)
            code = outcome(child)
            said = {name: read(where / name) for name in ("stdout", "stderr", "escaped")}
            outcomes.append({"words": words, "code": code, **said})
    report.write_text(json.dumps(outcomes), encoding="utf-8")


if __name__ == "__main__":
    main()
