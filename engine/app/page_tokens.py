"""The tokens of the page: where their files are, and who may see the page because of them. A composition root."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import structlog
from attrs import define

from adapters.system import TokenUnusable, read_or_make_token
from engine import paths
from engine.config import Config
from engine.console.shell import engine_command
from engine.web.page.access import PageAccess
from engine.web.page.link import page_link
from engine.web.page.source import PageRole

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at the files: whoever deletes one ends all visits with its token."""
FIRST_SECONDS: Final = 2.0
"""For which the start of a run on a terminal waits for the link."""

log = structlog.get_logger("holdfast.web")


def token_files(config: Config) -> dict[PageRole, Path]:
    """Return the files of the tokens that a config has; none without a web server."""
    if config.web is None:
        return {}
    found = {PageRole.OPERATOR: config.web.token_file or config.storage.directory / paths.WEB_TOKEN}
    if config.web.reader_token_file is not None:
        found[PageRole.READER] = config.web.reader_token_file
    return found


def read_tokens(config: Config) -> tuple[dict[PageRole, str], list[str]]:
    """Return the tokens, made if need be, and what is wrong with the others, in sentences. Blocks."""
    tokens: dict[PageRole, str] = {}
    problems = []
    for role, path in token_files(config).items():
        try:
            token = read_or_make_token(path)
        except TokenUnusable as exc:
            problems.append(str(exc))
            continue
        if token in tokens.values():
            problems.append(f"{path}: has the token of the operators; delete the file, and one with another is made")
        else:
            tokens[role] = token
    if PageRole.OPERATOR not in tokens:  # the cookies of readers would end with its next token, too
        tokens.clear()
    return tokens, problems


def link_of(config: Config, role: PageRole = PageRole.OPERATOR) -> str:
    """Return the link for a role. Blocks. Raises ``TokenUnusable``, and ``LookupError`` if the config has none."""
    if config.web is None or (path := token_files(config).get(role)) is None:
        raise LookupError(role)
    return page_link(config.web.listen, read_or_make_token(path))


@define(eq=False)
class PageTokens:
    """Keeps those who may see the page in step with the files."""

    config: Config
    access: PageAccess
    changed: Callable[[], None]
    """Ends what was begun with other tokens."""

    async def run(self) -> None:
        """Look at the files until cancelled."""
        told: list[str] = []
        while True:
            tokens, problems = await anyio.to_thread.run_sync(read_tokens, self.config, abandon_on_cancel=True)
            if self.access.use(tokens):
                self.changed()
                if tokens:
                    command = engine_command("web link", self.config.path)
                    log.info("page_ready", path=str(token_files(self.config)[PageRole.OPERATOR]), command=command)
            for problem in problems:
                if problem not in told:
                    log.error("page_token_unusable", detail=problem)
            told = problems
            await anyio.sleep(LOOK_EVERY)
