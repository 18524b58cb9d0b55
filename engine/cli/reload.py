"""``reload``: the running engine reads its config again."""

from pathlib import Path
from typing import Annotated

from adapters.system import holder_of
from engine import paths
from engine.cli.common import (
    EXIT_BAD_INPUT,
    EXIT_ENGINE_DOWN,
    EXIT_FAILED,
    AsJson,
    ConfigPath,
    fail,
    reporting_errors,
    say,
)
from engine.cli.declared import Parameter
from engine.config import load_outline
from engine.console.safe_text import json_text
from engine.console.shell import engine_command
from engine.control.client import EngineSilent, ask
from engine.control.protocol import RefusalReason, Request, Verb

TIMEOUT = 120.0
"""Seconds to wait for the answer: the engine gives up on an account that does not close in the grace, and says so."""


def reload(
    config: ConfigPath = Path("config.yaml"),
    *,
    dry_run: Annotated[
        bool, Parameter(name="--dry-run", negative="", help="Only print what is different, and apply nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Have the running engine read its config again, and apply what is different while the other accounts go on.

    Exit code 0 if it is done, 1 if it could not be done, 2 for a config that cannot be used, 3 if no engine runs.
    """
    with reporting_errors():
        outline = load_outline(config)
        holder = holder_of(outline.directory / paths.LOCK)
        if holder is None:
            down = "the engine is not running, and reads the config when it starts"
            fail(EXIT_ENGINE_DOWN, f"{down}; start it with: {engine_command('run', config)}")
        request = Request(Verb.RELOAD, config=str(config.absolute()), dry_run=dry_run)
        try:
            answer = ask(outline.directory / paths.SOCKET, request, timeout=TIMEOUT)
        except EngineSilent as exc:
            fail(EXIT_FAILED, f"{exc}; process {holder.pid} runs it: if it is just starting, try again in a moment")
        if not answer.get("ok"):
            bad = answer.get("kind") == RefusalReason.BAD_CONFIG
            fail(EXIT_BAD_INPUT if bad else EXIT_FAILED, *str(answer.get("error")).splitlines())
        if as_json:
            more = {"workers": answer["workers"]} if "workers" in answer else {}
            print(json_text({"applied": answer["applied"], **answer["difference"], **more}, indent=2))
        else:
            say(*answer["lines"])
        if waiting := answer.get("waiting"):
            fail(EXIT_FAILED, *waiting)
