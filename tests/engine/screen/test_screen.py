"""The screen at work, in virtual time: when it draws, what keys reach, and that nothing holds it."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest
from attrs import define, evolve, field

from engine.console.account_status import AccountStatus
from engine.console.ranking import Ranking
from engine.console.status import EngineInfo
from engine.screen.model import Do, View
from engine.screen.screen import Screen
from engine.screen.source import JournalUnreadable
from engine.screen.text import Line, plain
from states import Entry, Snapshot, State
from states.jobs import JobSummary
from tests.engine.screen.pages import FLEET, INFO
from tests.engine.screen.test_layout import entry

pytestmark = [pytest.mark.anyio, pytest.mark.virtual]


@define(eq=False)
class Sheet:
    """A terminal without a terminal."""

    size: tuple[int, int] = (80, 24)
    keys: bool = False
    pictures: list[Sequence[Line]] = field(factory=list)
    frozen: bool = False
    press: Callable[[str], None] = lambda key: None

    def letters(self, text: str) -> str:
        return text

    def ready(self) -> bool:
        return True

    def repaint(self) -> None:
        """Nothing else writes here."""

    @contextmanager
    def taken(self, tell: Callable[[int, str], None]) -> Iterator[None]:
        yield

    async def paint(self, lines: Sequence[Line]) -> None:
        self.pictures.append(lines)
        if self.frozen:
            await anyio.sleep_forever()

    async def hear(self, press: Callable[[str], None]) -> None:
        self.press = press
        await anyio.sleep_forever()

    @property
    def text(self) -> str:
        return "\n".join(map(plain, self.pictures[-1]))


@define(eq=False)
class Given:
    """A source whose answers a test gives."""

    accounts: dict[str, AccountStatus] = field(factory=lambda: dict(FLEET))
    info: EngineInfo = INFO
    jobs: JobSummary = field(factory=JobSummary)
    lines: list[tuple[int, str]] = field(factory=list)
    quits: bool = True
    asked: list[tuple[Do, str]] = field(factory=list)
    answer: anyio.Event = field(factory=anyio.Event)
    records: list[Entry] | JournalUnreadable = field(factory=lambda: [entry(7, "NetworkLost", "connection reset")])
    reads: int = 0
    ranking: Ranking = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ranking = Ranking(self.accounts, self.accounts.__getitem__)
        for name in self.accounts:
            self.ranking.update(name)

    def change(self, name: str, **more: Any) -> None:
        at = self.accounts[name].last
        assert at is not None
        self.accounts[name] = AccountStatus(evolve(at, **more))
        self.ranking.update(name)

    def trouble_since(self, account: str, at: AccountStatus) -> float | None:
        return None

    def tell(self, level: int, line: str) -> None:
        self.lines.append((level, line))

    async def follow(self) -> None:
        await anyio.sleep_forever()

    async def entries(self, account: str) -> Sequence[Entry]:
        self.reads += 1
        if isinstance(self.records, JournalUnreadable):
            raise self.records
        return self.records

    async def explain(self, seq: int) -> Any:
        raise JournalUnreadable(f"no entry {seq} any more")

    async def perform(self, do: Do, account: str) -> str:
        self.asked.append((do, account))
        await self.answer.wait()
        return f"{account} is done"


@asynccontextmanager
async def showing(source: Given, sheet: Sheet) -> AsyncIterator[Screen]:
    """Show a source for the length of the block."""
    screen = Screen(source, sheet)  # type: ignore[arg-type]  # it does what the screen asks of a terminal
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(screen.run)
        await anyio.sleep(1.1)
        yield screen
        tasks.cancel_scope.cancel()


async def press(sheet: Sheet, *keys: str) -> None:
    for key in keys:
        sheet.press(key)
        await anyio.sleep(0.001)


async def test_a_calm_screen_is_drawn_once_a_second() -> None:
    """For the times in it; a minute has sixty pictures."""
    async with showing(Given(), sheet := Sheet()):
        sheet.pictures.clear()
        await anyio.sleep(60)
        assert 59 <= len(sheet.pictures) <= 61


async def test_changes_are_drawn_a_few_times_a_second_and_keys_at_once() -> None:
    """However many accounts change, four pictures a second; the answer to a key waits for none of them."""
    source = Given()
    async with showing(source, sheet := Sheet()):
        sheet.pictures.clear()
        for _ in range(100):
            source.change("Account 3", last_success=1.0)
            await anyio.sleep(0.01)
        assert 3 <= len(sheet.pictures) <= 5
        sheet.pictures.clear()
        await press(sheet, "down")
        assert len(sheet.pictures) == 1


async def test_a_key_asks_for_what_it_says_once() -> None:
    """While a command is under way the same key asks for nothing; the answer is shown."""
    source = Given()
    async with showing(source, sheet := Sheet()):
        await press(sheet, "down", "down", "p", "p")
        assert source.asked == [(Do.PAUSE, "Account 1")]
        assert "Account 1 is asked to pause" not in sheet.text  # the second key has taken the sentence away
        source.answer.set()
        await anyio.sleep(0.01)
        assert "Account 1 is done" in sheet.text
        await press(sheet, "r")
        assert source.asked[1:] == [(Do.RETRY, "Account 1")]


async def test_an_account_is_opened_and_its_journal_read() -> None:
    """It is read once, and again when the account has changed, at most once a second."""
    source = Given()
    async with showing(source, sheet := Sheet()) as screen:
        await press(sheet, "down", "down", "enter")
        await anyio.sleep(5)
        assert (source.reads, "connection reset" in sheet.text) == (1, True)
        for _ in range(30):
            source.change("Account 1", last_success=float(source.ranking.updates))
            await anyio.sleep(0.1)
        assert 2 <= source.reads <= 5
        await press(sheet, "enter")
        await anyio.sleep(0.3)
        assert screen.model.view is View.RECORD
        assert "no entry 7 any more" in sheet.text


async def test_a_journal_that_cannot_be_read_is_told() -> None:
    """In a sentence, on the account's page."""
    source = Given(records=JournalUnreadable("data/engine.db: the disk is gone"))
    async with showing(source, sheet := Sheet()):
        await press(sheet, "down", "enter")
        await anyio.sleep(0.3)
        assert "the disk is gone" in sheet.text


async def test_an_account_that_is_gone_is_closed() -> None:
    """The engine that had it has ended: the others are shown."""
    source = Given()
    async with showing(source, sheet := Sheet()) as screen:
        await press(sheet, "down", "enter")
        source.ranking = Ranking.of({"Account 3": Snapshot(state=State.HEALTHY)})
        await anyio.sleep(1)
        assert (screen.model.view, screen.model.selected) == (View.FLEET, None)
        assert "Account 3" in sheet.text


async def test_a_frozen_terminal_holds_neither_keys_nor_the_end() -> None:
    """The picture waits until the terminal takes it; everything else goes on."""
    source = Given()
    async with showing(source, sheet := Sheet(frozen=True)) as screen:
        await press(sheet, "down", "r")
        await anyio.sleep(1)
        assert source.asked == [(Do.RETRY, "News bot")]
        assert len(sheet.pictures) == 1
        assert screen.model.selected == "News bot"


async def test_q_ends_a_screen_that_is_alone() -> None:
    """It returns, and what it had begun has ended."""
    sheet = Sheet()
    screen = Screen(Given(), sheet)  # type: ignore[arg-type]  # as above
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(screen.run)
            await anyio.sleep(1)
            sheet.press("q")


async def test_what_was_chosen_stays_when_the_screen_begins_anew() -> None:
    """After an error the screen is started again, with the same filter."""
    source, sheet = Given(), Sheet()
    async with showing(source, sheet) as screen:
        await press(sheet, "h")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(screen.run)
        await anyio.sleep(1)
        assert "no healthy ones" in sheet.text
        tasks.cancel_scope.cancel()
