"""Usernames through the real client: looked up once for all accounts, within a budget, and never believed too long."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from telethon import errors
from telethon.tl.functions import InvokeWithoutUpdatesRequest
from telethon.tl.functions.channels import GetChannelsRequest
from telethon.tl.functions.contacts import ResolveUsernameRequest
from telethon.tl.types import PeerChannel, PeerUser, User

from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sqlite import JournalWriter
from adapters.telegram import TelegramConnector, TelegramLink
from adapters.telegram.classify import RequestHeld
from adapters.telegram.job_errors import classify_job_error
from adapters.telegram.remote_calls import RemoteCalls
from adapters.telegram.username_budget import DAY
from adapters.telegram.usernames import FRESH_SECONDS, LookupsUsedUp, Usernames, names_of
from states.jobs import Flooded, Job, JobState, Raised, decide
from tests.adapters.sqlite.support import a_journal
from tests.adapters.telegram.harness import DatacenterHarness, caught_up
from tests.timeouts import TIMEOUT

PHONES = ("+9996620001", "+9996620002")
OTHER = "+9996620003"
NAME = "user9996620003"
RESOLVE = "contacts.resolveUsername"
BEFORE: Counter[str] = Counter()
"""What was asked before the test itself began to ask."""


class Clock:
    """A clock for the usernames, which the test sets."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.time


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


def counts(dc: Sandbox) -> Counter[str]:
    """Return how often the datacenter was asked for peers; a connection begins by asking for its own user."""
    kinds = (RESOLVE, "users.getUsers", "channels.getChannels")
    return Counter({kind: count for kind, count in dc.stats()["requests"].items() if kind in kinds}) - BEFORE


def shared(clock: Clock, per_day: int = 200) -> Usernames:
    """Return what accounts know together, by a clock of the test."""
    return Usernames(per_day, now=clock, clock=clock)


def connector(harness: DatacenterHarness, names: Usernames, number: int = 0) -> TelegramConnector:
    """Return the connector of an account that shares what it knows."""
    path = harness.directory / f"account{number}.session"
    if not path.exists():
        harness.write_session(path, harness.dc.authorize(PHONES[number]))
    found = TelegramConnector(
        session=path, name=f"Account {number}", api_id=1, api_hash="0" * 32, datacenter=harness.datacenter()
    )
    found.usernames = names.of(found.name)
    return found


@asynccontextmanager
async def accounts(harness: DatacenterHarness, names: Usernames, count: int = 1) -> AsyncIterator[list[TelegramLink]]:
    """Yield proven links of accounts that share what they know; the datacenter counts their requests from then on."""
    harness.dc.authorize(OTHER)
    BEFORE.clear()
    async with AsyncExitStack() as stack:
        links = []
        for number in range(count):
            link = connector(harness, names, number).link(1)
            stack.push_async_callback(link.connector.settle)
            stack.push_async_callback(link.close, timeout=TIMEOUT)
            assert type((await link.open(timeout=TIMEOUT))[-1]).__name__ == "Connected"
            link.watch(lambda _: None)
            await caught_up(link)
            links.append(link)
        BEFORE.update(counts(harness.dc))
        yield links


async def test_a_name_is_looked_up_once(harness: DatacenterHarness, clock: Clock) -> None:
    """Whatever its letters: the second answer has the same form, and cost no request."""
    async with harness as dc, accounts(harness, shared(clock)) as (link,):
        first = await link.client(ResolveUsernameRequest(NAME))
        again = await link.client(ResolveUsernameRequest(NAME.upper()))
        assert again.to_dict() == first.to_dict()
        assert (await link.client.get_entity(f"@{NAME}")).id == first.users[0].id
        assert counts(dc) == {RESOLVE: 1}


async def test_many_at_once_are_one_look_up(harness: DatacenterHarness, clock: Clock) -> None:
    """Ten that ask for the same name at the same time get one answer, and a cancelled one takes nobody with it."""
    async with harness as dc, accounts(harness, shared(clock)) as (link,):
        await dc.inject(Fault(FaultKind.SLOW, request=RESOLVE, seconds=0.3, times=1))
        found: list[int] = []

        async def ask() -> None:
            found.append((await link.client(ResolveUsernameRequest(NAME))).users[0].id)

        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as tasks:
                first = anyio.CancelScope()

                async def cancelled() -> None:
                    with first:
                        await ask()

                tasks.start_soon(cancelled)
                await anyio.lowlevel.checkpoint()
                for _ in range(9):
                    tasks.start_soon(ask)
                while counts(dc).get(RESOLVE, 0) < 1:
                    await anyio.sleep(0.005)
                first.cancel()
        assert len(found) == 9
        assert len(set(found)) == 1
        assert counts(dc) == {RESOLVE: 2}  # that of the cancelled one, and one more


async def test_another_account_uses_no_hash_but_its_own(harness: DatacenterHarness, clock: Clock) -> None:
    """It knows whose name it is, and has to look it up all the same; then its own hash is in the answer."""
    async with harness as dc, accounts(harness, shared(clock), 2) as (one, two):
        first = (await one.client(ResolveUsernameRequest(NAME))).users[0]
        second = (await two.client(ResolveUsernameRequest(NAME))).users[0]
        assert second.id == first.id
        assert second.access_hash != first.access_hash
        assert counts(dc) == {RESOLVE: 2}
        assert (await two.client(ResolveUsernameRequest(NAME))).users[0].access_hash == second.access_hash
        assert await two.client.send_message(NAME, "hello")


async def test_a_peer_that_the_account_knows_is_asked_for_by_its_hash(harness: DatacenterHarness, clock: Clock) -> None:
    """When an answer has become old, and after a restart: no look-up is spent, and the answer is as of now."""
    async with harness as dc:
        async with accounts(harness, shared(clock)) as (link,):
            await dc.create_channel("the_news", "The news")
            for name in (NAME, "the_news"):
                await link.client(ResolveUsernameRequest(name))
            clock.time += FRESH_SECONDS
            await dc.create_channel("the_news", "Other news")
            found = await link.client(ResolveUsernameRequest("The_News"))
            assert isinstance(found.peer, PeerChannel)
            assert [chat.title for chat in found.chats] == ["Other news"]
            assert found.users == []
            assert isinstance((await link.client(ResolveUsernameRequest(NAME))).peer, PeerUser)
            assert counts(dc) == {RESOLVE: 2, "channels.getChannels": 1, "users.getUsers": 1}
        async with accounts(harness, shared(clock)) as (link,):
            assert (await link.client.get_entity("the_news")).title == "Other news"
            assert counts(dc) == {"channels.getChannels": 1}


async def test_a_name_that_nobody_has_is_refused_once(harness: DatacenterHarness, clock: Clock) -> None:
    """All accounts get Telegram's own refusal for an hour without asking; then it is asked again."""
    async with harness as dc, accounts(harness, shared(clock), 2) as (one, two):
        for link in (one, two, one):
            with pytest.raises(errors.UsernameNotOccupiedError):
                await link.client(ResolveUsernameRequest("nobody_here"))
            with pytest.raises(errors.UsernameInvalidError):
                await link.client(ResolveUsernameRequest("1st"))
        assert counts(dc) == {RESOLVE: 2}
        clock.time += 3600
        await dc.create_channel("nobody_here", "Somebody")
        assert (await two.client.get_entity("nobody_here")).title == "Somebody"


async def test_a_name_that_moved_is_noticed_when_its_owner_comes_in(harness: DatacenterHarness, clock: Clock) -> None:
    """Whoever sees the new owner, or the old one without it: no account is given the old one any more."""
    async with harness as dc, accounts(harness, shared(clock), 2) as (one, two):
        await dc.create_channel("the_name", "Old")
        await dc.create_channel("elsewhere", "New")
        old = [await link.client.get_input_entity("the_name") for link in (one, two)]
        await two.client.get_input_entity("elsewhere")
        await dc.rename_channel("the_name", "was_here")
        await dc.rename_channel("elsewhere", "the_name")
        assert await one.client.get_input_entity("the_name") == old[0]  # nobody knows yet
        await two.client(GetChannelsRequest([await two.client.get_input_entity("elsewhere")]))
        assert (await one.client.get_input_entity("the_name")).channel_id != old[0].channel_id
        assert (await one.client.get_entity("the_name")).title == "New"
        await one.client(GetChannelsRequest([old[0]]))
        assert (await one.client.get_entity("was_here")).title == "Old"


async def test_a_name_that_moved_unseen_is_noticed_when_the_answer_is_old(
    harness: DatacenterHarness, clock: Clock
) -> None:
    """The peer is asked for, has the name no more, and the name is looked up."""
    async with harness as dc, accounts(harness, shared(clock)) as (link,):
        await dc.create_channel("the_name", "Old")
        await link.client(ResolveUsernameRequest("the_name"))
        await dc.rename_channel("the_name", "was_here")
        await dc.create_channel("the_name", "New")
        clock.time += FRESH_SECONDS
        assert (await link.client.get_entity("the_name")).title == "New"
        assert counts(dc) == {RESOLVE: 2, "channels.getChannels": 1}


async def test_a_used_up_budget_refuses_here(harness: DatacenterHarness, clock: Clock) -> None:
    """The third name of the day is not asked for; the sentence says when it is, a job waits, and known names go on."""
    async with harness as dc, accounts(harness, shared(clock, 2), 2) as (one, two):
        await one.client(ResolveUsernameRequest(NAME))
        clock.time += 10
        with pytest.raises(errors.UsernameNotOccupiedError):
            await one.client(ResolveUsernameRequest("nobody_here"))
        said = r"2 usernames in 24 hours.*usernames\.per_day.*the next one at 20"
        with pytest.raises(LookupsUsedUp, match=said) as raised:
            await one.client(ResolveUsernameRequest("somebody_else"))
        assert raised.value.seconds == DAY - 10
        meant = classify_job_error(raised.value, one.client)
        assert isinstance(meant, Flooded)
        assert meant.request == "ResolveUsername"
        assert not meant.alone
        assert isinstance(raised.value, RequestHeld)
        assert await one.client.get_entity(NAME)
        assert await two.client.get_entity(NAME)  # each account has a budget of its own
        assert counts(dc) == {RESOLVE: 3}
        clock.time += DAY - 10
        with pytest.raises(errors.UsernameNotOccupiedError):
            await one.client(ResolveUsernameRequest("somebody_else"))


async def test_look_ups_that_are_wrapped_or_sent_together_count(harness: DatacenterHarness, clock: Clock) -> None:
    """Each takes its part of the budget, and what goes beyond it is not sent."""
    async with harness as dc, accounts(harness, shared(clock, 3)) as (link,):
        await link.client(InvokeWithoutUpdatesRequest(ResolveUsernameRequest(NAME)))
        await link.client([ResolveUsernameRequest(NAME), ResolveUsernameRequest(NAME)])
        assert link.client.usernames.shared.used("Account 0") == 3
        before = dc.stats()["requests"]
        for beyond in (InvokeWithoutUpdatesRequest(ResolveUsernameRequest(NAME)), [ResolveUsernameRequest(NAME)]):
            with pytest.raises(LookupsUsedUp):
                await link.client(beyond)
        assert dc.stats()["requests"] == before


async def test_an_account_with_another_name_keeps_its_budget(clock: Clock) -> None:
    """Also if two accounts swap their names."""
    names = shared(clock)
    for account, count in (("A", 1), ("B", 2)):
        for _ in range(count):
            await names.charge(account)
    names.rename({"A": "B", "B": "A"})
    assert (names.used("A"), names.used("B")) == (2, 1)
    names.rename({"A": "C"})
    assert (names.used("A"), names.used("C")) == (0, 2)


async def test_telegram_s_own_limit_is_a_flood_as_ever(harness: DatacenterHarness, clock: Clock) -> None:
    """Where Telegram allows less than the config does, its wait holds that kind of request, and nothing is sent."""
    async with harness as dc, accounts(harness, shared(clock)) as (link,):
        dc.limit_lookups(1, wait=3000)
        await link.client(ResolveUsernameRequest(NAME))
        for _ in range(2):
            with pytest.raises(errors.FloodWaitError):
                await link.client(ResolveUsernameRequest("somebody_else"))
        assert counts(dc) == {RESOLVE: 2}
        assert await link.client.get_entity(NAME)


async def test_a_refused_name_is_the_job_s_own_failure(harness: DatacenterHarness, clock: Clock) -> None:
    """Not the account's, and no further attempt: the sentence names the name, whose letters may be anything."""
    async with harness, accounts(harness, shared(clock)) as (link,):
        asks = {
            "nobody_here": link.client.get_input_entity,
            "1st\x1b[31m": lambda name: link.client(ResolveUsernameRequest(name)),
        }
        for name, ask in asks.items():
            with pytest.raises((ValueError, errors.UsernameInvalidError)) as raised:
                await ask(name)
            meant = classify_job_error(raised.value, link.client)
            assert isinstance(meant, Raised)
            assert meant.detail.startswith(f"nobody has the username @{name}; add")
            job = decide(Job(id=1, kind="send", data={}, state=JobState.RUNNING), meant, now=1.0)
            assert (job.state, job.attempts) == (JobState.FAILED, 1)


async def test_another_program_gets_the_same_bytes(harness: DatacenterHarness, clock: Clock) -> None:
    """A request of a remote program is answered from what is known, in the form in which it was sent."""
    async with harness as dc, accounts(harness, shared(clock)) as (link,):
        body = bytes(ResolveUsernameRequest(NAME))
        sent = await RemoteCalls().read(body).send(link.client, 0)
        known = await RemoteCalls().read(body).send(link.client, 0)
        assert known == sent
        assert counts(dc) == {RESOLVE: 1}


async def test_budget_and_names_outlive_the_engine(harness: DatacenterHarness, tmp_path: Path, clock: Clock) -> None:
    """What was looked up before a restart counts after it, and whose names were known is known."""
    path = tmp_path / "engine.db"

    async def names(journal: JournalWriter) -> Usernames:
        found = Usernames(2, journal.usernames, clock, clock)
        found.begin(await journal.usernames.load())
        return found

    async with harness as dc:
        async with a_journal(path) as journal:
            known = await names(journal)
            async with accounts(harness, known) as (link,):
                await link.client(ResolveUsernameRequest(NAME))
                with pytest.raises(errors.UsernameNotOccupiedError):
                    await link.client(ResolveUsernameRequest("nobody_here"))
            assert known.used("Account 0") == 2
        async with a_journal(path) as journal:
            known = await names(journal)
            async with accounts(harness, known) as (link,):
                assert known.used("Account 0") == 2
                with pytest.raises(LookupsUsedUp):
                    await link.client(ResolveUsernameRequest("somebody_else"))
                with pytest.raises(errors.UsernameNotOccupiedError):
                    await link.client(ResolveUsernameRequest("nobody_here"))
                assert isinstance(await link.client.get_entity(NAME), User)
                assert counts(dc) == {"users.getUsers": 1}


def test_names_without_their_owner_s_use_are_none() -> None:
    """A user may have several names, of which some lead nowhere."""
    assert names_of(User(1)) == frozenset()
