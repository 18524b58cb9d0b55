"""``alerts test``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from engine.cli.common import EXIT_BAD_INPUT, EXIT_FAILED, AsJson, ConfigPath, fail, parse_number, reporting_errors
from engine.cli.declared import CommandGroup, Parameter
from engine.config import load
from engine.console.safe_text import json_text, one_line

if TYPE_CHECKING:  # a config that is wrong needs none of it
    from engine.app.alerts import Trial

app = CommandGroup(name="alerts", help="Try the channels by which the config sends alerts.")


@app.command("test")
def send_test(
    config: ConfigPath = Path("config.yaml"),
    *,
    channel: Annotated[
        str | None, Parameter(help="The number of one channel, counted from 1 as they are printed; left out, all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a test message by each channel of alerts, and tell which of them took it. No engine has to run.

    Exit code 0 if all were sent, 1 if one was not, 2 for a bad config, for one without alerts, and for an unknown
    channel.
    """
    with reporting_errors():
        settings = load(config)
        import anyio  # noqa: PLC0415 - a config that is wrong needs none of these

        from engine.app.alerts import outlets, try_channel  # noqa: PLC0415

        found = list(outlets(settings).values())
        if not found:
            fail(
                EXIT_BAD_INPUT, f"{config}: there are no alerts to test; add a list alerts: with an entry to: or exec:"
            )
        numbers = [_number(channel, len(found))] if channel is not None else range(1, len(found) + 1)
        trials: list[Trial] = []

        async def send_all() -> None:
            for number in numbers:
                trial = await try_channel(settings, number, found[number - 1])
                trials.append(trial)
                if as_json:
                    print(json_text(_as_data(trial)), flush=True)
                else:
                    print(one_line(_line(trial)), flush=True)

        anyio.run(send_all)
        wrong = sum(trial.problem is not None for trial in trials)
        if wrong and not as_json:
            print(f"{wrong} of {len(trials)} channels did not take the message", file=sys.stderr)
        raise SystemExit(EXIT_FAILED if wrong else 0)


def _number(word: str, count: int) -> int:
    number = parse_number(word)
    if number is None or not 1 <= number <= count:
        there = "there is only channel 1" if count == 1 else f"there are channels 1 to {count}"
        fail(EXIT_BAD_INPUT, f"--channel: there is no channel {one_line(word, 40)!r}; {there}")
    return number


def _line(trial: "Trial") -> str:
    outcome = "sent" if trial.problem is None else f"not sent: {trial.problem}"
    return f"{trial.number} {trial.channel}: {outcome}"


def _as_data(trial: "Trial") -> dict[str, Any]:
    return {"number": trial.number, "channel": trial.channel, "sent": trial.problem is None, "problem": trial.problem}
