"""``run``."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter
from rich.console import Console

from engine.cli.common import ConfigPath, duration_of, reporting_errors
from engine.config import load


def _uvloop() -> bool:
    try:
        import uvloop  # noqa: F401, PLC0415  # an extra: used if it is there
    except ImportError:
        return False
    return True


def run(
    config: ConfigPath = Path("config.yaml"),
    *,
    duration: Annotated[
        str | None, Parameter(name="--for", help="Stop by itself after this long, such as 30s or 5m.")
    ] = None,
) -> None:
    """Run the fleet until Ctrl+C: a live table on a terminal, log lines elsewhere.

    Exit code 0 after a clean stop, 2 for a bad config, 3 if another engine holds the data.
    """
    # Telethon takes a second or two to import, which the other commands need not wait for.
    from engine.app.run import run as run_engine  # noqa: PLC0415

    limit = duration_of("--for", duration) if duration is not None else None
    with reporting_errors():
        main = partial(run_engine, load(config), duration=limit, console=Console())
        os.umask(0o077)  # sessions, journal and logs are their owner's alone
        raise SystemExit(anyio.run(main, backend_options={"use_uvloop": _uvloop()}))
