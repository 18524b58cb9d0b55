"""The check of the channels of ``alerts``: the config was loaded, so each can be used; nothing is sent."""

from collections.abc import Iterator

from engine.app.alerts import outlets
from engine.config import Config
from engine.console.shell import engine_command
from engine.doctor.findings import Finding


def check(config: Config) -> Iterator[Finding]:
    """Yield which channels there are; advice if incidents are told by one alone, whose failure nobody hears of."""
    found = [outlet.label for outlet in outlets(config).values()]
    if not found:
        return
    trial = engine_command("alerts test", config.path)
    text = f"{', '.join(found)} can be used; whether messages arrive was not tried"
    yield Finding("alerts", True, text)
    if len(found) == 1:
        remedy = f"add a second channel to alerts: in the config, and try both: {trial}"
        yield Finding("alerts", None, "there is one channel only, so nobody hears of it when that one fails", remedy)
