"""The command line: ``python -m engine``, and the installed command ``holdfast``."""

import sys


def holdfast() -> None:
    """Run the installed command."""
    _run("holdfast")


def _run(name: str) -> None:
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
