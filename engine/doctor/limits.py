"""Checks of what the system lets this user have."""

from collections.abc import Iterator

from adapters.system import descriptors_for
from engine.config import Config
from engine.doctor.findings import Finding


def check(config: Config) -> Iterator[Finding]:
    """Yield whether a process started here may open as many files as the accounts need."""
    accounts = len(config.accounts)
    found = descriptors_for(accounts)
    need = f"{accounts} accounts need about {found.needed:,} open files"
    if not found.enough:
        text = f"{need}, and what is started here may open {max(found.soft, found.hard):,}"
        yield Finding("open files", False, text, f"{found.remedy}; of a service: LimitNOFILE")
    elif found.soft < found.needed:
        yield Finding("open files", True, f"{need}; run raises its limit from {found.soft:,}")
    else:
        yield Finding("open files", True, f"{need}, and {found.soft:,} are allowed")
