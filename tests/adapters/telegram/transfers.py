"""What the tests of transfers share: a job that is a function's alone, and a datacenter with a file in a message."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from adapters.sandbox import Sandbox, SandboxFile
from adapters.telegram import TelegramLink
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.test_requests import opened

ME, OTHER = "+9996620001", "+9996620002"
ELSEWHERE = 4
CHANNEL = "files_of_all"
SIZE = 700_000
FILE = SandboxFile(size=SIZE, name="report.pdf", seed=7)


@define(slots=False)
class TransferJob:
    """A job that keeps its checkpoints in memory, as JSON would."""

    data: Any
    account: str = "Account 1"
    began: float = 0.0
    kept: list[dict[str, Any]] = field(factory=list)
    results: list[dict[str, Any]] = field(factory=list)
    reported: list[tuple[float, float | None]] = field(factory=list)
    stays: bool = False
    settled: int = 0
    """How often its failures were to count from zero."""

    @property
    def saved(self) -> dict[str, Any]:
        """The last checkpoint."""
        return dict(self.kept[-1]) if self.kept else {}

    async def checkpoint(
        self, progress: dict[str, Any], *, results: Any = (), stay: bool = False, settled: bool = False, **more: Any
    ) -> None:
        """Keep a checkpoint."""
        self.kept.append(progress)
        self.results += results
        self.settled += settled
        if "done" in more:
            self.reported.append((more["done"], more.get("total")))
        self.stays |= stay

    def progress(self, done: float, total: float | None = None) -> None:
        """Keep a report."""
        self.reported.append((done, total))


@asynccontextmanager
async def with_message(
    harness: DatacenterHarness, file: SandboxFile = FILE
) -> AsyncIterator[tuple[Sandbox, TelegramLink, int]]:
    """Yield two datacenters, a link to the first, and the number of a message with a file in a channel."""
    async with harness as dc:
        await dc.open_dc(ELSEWHERE)
        await dc.create_channel(CHANNEL, "Files", members=[ME], admins=[ME])
        number = await dc.send_file(f"@{CHANNEL}", file)
        async with opened(harness) as link:
            yield dc, link, number


def files_in(directory: Path) -> list[str]:
    """Return the names of what is in a directory, hidden ones too."""
    return sorted(each.name for each in directory.iterdir())
