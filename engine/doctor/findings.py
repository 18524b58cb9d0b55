"""The findings of ``doctor``: values, and their text."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from adapters.redaction import redacted
from engine.console.safe_text import one_line
from engine.console.shell import command

ICONS: Final = {True: "✅", False: "❌", None: "⚠️"}


@frozen
class Finding:
    """One result of a check. ``ok`` None is advice, which fails nothing; ``remedy`` is a command or a hint."""

    about: str
    ok: bool | None
    text: str
    remedy: str = ""
    fixed: bool = False

    def __str__(self) -> str:
        remedy = f"\n     → {one_line(self.remedy)}" if self.remedy else ""
        return f"{ICONS[self.ok]} {one_line(f'{self.about}: {self.text}')}{remedy}"


def as_data(finding: Finding) -> dict[str, Any]:
    """Return what ``doctor --json`` prints; its keys are a contract."""
    return {
        "about": finding.about,
        "well": finding.ok,
        "text": finding.text,
        "mend": finding.remedy,
        "fixed": finding.fixed,
    }


def verdict(findings: Iterable[Finding]) -> str:
    """Return the sentence that ends a report."""
    results = [finding.ok for finding in findings]
    wrong, advice = results.count(False), results.count(None)
    notes = f"; {_count(advice, 'more is', 'more are')} worth a look" if advice else ""
    return f"{_count(wrong, 'thing is', 'things are')} wrong{notes}" if wrong else f"all is well{notes}"


def unfinished(about: str, timeout: float) -> Finding:
    """Return the finding for a check that did not end within ``timeout`` seconds."""
    return Finding(about, False, f"could not be checked within {timeout:g} s", "see what holds the disk")


def unexpected(about: str, exc: Exception) -> Finding:
    """Return the finding for a check that raised an error."""
    if isinstance(exc, OSError) and exc.filename:
        why = (exc.strerror or type(exc).__name__).lower()
        return Finding(about, False, f"{exc.filename}: {why}", command("ls", "-ld", Path(exc.filename).parent))
    return Finding(
        about, False, f"could not be checked ({type(exc).__name__}: {redacted(str(exc))})", "see its permissions"
    )


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
