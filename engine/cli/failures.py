"""What a command says of an error that the operator can correct."""

import errno

from adapters.archive.errors import DataInUse
from adapters.files import NoFile
from adapters.postgres.errors import BadAddress
from adapters.redaction import redacted
from adapters.session.errors import SessionHeld
from adapters.sqlite import StorageError
from adapters.system import LockHeld
from adapters.system.descriptors import exhaustion, is_exhaustion
from engine.cli.common import EXIT_BAD_INPUT, EXIT_ENGINE_RUNS, EXIT_FAILED, fail
from engine.console.streams import output_failure
from engine.work.kinds import BadJob
from engine.work.modules import BadModule


def report(exc: Exception) -> None:
    """Say what is wrong, and exit; return if ``exc`` is nothing that the operator can correct."""
    match exc:
        case BadJob():
            fail(EXIT_BAD_INPUT, str(exc))
        case BadModule():
            fail(EXIT_BAD_INPUT, redacted(str(exc)))  # an error of the user's code may have its secrets in it
        case LockHeld() | SessionHeld():
            fail(EXIT_ENGINE_RUNS, str(exc))
        case DataInUse():
            fail(EXIT_ENGINE_RUNS, str(exc))
        case BadAddress():
            fail(EXIT_BAD_INPUT, str(exc))
        case StorageError():
            fail(EXIT_FAILED, str(exc))
        case OSError():
            _report_os_error(exc)


def _report_os_error(exc: OSError) -> None:
    if output_failure() is not None or (isinstance(exc, FileNotFoundError) and not exc.filename):
        return  # the process itself says this, see ``process.py``
    if is_exhaustion(exc):
        fail(EXIT_FAILED, exhaustion(exc, ends=True))
    if isinstance(exc, NoFile):
        fail(EXIT_FAILED, f"{exc.filename}: {exc.strerror}")
    file = f"{exc.filename}: " if exc.filename else ""
    full = exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    advice = "free some space" if full else "see that the directory can be written"
    fail(EXIT_FAILED, f"{file}{(exc.strerror or str(exc)).lower()}; {advice}")
