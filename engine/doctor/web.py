"""The check of the page's token files; none is made, and none is changed."""

from collections.abc import Iterator

from adapters.system import TokenUnusable, read_token
from engine.app.page_tokens import token_files
from engine.config import Config
from engine.doctor.findings import Finding


def check(config: Config) -> Iterator[Finding]:
    """Yield what is wrong with a token file; one that is not there yet is made by the next run."""
    for role, path in token_files(config).items():
        try:
            there = read_token(path) is not None
        except TokenUnusable as exc:
            yield Finding("page", False, str(exc))
        else:
            fate = "can be used" if there else "is made by the next run"
            yield Finding("page", True, f"{path}: the token of the page's {role.value} {fate}")
