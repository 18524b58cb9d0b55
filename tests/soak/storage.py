"""Kills a program that writes, again and again, and looks whether all that it called durable is there.

Besides, while it is stopped, its files are copied: what a machine without power would find, with and without half a
write at the end of the log.
"""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import deepcopy
from hashlib import sha256
from pathlib import Path

from attrs import define, field

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 0.4
"""Seconds that the program may write before it is killed, at the most."""


class Lost(AssertionError):
    """Something that was durable is not there, or a file is damaged."""


@define
class Durable:
    """What the program has said is durable."""

    records: set[tuple[str, str]] = field(factory=set)
    entities: set[tuple[str, str]] = field(factory=set)
    keys: dict[str, list[str]] = field(factory=dict)
    """For each session its keys, in their order."""

    def note(self, line: str) -> None:
        """Take note of a line; the last one of a killed program can be cut off, and then says nothing."""
        kind, _, rest = line.partition(" ")
        if not line.endswith("\n"):
            return
        name, _, value = rest.strip().rpartition(" ")
        match kind:
            case "record":
                self.records.add((name, value))
            case "entity":
                self.entities.add((name, value))
            case "key":
                self.keys.setdefault(name, []).append(value)


@contextmanager
def victim(directory: Path, durable: Durable) -> Iterator["subprocess.Popen[str]"]:
    """Run the program until the block ends, then kill it and read what it still said."""
    command = [sys.executable, str(ROOT / "tests" / "soak" / "victim.py"), str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        durable.note(process.stdout.readline())  # it writes from now on
        reader = threading.Thread(target=lambda lines=process.stdout: [durable.note(line) for line in lines])
        reader.start()
        try:
            yield process
        finally:
            process.kill()
            reader.join()


def check(directory: Path, durable: Durable) -> None:
    """Raise ``Lost`` if a file is damaged, or something that was durable is not in it."""
    for path in [*sorted(directory.glob("*.session")), directory / "engine.db"]:
        found = ask(path, "pragma integrity_check")
        if found != [("ok",)]:
            raise Lost(f"{path.name} is damaged: {found}")
    question = "select n.name, json_extract(j.body, '$.detail') from journal j join names n on n.id = j.account"
    if missing := durable.records - {(name, value) for name, value in ask(directory / "engine.db", question)}:
        raise Lost(f"{len(missing)} records that were durable are not there, such as {min(missing)}")
    for name, keys in durable.keys.items():
        path = directory / name
        there = {(name, str(number)) for (number,) in ask(path, "select id from entities")}
        if missing := {one for one in durable.entities if one[0] == name} - there:
            raise Lost(f"{len(missing)} entities that were durable are not there, such as {min(missing)}")
        ((stored,),) = ask(path, "select auth_key from sessions")
        if sha256(stored).hexdigest() in keys[:-1]:  # the last one, or one that there was no time to call durable
            raise Lost(f"{name} has an older key than the last that was durable")


def ask(path: Path, question: str) -> list[tuple[object, ...]]:
    """Return what a file answers, as the next program to open it sees it."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(question).fetchall()


def copied(directory: Path, to: Path) -> Path:
    """Copy the databases and their logs, nothing else."""
    to.mkdir()
    for pattern in ("*.session", "*.session-wal", "engine.db", "engine.db-wal"):
        for path in directory.glob(pattern):
            shutil.copy(path, to)
    return to


def committed_bytes(log: bytes) -> int:
    """Return where the last commit in a write-ahead log ends (https://sqlite.org/fileformat2.html#walformat)."""
    if len(log) < 32:
        return 0
    size, salts = int.from_bytes(log[8:12]), log[16:24]
    end = at = 32
    while (frame := log[at : at + 24]) and len(log) >= at + 24 + size and frame[8:16] == salts:
        at += 24 + size
        if frame[4:8] != bytes(4):
            end = at
    return end


def tear(directory: Path, chance: random.Random) -> None:
    """Leave half of a write, or of nothing, behind the last commit of each log, as a disk does that lost its power."""
    for path in directory.glob("*-wal"):
        log = path.read_bytes()
        end = committed_bytes(log)
        path.write_bytes(log[:end] + chance.randbytes(chance.randint(0, 10_000)))


def stop(process: "subprocess.Popen[str]") -> None:
    """Stop a process, and return when none of its threads runs any more."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


def kill_again_and_again(directory: Path, kills: int, seed: int) -> Durable:
    """Start, write, copy, kill, check, as often as this; return what was durable. Raises ``Lost``."""
    chance, durable = random.Random(seed), Durable()
    for number in range(kills):
        with victim(directory, durable) as process:
            threading.Event().wait(chance.uniform(0, LONGEST))
            stop(process)
            before = deepcopy(durable)
            copy = copied(directory, directory / f"copy{number}")
            torn = copied(directory, directory / f"torn{number}")
        check(copy, before)
        shutil.rmtree(copy)
        tear(torn, chance)
        check(torn, before)
        shutil.rmtree(torn)
        check(directory, durable)
    return durable
