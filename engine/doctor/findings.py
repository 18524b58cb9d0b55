"""What ``doctor`` finds: values, and their lines."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from attrs import frozen

from engine.console.shell import command

ICONS: Final = {True: "✅", False: "❌", None: "⚠️"}


@frozen
class Finding:
    """One line. ``well`` None is advice, which fails nothing; ``mend`` is a command or what a person can do."""

    about: str
    well: bool | None
    text: str
    mend: str = ""
    fixed: bool = False

    def __str__(self) -> str:
        mend = f"\n     → {self.mend}" if self.mend else ""
        return f"{ICONS[self.well]} {self.about}: {self.text}{mend}"


def verdict(findings: Iterable[Finding]) -> str:
    """Return the sentence that ends a report."""
    wells = [finding.well for finding in findings]
    wrong, advice = wells.count(False), wells.count(None)
    notes = f"; {_counted(advice, 'more is', 'more are')} worth a look" if advice else ""
    return f"{_counted(wrong, 'thing is', 'things are')} wrong{notes}" if wrong else f"all is well{notes}"


def unfinished(about: str, seconds: float) -> Finding:
    """Return what is said of a check that did not end."""
    return Finding(about, False, f"could not be looked at within {seconds:g} s", "see what holds the disk")


def unexpected(about: str, exc: Exception) -> Finding:
    """Return what is said of a check that failed in a way of its own."""
    if isinstance(exc, OSError) and exc.filename:
        why = (exc.strerror or type(exc).__name__).lower()
        return Finding(about, False, f"{exc.filename}: {why}", command("ls", "-ld", Path(exc.filename).parent))
    return Finding(about, False, f"could not be looked at ({type(exc).__name__}: {exc})", "see its permissions")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
