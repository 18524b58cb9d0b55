"""``whatif``."""

import time
from pathlib import Path
from typing import Annotated

from rich.console import Console

from engine.app.records import open_records
from engine.cli.common import EXIT_BAD_INPUT, AsJson, ConfigPath, fail, reporting_errors
from engine.cli.declared import Parameter
from engine.cli.log_common import journal_accounts
from engine.cli.times import Since, Until, parse_period
from engine.config import load
from engine.console.safe_text import json_text


def whatif(
    config: ConfigPath = Path("config.yaml"),
    *,
    changes: Annotated[
        list[str] | None,
        Parameter(
            name="--set",
            negative="",
            help="Another value of a key, such as states.backoff.network.first=2s; a list such as [1s,2s,5s] is one "
            "choice each. Can be given several times.",
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    account: Annotated[str | None, Parameter(help="Show only accounts whose name fits this pattern.")] = None,
    draws: Annotated[
        int | None, Parameter(help="Runs of each choice with other random numbers; left out, as many as it is worth.")
    ] = None,
    seed: Annotated[int, Parameter(help="Where the random numbers begin; the same ones give the same answer.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Run the outages in the journal again under other settings: downtime and attempts then, and what they had been.

    Nothing is changed, and nothing connects. What nobody can know is given as the least and the most.
    """
    from engine.cli import whatif_run as work  # noqa: PLC0415 - the list of commands needs none of it
    from engine.cli.whatif_page import page  # noqa: PLC0415 - as above

    if draws is not None and not 1 <= draws <= work.MAX_DRAWS:
        fail(EXIT_BAD_INPUT, f"--draws: must be from 1 to {work.MAX_DRAWS}, not {draws}")
    if seed < 0:
        fail(EXIT_BAD_INPUT, f"--seed: must be 0 or more, not {seed}")
    now = time.time()
    period = parse_period(since, until, now=now)
    if period.since is not None and period.since > now:
        fail(EXIT_BAD_INPUT, f"--since: {since!r} has not come yet; name a time that has been")
    end = now if period.until is None else min(now, period.until)
    with reporting_errors():
        loaded = load(config)
        choices = work.choices_of(config, changes or [])
        with open_records(loaded.storage) as reader:
            wanted = None if account is None else journal_accounts(reader, account)
            with work.progress_bar() as report, work.no_garbage():
                past = work.read_past(reader, loaded, period, end, report)
                found = work.answer_of(past, loaded, choices, work.Asked(period, end, draws, seed), report)
        if wanted is not None:
            found = work.only_of(found, wanted)
        if as_json:
            print(json_text(work.as_data(found), indent=2))
        else:
            Console(highlight=False).print(page(found))
