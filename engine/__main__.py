"""The command line: ``python -m engine``, and the installed command ``holdfast``."""

import sys


def holdfast() -> None:
    """Run the installed command."""
    _run("holdfast")


def _run(name: str) -> None:
    try:
        from engine.cli import command_line  # noqa: PLC0415  # imports take long enough for Ctrl+C to come during them

        command_line(name)()
    except KeyboardInterrupt:
        # Before ``run`` listens to signals itself there is nothing to end in order yet.
        sys.exit(130)


if __name__ == "__main__":
    _run("python -m engine")
