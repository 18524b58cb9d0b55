"""``doctor``."""

import json
from pathlib import Path
from typing import Annotated

import anyio
import attrs
from cyclopts import Parameter

from engine.cli.common import EXIT_FAILED, AsJson, ConfigPath, told
from engine.config import load

ICONS = {True: "✅", False: "❌", None: "⚠️"}


def doctor(
    config: ConfigPath = Path("config.yaml"),
    *,
    fix: Annotated[bool, Parameter(negative="", help="Turn WAL on, and make files their owner's alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at everything that a run needs: files, logins, locks, disk, clock, network; and say what mends it.

    Changes nothing without --fix. Exit code 0 if all is well, 1 if something is wrong, 2 for a bad config.
    """
    from engine.doctor import examine  # noqa: PLC0415  # Telethon takes a second to import

    with told():
        settings = load(config)

        async def look() -> None:
            findings = await examine(settings, fix=fix)
            if as_json:
                print(json.dumps([attrs.asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
            else:
                for finding in findings:
                    mend = f"\n     → {finding.mend}" if finding.mend else ""
                    print(f"{ICONS[finding.well]} {finding.about}: {finding.text}{mend}")
            if any(finding.well is False for finding in findings):
                raise SystemExit(EXIT_FAILED)

        anyio.run(look)
