"""A worker of ``run``, which its parent starts, and nobody else: ``python -m engine.cli.worker CONFIG NUMBERS``."""

import os
import pickle
import sys
from functools import partial
from typing import Any, NoReturn

import anyio

from engine.cli.common import reporting_errors
from engine.cli.run import has_uvloop
from engine.console import shell, streams

_LENGTH = 8


def main(words: list[str]) -> NoReturn:
    """Read the config from the parent's pipe, and run."""
    try:
        parent, orders, lines = map(int, words[-3:])
    except ValueError:
        print("this is no command: run starts it for node.workers", file=sys.stderr)
        raise SystemExit(2) from None
    streams.prepare()
    streams.forgive_output()
    for descriptor in (orders, lines):
        os.set_inheritable(descriptor, False)
    from engine.app.worker import die_with, run_worker  # noqa: PLC0415 - it takes a second to import

    die_with(parent)
    given: dict[str, Any] = pickle.loads(_read(orders, int.from_bytes(_read(orders, _LENGTH))))
    shell.set_program(given["program"])
    os.umask(0o077)
    with reporting_errors():
        run = partial(run_worker, given["config"], orders, lines)
        raise SystemExit(anyio.run(run, backend_options={"use_uvloop": has_uvloop()}))


def _read(descriptor: int, length: int) -> bytes:
    """Return so many bytes; end if the parent has ended."""
    read = bytearray()
    while len(read) < length:
        chunk = os.read(descriptor, length - len(read))
        if not chunk:
            raise SystemExit(1)
        read += chunk
    return bytes(read)


if __name__ == "__main__":
    main(sys.argv[1:])
