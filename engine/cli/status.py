"""``status``."""

import time
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter
from rich.console import Console

from adapters.sqlite import JournalMissing
from adapters.sqlite.job_reader import JobReader
from engine import paths
from engine.cli.common import AsJson, ConfigAndPattern, config_and_pattern, match_accounts, reporting_errors
from engine.cli.stored_status import account_statuses, read_info
from engine.config import Config, load
from engine.console import live
from engine.console.account_status import AccountStatus
from engine.console.job_lines import page as job_lines
from engine.console.job_lines import summary_data
from engine.console.safe_text import json_text
from engine.console.shell import engine_command
from engine.console.status import as_data, exit_code, page
from engine.console.svg import svg
from states.jobs import JobState, JobSummary, by_state

MAX_RUNNING_READ = 1000
"""Number of running jobs that are read; the page shows only a few of them."""


def _read_accounts(settings: Config, pattern: str | None) -> dict[str, AccountStatus]:
    accounts = account_statuses(settings)
    return accounts if pattern is None else {name: accounts[name] for name in match_accounts(list(accounts), pattern)}


def _read_jobs(settings: Config) -> JobSummary:
    try:
        with JobReader.open(settings.storage.directory / paths.DATABASE) as reader:
            running = reader.jobs({"state": [JobState.RUNNING.value]})
            return JobSummary(by_state(reader.counts()), tuple(islice(running, MAX_RUNNING_READ)))
    except JournalMissing:
        return JobSummary()


def status(
    *words: ConfigAndPattern,
    watch: Annotated[bool, Parameter(negative="", help="Keep showing a live table, until Ctrl+C.")] = False,
    picture: Annotated[Path | None, Parameter(name="--svg", help="Write the page to this file, as a picture.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the state of every account, worst first, even if the engine is not running.

    Exit code 0 if all are healthy, 1 if some are not, 2 if the operator must act, 3 if the engine is not running.
    """
    with reporting_errors():
        config, account = config_and_pattern(words)
        settings = load(config)
        console = Console()
        if watch and not as_json:
            readers = (
                partial(read_info, settings),
                partial(_read_accounts, settings, account),
                partial(_read_jobs, settings),
            )
            with suppress(KeyboardInterrupt):
                anyio.run(live.show, console, *readers)
        info, accounts, jobs = read_info(settings), _read_accounts(settings, account), _read_jobs(settings)
        if picture is not None:
            drawn = svg(page(info, accounts, time.time(), job_lines(jobs)), engine_command("status", config))
            picture.write_text(drawn, "utf-8")
        if as_json:
            values = {**as_data(info, accounts), "jobs": summary_data(jobs)}
            print(json_text(values, indent=2))
        elif not watch and picture is None:
            console.print(page(info, accounts, time.time(), job_lines(jobs)))
        raise SystemExit(int(exit_code(info, accounts.values())))
