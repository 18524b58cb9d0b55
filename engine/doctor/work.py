"""Checks of the user's own code: ``run`` imports it, and does not start if that fails."""

from collections.abc import Iterator
from typing import Final

import anyio

from adapters.redaction import redacted
from engine.app.job_registry import JobRegistry
from engine.app.telegram import source_of
from engine.config import Config
from engine.doctor.findings import Finding
from engine.work.kinds import BadJob
from engine.work.modules import BadModule

_REMEDY: Final = "run does not start with it; mend that file"


async def _registry(config: Config) -> JobRegistry:
    """Import the modules within a running event loop, as ``run`` does: some code cannot be imported there."""
    return JobRegistry.of(config)


def check(config: Config) -> Iterator[Finding]:
    """Import the modules of ``work.modules``, and look whether each kind that the config names is there."""
    if not (config.work.modules or config.work.kinds or config.sandbox.jobs):
        return
    try:
        registry = anyio.run(_registry, config)
        source_of(config).check(registry)
    except BadJob as exc:
        yield Finding("work", False, str(exc), _REMEDY)
    except BadModule as exc:
        yield Finding("work", False, redacted(str(exc)), _REMEDY)
    else:
        modules = ", ".join(str(each.module) for each in config.work.modules) or "no modules of its own"
        yield Finding("work", True, f"{modules}: {len(registry.kinds.by_name)} kinds of jobs")
