"""The command line: ``python -m engine``, and the installed command ``holdfast``."""

import gc
import sys

COLLECTIONS = (100_000, 10, 10)
"""The thresholds of the garbage collector while a command is imported: nearly all that is made then stays. ``run`` has
its own."""


def holdfast() -> None:
    """Run the installed command."""
    _run("holdfast")


def _run(name: str) -> None:
    gc.set_threshold(*COLLECTIONS)
    try:
        # Imported here: imports take long enough for Ctrl+C to come during them.
        from engine.console import streams  # noqa: PLC0415

        streams.prepare()
        from engine.cli.process import run_process  # noqa: PLC0415

        run_process(name)
    except KeyboardInterrupt:
        # Before ``run`` listens to signals itself there is nothing to end in order yet.
        sys.exit(130)


if __name__ == "__main__":
    _run("python -m engine")
