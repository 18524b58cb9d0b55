"""``status``."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter
from rich.console import Console

from adapters.sqlite import JournalMissing, JournalReader
from adapters.system import holder_of
from engine import layout, screen
from engine.cli.common import EXIT_BAD_INPUT, AsJson, ConfigPath, fail, told
from engine.config import Config, load, nearest
from engine.status import EngineInfo, as_data, chosen, exit_code, page
from states import Snapshot


def _info(settings: Config) -> EngineInfo:
    holder = holder_of(settings.storage.directory / layout.LOCK)
    if holder is None:
        return EngineInfo(running=False)
    return EngineInfo(running=True, pid=holder.pid, since=holder.since)


def _snapshots(settings: Config, pattern: str | None) -> dict[str, Snapshot]:
    try:
        with JournalReader.open(settings.storage.directory / layout.DATABASE) as reader:
            stored = {name: snapshot for name, (snapshot, _) in reader.snapshots().items()}
    except JournalMissing:
        stored = {}  # the engine has not run yet, which the page says
    names = [account.name for account in settings.accounts]
    found = chosen({name: stored.get(name, Snapshot()) for name in names}, pattern)
    if not found and pattern is not None:
        fail(EXIT_BAD_INPUT, f"no account is named like {pattern!r}; {nearest(pattern, names)}")
    return found


def status(
    config: ConfigPath = Path("config.yaml"),
    account: Annotated[str | None, Parameter(help="Only accounts whose name fits this pattern.")] = None,
    *,
    watch: Annotated[bool, Parameter(negative="", help="Keep showing it, until Ctrl+C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print where every account is, worst first; works with the engine down, too.

    Exit code 0 if all are healthy, 1 if some are not, 2 if a person is needed, 3 if the engine does not run.
    """
    with told():
        settings = load(config)
        console = Console()
        if watch and not as_json:
            with suppress(KeyboardInterrupt):
                anyio.run(screen.show, console, lambda: _info(settings), lambda: _snapshots(settings, account))
        info, snapshots = _info(settings), _snapshots(settings, account)
        if as_json:
            print(json.dumps(as_data(info, snapshots), ensure_ascii=False, indent=2))
        elif not watch:
            console.print(page(info, snapshots, time.time()))
        raise SystemExit(int(exit_code(info, snapshots.values())))
