"""``run``."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from rich.console import Console

from engine.cli.common import EXIT_FAILED, ConfigPath, fail, parse_duration_option, reporting_errors
from engine.cli.declared import Parameter
from engine.config import LogFormat, load
from engine.console.streams import forgive_output

LOOP_STOPPED = "Event loop stopped before"
"""What asyncio and uvloop say if somebody else stopped the loop."""

MEND = "mend the job or handler that does so, and start again"


def has_uvloop() -> bool:
    """Return whether the faster loop is there."""
    try:
        import uvloop  # noqa: F401, PLC0415  # not everywhere: asyncio's own loop does without
    except ImportError:
        return False
    return True


def run(
    config: ConfigPath = Path("config.yaml"),
    *,
    duration: Annotated[str | None, Parameter(name="--for", help="Stop after this long, such as 30s or 5m.")] = None,
    log_format: Annotated[
        LogFormat | None,
        Parameter(name="--log-format", help="Write log lines as text or as JSON, whatever the config says."),
    ] = None,
) -> None:
    """Run the fleet until Ctrl+C: a screen on a terminal, log lines elsewhere.

    Exit code 0 after a clean stop, 2 for a bad config, 3 if another engine holds the data.
    """
    # Imported here, because Telethon takes a second or two to import and most commands do not need it.
    from engine.app.run import run as run_engine  # noqa: PLC0415

    limit = parse_duration_option("--for", duration) if duration is not None else None
    with reporting_errors():
        forgive_output()
        settings = load(config)
        main = partial(run_engine, settings, duration=limit, console=Console(), log_format=log_format)
        if settings.node.workers != 1:
            from engine.app.workers import count_workers, run_workers  # noqa: PLC0415 - most engines are one process

            if (count := count_workers(settings)) > 1:
                main = partial(run_workers, settings, count, duration=limit, console=Console(), log_format=log_format)
        os.umask(0o077)  # sessions, journal and logs are private to their owner
        try:
            code = anyio.run(main, backend_options={"use_uvloop": has_uvloop()})
        except SystemExit as exc:  # the engine raises none, and the code of somebody else's has another meaning here
            fail(EXIT_FAILED, f"code in this process called sys.exit({exc.code!r:.60}) in a task or callback; {MEND}")
        except RuntimeError as exc:
            if LOOP_STOPPED not in str(exc):
                raise
            fail(EXIT_FAILED, "code in this process stopped the event loop with stop(); " + MEND)
        raise SystemExit(code)
