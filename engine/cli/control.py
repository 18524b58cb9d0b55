"""``pause``, ``resume`` and ``retry``: commands to a running engine."""

from collections.abc import Sequence
from typing import Annotated, NoReturn

from attrs import asdict

from adapters.system import holder_of
from engine import paths
from engine.cli.common import (
    EXIT_BAD_INPUT,
    EXIT_ENGINE_DOWN,
    EXIT_FAILED,
    AsJson,
    config_and_account,
    fail,
    match_accounts,
    reporting_errors,
    say,
)
from engine.cli.declared import Parameter
from engine.config import Config, load
from engine.console.safe_text import json_text
from engine.console.shell import engine_command
from engine.control import CommandRefused, EngineSilent, RefusalReason, Verb, send_command

AccountPattern = Annotated[
    str,
    Parameter(
        name="[CONFIG] ACCOUNT",
        negative="",
        help="The config file (config.yaml), and an account's name or a pattern of names such as 'News *'.",
    ),
]


def pause(*words: AccountPattern, as_json: AsJson = False) -> None:
    """Close an account's connection and keep it closed, even after a restart, until the account is resumed.

    Exit code 0 if it is done, 1 if it could not be done, 2 for an unknown account, 3 if the engine is not running.
    """
    _command(words, Verb.PAUSE, as_json)


def resume(*words: AccountPattern, as_json: AsJson = False) -> None:
    """Let a paused account go on where it was.

    Exit code 0 if it is done, 1 if it could not be done, 2 for an unknown account, 3 if the engine is not running.
    """
    _command(words, Verb.RESUME, as_json)


def retry(*words: AccountPattern, as_json: AsJson = False) -> None:
    """Try an account again now, even if it waits, is parked, or has unusable credentials. A flood wait stands.

    Exit code 0 if it is done, 1 if it could not be done, 2 for an unknown account, 3 if the engine is not running.
    """
    _command(words, Verb.RETRY, as_json)


def _command(words: tuple[str, ...], verb: Verb, as_json: bool) -> None:
    with reporting_errors():
        config, account = config_and_account(words)
        settings = load(config)
        names = match_accounts([each.name for each in settings.accounts], account)
        if settings.storage.database is not None:
            _command_nodes(settings, verb, names, as_json)
        holder = holder_of(settings.storage.directory / paths.LOCK)
        if holder is None:
            fail(EXIT_ENGINE_DOWN, f"the engine is not running; start it with: {engine_command('run', config)}")
        try:
            outcomes = send_command(settings, verb, account)
        except EngineSilent as exc:
            fail(EXIT_FAILED, f"{exc}; process {holder.pid} runs it: if it is just starting, try again in a moment")
        except CommandRefused as exc:
            unknown = exc.kind == RefusalReason.UNKNOWN_ACCOUNT
            advice = (
                f"; if the config is newer than the engine, have it read: {engine_command('reload', config)}"
                if unknown
                else ""
            )
            fail(EXIT_BAD_INPUT if unknown else EXIT_FAILED, f"{exc}{advice}")
        if as_json:
            print(json_text([asdict(outcome) for outcome in outcomes], indent=2))
        else:
            say(*(outcome.said for outcome in outcomes))
        raise SystemExit(0 if all(outcome.done for outcome in outcomes) else EXIT_FAILED)


def _command_nodes(settings: Config, verb: Verb, names: Sequence[str], as_json: bool) -> NoReturn:
    """Have the nodes that have the accounts do it, from any host; exit."""
    from engine.app.account_commands import NoNodeRuns, command_nodes  # noqa: PLC0415 - for such a config alone

    try:
        found = command_nodes(settings, verb, names)
    except NoNodeRuns:
        fail(EXIT_ENGINE_DOWN, f"no node runs; start one with: {engine_command('run', settings.path)}")
    if as_json:
        print(json_text([{**asdict(each.outcome), "node": each.node} for each in found], indent=2))
    else:
        say(*(f"{each.outcome.said}{f' (node {each.node})' if each.node else ''}" for each in found))
    raise SystemExit(0 if all(each.outcome.done for each in found) else EXIT_FAILED)
