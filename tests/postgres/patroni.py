"""A real PostgreSQL cluster that fails over by itself: three servers, each under Patroni, with synchronous replication.

Everything is on 127.0.0.1, at ports below those that the kernel gives to clients, and in one directory below /tmp. Each
member is a "host" of its own (``patroni_host.py``), which ends with the process of the tests, however that ends. The
members agree by Patroni's own Raft, which is good enough for tests alone. A host that is lost is replaced after 20 s,
the least that Patroni does.
"""

import atexit
import contextlib
import functools
import http.client
import importlib.util
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import sql

from tests.postgres.server import NOBODY, SUPERUSER, PostgresMissing, as_user, programs
from tests.timeouts import TIMEOUT

_HOST: Final = Path(__file__).with_name("patroni_host.py")
_PORTS: Final = range(20_000, 32_000)
"""Of which the kernel gives none to a client, so that a server that starts again finds its own free."""
_SETTINGS: Final = {
    "shared_buffers": "16MB",
    "max_connections": 60,
    "max_wal_senders": 8,
    "max_replication_slots": 8,
    "max_worker_processes": 2,
    "max_logical_replication_workers": 0,
    "autovacuum": "off",
    "log_min_messages": "warning",
}
_NOT_DURABLE: Final = {"fsync": "off", "full_page_writes": "off"}
_ADMITS: Final = ["local all all trust", "host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]
_STARTS_PATRONI: Final = "import subprocess, sys; subprocess.check_call([sys.executable, '-m', 'patroni', '--version'])"
"""Another user's Python may find its own library, and not that of the one that executes it."""

Members: TypeAlias = dict[str, dict[str, Any]]


class PatroniCluster:
    """Three members, of which one is the primary and another one its synchronous standby.

    ``durable`` has the servers write to the disk what they would need when the *machine* crashes.
    """

    names: Final = ("one", "two", "three")

    def __init__(self, *, durable: bool = False) -> None:
        self._user = as_user(Path(sys.executable), "-c", _STARTS_PATRONI)
        self._settings = {**_SETTINGS, **({} if durable else _NOT_DURABLE)}
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-pg-", dir="/tmp"))  # a socket's path has 107 bytes
        ports = iter(free_ports(3 * len(self.names)))
        self.ports = {name: next(ports) for name in self.names}
        """At which each server listens."""
        self._rest = {name: next(ports) for name in self.names}
        self._raft = {name: next(ports) for name in self.names}
        self._hosts: dict[str, subprocess.Popen[bytes]] = {}
        self._lost: dict[str, bool] = {}
        """The hosts that are lost, and whether each is stopped and not killed."""
        self._numbers = itertools.count()
        atexit.register(self.remove)

    # --- its life ---

    def start(self) -> None:
        """Make it and start it, and return when it is whole. Call it in the main thread: the hosts end with that."""
        environment = {
            "PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.directory), "LC_ALL": "C", "TZ": "UTC",
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        for name in self.names:
            at = self.directory / name
            at.mkdir()
            (at / "patroni.json").write_text(json.dumps(self._config(name)), encoding="utf-8")  # JSON is YAML
            with (at / "log").open("ab") as log:
                patroni = (sys.executable, "-m", "patroni", str(at / "patroni.json"))
                self._hosts[name] = subprocess.Popen(
                    [*self._user, sys.executable, str(_HOST), *patroni],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                    cwd=at, start_new_session=True, env=environment,
                )  # fmt: skip
        if os.geteuid() == 0:
            for path in (self.directory, *self.directory.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        for name in self.names:
            self._tell(name, "start")
        self.until_whole()

    def remove(self) -> None:
        """End it, and delete its data."""
        for host in self._hosts.values():
            assert host.stdin is not None
            host.stdin.close()
        for host in self._hosts.values():
            host.wait(TIMEOUT)
            assert host.stdout is not None
            host.stdout.close()
        self._hosts.clear()
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.remove)

    # --- what happens to it ---

    def switchover(self) -> str:
        """Have another member become the primary, in order, and return which once it is."""
        before = self.primary()
        standby = next(name for name, each in self.members().items() if each["role"] == "sync_standby")
        question = urllib.request.Request(
            f"http://127.0.0.1:{self._rest[before]}/switchover",
            json.dumps({"leader": before, "candidate": standby}).encode(),
            method="POST",
        )
        with urllib.request.urlopen(question, timeout=TIMEOUT) as answer:
            assert answer.status == 200, answer.read()
        self._until(lambda: self.primary() == standby, "no other member becomes the primary")
        return standby

    def crash(self, name: str | None = None) -> str:
        """Kill the server of a member (None: the primary's), which Patroni starts again, and return its name."""
        name = name or self.primary()
        os.kill(self.postmaster(name), signal.SIGKILL)  # its own processes end when they notice that it has
        return name

    def lose_host(self, name: str | None = None, *, stopped: bool = False) -> str:
        """Lose the host of a member (None: the primary's), with Patroni and PostgreSQL, and return its name.

        ``stopped`` leaves its connections open, and nothing answers on them: as when its network is lost. Otherwise
        its processes are killed all at once, and connections to it are refused.
        """
        name = name or self.primary()
        assert name not in self._lost, f"{name} is lost already"
        self._tell(name, "stop" if stopped else "kill")
        self._lost[name] = stopped
        return name

    def heal(self) -> None:
        """Bring the hosts back that were lost, and return when the cluster is whole."""
        for name, stopped in self._lost.items():
            self._tell(name, "continue" if stopped else "start")
        self._lost.clear()
        self.until_whole()

    # --- what it is ---

    def members(self) -> Members:
        """Return what the members say of each other, by name; nothing when none of them answers."""
        for name in self.names:
            if answer := self._ask(name, "cluster"):
                return {each["name"]: each for each in json.loads(answer)["members"]}
        return {}

    def primary(self) -> str:
        """Return the name of the member that takes writes, once there is one."""
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [name for name in self.names if self._ask(name, "primary")]  # a standby answers 503
            return len(found) == 1

        self._until(is_there, "there is no primary")
        return found[0]

    def until_whole(self) -> None:
        """Return when there is one primary, and two standbys follow it, one of them synchronously."""
        self._until(self._is_whole, "it does not become whole")

    def _is_whole(self) -> bool:
        members = self.members()
        if len(members) != len(self.names):
            return False
        states = sorted((each["role"], each["state"]) for each in members.values())
        usual = [("leader", "running"), ("replica", "streaming"), ("sync_standby", "streaming")]
        lines = {each.get("timeline") for each in members.values()}
        return states == usual and len(lines) == 1 and all(map(self._answers, self.names)) and self._is_synchronous()

    def _is_synchronous(self) -> bool:
        """Return whether commits wait for a standby that follows: Patroni learns of that a moment later."""
        with contextlib.suppress(psycopg.Error):
            [(number,)] = self.execute("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
            return number == 1
        return False

    def _ask(self, name: str, path: str) -> bytes:
        """Return what the Patroni of a member answers; nothing if it does not, or with an error."""
        if name not in self._lost:
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                urllib.request.urlopen(f"http://127.0.0.1:{self._rest[name]}/{path}", timeout=2) as answer,
            ):
                return bytes(answer.read())
        return b""

    def _answers(self, name: str) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url(only=name), connect_timeout=5).close()
            return True
        return False

    def postmaster(self, name: str) -> int:
        """Return the number of the process that is the server of a member."""
        return int((self.directory / name / "data" / "postmaster.pid").read_text().split()[0])

    def log(self, name: str) -> str:
        """Return what Patroni and PostgreSQL of a member have said."""
        return (self.directory / name / "log").read_text(encoding="utf-8", errors="replace")

    # --- its databases ---

    def url(self, database: str = "postgres", *, only: str | None = None) -> str:
        """Return the address of a database, with all members of which the primary is taken; ``only`` names one."""
        if only is not None:
            return f"postgresql://{SUPERUSER}@127.0.0.1:{self.ports[only]}/{database}"
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports.values())
        return f"postgresql://{SUPERUSER}@{hosts}/{database}?target_session_attrs=read-write"

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement at the primary as its superuser, outside any transaction."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def clone(self, template: str) -> str:
        """Make a new database as a copy of another one, and return its name."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return name

    def drop(self, name: str) -> None:
        """Delete a database, whoever is connected to it."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    # --- within ---

    def _config(self, name: str) -> dict[str, Any]:
        at = self.directory / name
        listens = {key: f"127.0.0.1:{port[name]}" for key, port in (("rest", self._rest), ("pg", self.ports))}
        return {
            "scope": "holdfast",
            "name": name,
            "restapi": {"listen": listens["rest"], "connect_address": listens["rest"]},
            "raft": {
                "data_dir": str(at / "raft"),
                "self_addr": f"127.0.0.1:{self._raft[name]}",
                "partner_addrs": [f"127.0.0.1:{port}" for other, port in self._raft.items() if other != name],
            },
            "bootstrap": {
                "dcs": {
                    "ttl": 20,
                    "loop_wait": 1,
                    "retry_timeout": 3,
                    "synchronous_mode": True,
                    "synchronous_mode_strict": True,  # without a standby nothing is acknowledged
                    "postgresql": {"use_pg_rewind": True, "parameters": self._settings},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, {"wal-segsize": "1"}, "no-sync"],
            },
            "postgresql": {
                "listen": listens["pg"],
                "connect_address": listens["pg"],
                "data_dir": str(at / "data"),
                "bin_dir": str(programs()),
                "pgpass": str(at / "pgpass"),
                "authentication": {
                    "superuser": {"username": SUPERUSER},
                    "replication": {"username": SUPERUSER},
                },
                "parameters": {"unix_socket_directories": str(at)},
                "pg_hba": _ADMITS,
                "remove_data_directory_on_diverged_timelines": True,
                "remove_data_directory_on_rewind_failure": True,
            },
        }

    def _tell(self, name: str, word: str) -> None:
        host = self._hosts[name]
        assert host.stdin is not None
        assert host.stdout is not None
        host.stdin.write(word.encode() + b"\n")
        host.stdin.flush()
        assert host.stdout.readline() == b"done\n", self.log(name)[-2000:]

    def _until(self, holds: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not holds():
            if time.monotonic() > deadline:
                said = "\n".join(f"--- {name}: {self.log(name)[-3000:]}" for name in self.names)
                raise AssertionError(f"the cluster: {otherwise}: {self.members()}\n{said}")
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 at which nothing listens."""
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as it, contextlib.suppress(OSError):
            it.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no port is free")


@functools.cache
def shared_cluster() -> PatroniCluster:
    """Return the cluster that the tests of this process share; it is started when first asked for (in 10 to 20 s)."""
    if sys.platform != "linux":
        raise PostgresMissing("a cluster ends with the tests on Linux alone")
    if importlib.util.find_spec("patroni") is None:
        raise PostgresMissing("patroni is not installed here")
    cluster = PatroniCluster()
    try:
        cluster.start()
    except BaseException:
        cluster.remove()
        raise
    return cluster


@contextlib.contextmanager
def whole_cluster() -> Iterator[PatroniCluster]:
    """Lend the shared cluster, whole, to one test, which may do to it what it likes. Raises ``PostgresMissing``."""
    cluster = shared_cluster()
    cluster.heal()
    yield cluster
