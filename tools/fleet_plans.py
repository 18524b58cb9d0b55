"""Writes what ``simulate --nodes`` prints into ``docs/scale.md``, below each command that the page names.

``python -m tools.fleet_plans`` writes it. The config is the first one on the page.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
COMMAND: Final = "$ uv run python -m engine "
QUOTED: Final = re.compile(rf"```console\n{re.escape(COMMAND)}(simulate .*)\n((?:.*\n)*?)```")
"""A command on the page, and what it is said to print."""
WIDTH: Final = "110"
"""Columns of the terminal."""
SECONDS: Final = 300.0


def config_of(page: str) -> str:
    """Return the first config on the page."""
    found = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert found is not None, "the page has a config"
    return found[1]


def printed(words: str, config: str) -> str:
    """Return what a command of the page prints with a config, without blanks at the ends of lines."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "config.yaml").write_text(config, "utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "engine", *shlex.split(words)],
            cwd=directory,
            env={**os.environ, "COLUMNS": WIDTH, "PYTHONPATH": str(PAGE.parents[1])},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def main() -> None:
    """Write what all commands print."""
    text = PAGE.read_text("utf-8")
    config = config_of(text)
    PAGE.write_text(
        QUOTED.sub(lambda found: f"```console\n{COMMAND}{found[1]}\n{printed(found[1], config)}```", text), "utf-8"
    )


if __name__ == "__main__":
    main()
