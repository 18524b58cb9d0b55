"""``doctor``."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio

from engine.cli.common import EXIT_FAILED, AsJson, ConfigPath, reporting_errors
from engine.cli.declared import Parameter
from engine.config import load
from engine.console.safe_text import json_text


def doctor(
    config: ConfigPath = Path("config.yaml"),
    *,
    fix: Annotated[bool, Parameter(negative="", help="Turn WAL on, and make files private to their owner.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check what a run needs: files, logins, locks, disk, clock, network; print what is wrong, and its remedy.

    Changes nothing without --fix. Exit code 0 if all is well, 1 if something is wrong, 2 for a bad config.
    """
    from engine.doctor import as_data, run_checks, verdict  # noqa: PLC0415  # Telethon takes a second to import

    with reporting_errors():
        settings = load(config)
        findings = anyio.run(partial(run_checks, settings, fix=fix))
        if as_json:
            print(json_text([as_data(finding) for finding in findings], indent=2))
        else:
            print("\n".join(map(str, findings)), flush=True)
            print(verdict(findings), file=sys.stderr)
        raise SystemExit(EXIT_FAILED if any(finding.ok is False for finding in findings) else 0)
