"""Nodes that share accounts, through kills and more; ``python -m tests.soak.fleet`` does it in full for ten minutes."""

from pathlib import Path

import pytest
from attrs import evolve

from adapters.sandbox import Sandbox
from adapters.sandbox.store.channels import ChannelMessage
from states.jobs import Job, JobState
from tests.soak.fleet import judges
from tests.soak.fleet.plan import FleetPlan, Trouble
from tests.soak.fleet.run import soak

PLAN = FleetPlan(
    nodes=2, accounts=12, sends=60, channels=2, posts=60, seconds=10.0, lease=6.0, seed=7, faults=5,
    kinds=(Trouble.KILL, Trouble.WORKER, Trouble.STORE_CRASH, Trouble.STORE_CUT, Trouble.TELEGRAM_CUT),
)  # fmt: skip


@pytest.mark.slow
async def test_a_fleet_goes_through_its_troubles(tmp_path: Path) -> None:
    """No login is destroyed, nothing is missed or doubled, and all accounts are owned and healthy at the end."""
    said: list[str] = []
    figures = await soak(tmp_path, PLAN, said.append)
    assert figures.complaints == [], "\n".join([*said, *figures.lines()])


def test_the_same_seed_is_the_same_plan() -> None:
    """What a soak has found can be run again: all depends on the seed alone, and another seed is another plan."""
    plan, again = FleetPlan(seed=3), FleetPlan(seed=3)
    assert (plan.troubles, plan.follows(), plan.messages(5.0)) == (again.troubles, again.follows(), again.messages(5.0))
    assert FleetPlan(seed=4).troubles != plan.troubles


def test_each_kind_of_trouble_happens_before_one_happens_twice() -> None:
    """While it is lively, and in the order of time."""
    plan = FleetPlan(seed=5, faults=len(Trouble))
    assert {each.what for each in plan.troubles} == set(Trouble)
    times = [each.at for each in plan.troubles]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < plan.lively


def post(number: int, text: str, **more: int) -> ChannelMessage:
    return ChannelMessage(channel=1, id=number, pts=number, sender=None, text=text, date=0, random_id=None, **more)


def test_posts_that_are_missed_doubled_or_different_are_told() -> None:
    """And one that does not exist; a deleted one that was never stored is none."""
    posts = {-1: [post(1, "one"), post(2, "two", edited=5), post(3, "three", deleted=6), post(4, "four", reply_to=1)]}
    right = [(-1, 1, "one", False, False, None), (-1, 2, "two", True, False, None), (-1, 4, "four", False, False, 1)]
    assert judges.of_followed(posts, right) == []
    assert judges.of_followed(posts, right[1:]) == ["1 posts are missed: -1 1"]
    assert judges.of_followed(posts, [right[0], *right]) == ["1 posts are stored twice: (-1, 1)"]
    [different] = judges.of_followed(posts, [*right[:1], (-1, 2, "former", True, False, None), *right[2:]])
    assert "-1 2 is ('former', True, False, None), not ('two', True, False, None)" in different
    assert judges.of_followed(posts, [*right, (-1, 9, "x", False, False, None)]) == [
        "1 posts are stored that do not exist: -1 9"
    ]


async def test_messages_that_are_missed_doubled_or_unknown_are_told() -> None:
    """By what the datacenter has, and by what their jobs say."""
    plan = FleetPlan(accounts=2, sends=1, faults=0)
    job = Job(id=1, kind="send", data={"to": "me", "text": "Message 0"}, added=0.0, worker="Account 1")
    async with Sandbox() as dc:
        for phone in plan.phones:
            dc.authorize(phone)
        for group in plan.groups:
            await dc.create_channel(group, group, megagroup=True, members=plan.phones)
        assert "1 messages are missed: Message 0" in judges.of_sends([job], dc, plan)
        mine = dc._hub.store.account(plan.phones[0]).id
        sent = dc._hub.store.send(mine, mine, "Message 0", 77).mine
        done = evolve(
            job, state=JobState.DONE, checkpoint={"random_id": 77}, result={"chat": sent.peer, "message": sent.id}
        )
        assert judges.of_sends([done], dc, plan) == []
        assert len(judges.of_sends([evolve(done, worker="Account 2")], dc, plan)) == 2
        assert judges.of_sends([], dc, plan)[-1].startswith("1 jobs of messages are missing")
        dc._hub.store.send(mine, mine, "Message 0", 78)
        assert judges.of_sends([done], dc, plan)[0] == "1 messages were sent twice: Message 0"


def test_accounts_without_an_owner_that_lives_are_told() -> None:
    """And nodes that live twice, or that should not live."""
    owners = [("a", "n1", "alive"), ("b", "n1", "dead"), ("c", None, None)]
    assert judges.of_owners(owners, ["n1", "n1", "n3"], ["n1", "n2"]) == [
        "1 accounts have no owner: c",
        "1 accounts have an owner that is dead: b n1",
        "3 nodes live that should not, or not once: n1, n2, n3",
    ]
    assert judges.of_owners(owners[:1], ["n1"], ["n1"]) == []


def test_whatever_else_is_wrong_is_told() -> None:
    """Keys, states, logs, connections and files."""
    assert judges.of_keys({"logins_destroyed": 0}) == []
    assert judges.of_keys({"logins_destroyed": 1})
    assert judges.of_states({"a": "healthy"}, ["a"]) == []
    assert judges.of_states({"a": "backoff"}, ["a", "b"]) == ["2 accounts are not healthy: a backoff, b unknown"]
    assert judges.of_logs({"n1": "all is well"}) == []
    assert "n1 says 'Traceback'" in judges.of_logs({"n1": "Traceback (most recent call last)"})[0]
    assert judges.of_transactions([], []) == []
    assert len(judges.of_transactions([("holdfast", "idle in transaction", "")], ["x"])) == 2
    files = ["socket:[1]"] * 20 + ["/dev/null"] * 10
    assert judges.of_descriptors("n1", files, to_telegram=10, to_store=6, accounts=10, lives=1) == []
    assert len(judges.of_descriptors("n1", files * 7, to_telegram=12, to_store=30, accounts=10, lives=1)) == 4
