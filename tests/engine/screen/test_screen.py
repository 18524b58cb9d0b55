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
from engine.screen.model import Do, ScreenView
from engine.screen.screen import Screen
from engine.screen.source import JournalUnreadable
from engine.screen.text import Line, plain
from states import Entry, Snapshot, State
from states.incident import Incident
from states.jobs import JobSummary
from tests.engine.screen.pages import FLEET, INFO
from tests.engine.screen.test_layout import INCIDENTS, entry

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
    node: str = ""
    jobs: JobSummary = field(factory=JobSummary)
    lines: list[tuple[int, str]] = field(factory=list)
    quits: bool = True
    incidents: list[Incident] = field(factory=list)
    known: set[str] = field(factory=set)
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

    def knows(self, account: str) -> bool:
        return account in self.known

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

    async def acknowledge(self, incident: int) -> str:
        self.asked.append((Do.ACKNOWLEDGE, str(incident)))
        return f"incident {incident} is acknowledged"


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
        assert screen.model.view is ScreenView.RECORD
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
        assert (screen.model.view, screen.model.selected) == (ScreenView.FLEET, None)
        assert "Account 3" in sheet.text


async def test_an_account_that_reconnects_for_a_reload_stays_open() -> None:
    """It is in no ranking while it is closed; its page says where it was, and goes on with it."""
    source = Given(known={"News bot"})
    async with showing(source, sheet := Sheet()) as screen:
        await press(sheet, "down", "enter")
        source.ranking.discard("News bot")
        await anyio.sleep(2)
        assert (screen.model.view, screen.model.selected) == (ScreenView.ACCOUNT, "News bot")
        assert "What to do: " in sheet.text
        source.change("News bot", state=State.HEALTHY, cause=None)
        await anyio.sleep(1)
        assert "✅ healthy News bot" in sheet.text


async def test_an_account_that_was_removed_is_told_and_closed() -> None:
    """A reload has taken it out of the config: neither page nor highlight is left of it."""
    source = Given(known={"News bot"})
    async with showing(source, sheet := Sheet()) as screen:
        await press(sheet, "down", "enter")
        source.ranking.discard("News bot")
        source.known.clear()
        await anyio.sleep(1.1)
        assert (screen.model.view, screen.model.selected) == (ScreenView.FLEET, None)
        assert "News bot is not among the accounts any more" in sheet.text
        await press(sheet, "down", "p")
        assert source.asked == [(Do.PAUSE, "Account 1")]


async def test_a_name_that_comes_gets_its_width() -> None:
    """As many accounts as before, one of them with another name: the column of names is as wide as it."""
    source = Given()
    async with showing(source, sheet := Sheet()):
        name = "A name that is longer"
        source.ranking.discard("Account 3")
        source.accounts[name] = source.accounts["Account 3"]
        source.ranking.update(name)
        await anyio.sleep(1)
        assert name in sheet.text
        assert "Account 3" not in sheet.text


async def test_another_ranking_is_shown_at_once() -> None:
    """Even one that was changed as often as the one before."""
    source = Given()
    async with showing(source, sheet := Sheet()) as screen:
        ranking = Ranking.of({name: Snapshot(state=State.HEALTHY) for name in "abcde"})
        assert ranking.updates == source.ranking.updates
        source.ranking = ranking
        await anyio.sleep(0.3)
        assert screen._seen.names == ["a", "b", "c", "d", "e"]
        assert "5 ✅" in sheet.text


async def test_an_incident_is_acknowledged_by_key() -> None:
    """It is asked for by number; one that is over is highlighted no more, and one of an account that left is told."""
    source = Given(incidents=list(INCIDENTS))
    async with showing(source, sheet := Sheet()) as screen:
        await press(sheet, "i", "a")
        assert source.asked == [(Do.ACKNOWLEDGE, "4")]
        assert "incident 4 is acknowledged" in sheet.text
        del source.incidents[0]
        await anyio.sleep(1)
        assert (screen.model.view, screen.model.incident) == (ScreenView.INCIDENTS, None)
        source.incidents.append(evolve(INCIDENTS[0], id=9, accounts=("Gone",)))
        await anyio.sleep(1)
        await press(sheet, "end", "enter")
        await anyio.sleep(1)
        assert (screen.model.view, screen.model.selected) == (ScreenView.INCIDENTS, None)
        assert "Gone is not among the accounts any more" in sheet.text


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
