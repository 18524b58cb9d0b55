"""The budget of look-ups: in any 24 hours no more than it allows, and never less, over restarts."""

from collections.abc import Sequence
from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st

from adapters.sqlite.usernames import StoredName, StoredUsernames
from adapters.telegram.username_budget import DAY
from adapters.telegram.usernames import MAX_NAMES, Usernames

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("pass"), st.sampled_from([0.001, 1.0, 3600.0, 40_000.0, DAY - 1, DAY, 2 * DAY])),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("allow"), st.integers(1, 4)),
    ),
    max_size=60,
)


class Store:
    """Keeps what is stored, as the database does."""

    def __init__(self) -> None:
        self.lookups: dict[str, Sequence[float]] = {}
        self.names: dict[str, StoredName] = {}

    def put(self, name: StoredName) -> None:
        """Store a name."""
        self.names[name.name] = name

    def forget(self, name: str) -> None:
        """Delete a name."""
        del self.names[name]

    async def put_lookups(self, account: str, times: Sequence[float]) -> None:
        """Store the times."""
        self.lookups[account] = tuple(times)


class World:
    """Two clocks, what is stored, and what was asked at which moment of the one that is never set."""

    def __init__(self) -> None:
        self.true, self.shift, self.per_day = 1_000_000.0, 0.0, 3
        self.store = Store()
        self.asked: dict[str, list[float]] = {"a": [], "b": []}
        self.begin()

    def begin(self) -> None:
        """Begin with what is stored."""
        self.names = Usernames(self.per_day, self.store, lambda: self.true + self.shift, lambda: self.true)
        self.names.begin(StoredUsernames(list(self.store.names.values()), self.store.lookups))

    def ask(self, account: str) -> None:
        """Ask as an account, if the budget allows it; it must whenever the last 24 hours do."""
        recent = sorted(at for at in self.asked[account] if at > self.true - DAY)
        wait = self.names.wait(account)
        if len(recent) < self.per_day:
            assert wait == 0
            anyio.run(self.names.charge, account)
            self.asked[account].append(self.true)
        else:
            assert abs(wait - (recent[len(recent) - self.per_day] + DAY - self.true)) < 1e-3
            assert wait > 0
        assert self.names.used(account) == len(recent) + (len(recent) < self.per_day)


@given(STEPS)
def test_no_day_has_more_and_none_less(steps: list[tuple[str, Any]]) -> None:
    """Each account has its own, whatever the other one asks."""
    world = World()
    for what, value in steps:
        match what:
            case "ask":
                world.ask(value)
            case "pass":
                world.true += value
            case "restart":
                world.begin()
            case "allow":
                world.per_day = world.names.per_day = value


def test_a_clock_that_is_set_frees_nothing() -> None:
    """Neither forwards nor backwards: the budget is measured by what cannot be set."""
    world = World()
    for _ in range(3):
        world.ask("a")
    for world.shift in (2 * DAY, -2 * DAY):
        assert world.names.wait("a") == DAY
    world.shift = 0.0
    world.true += DAY
    assert world.names.wait("a") == 0


def test_names_are_bounded() -> None:
    """Those that were not used for longest are forgotten, here and in the file, and may come back."""
    world = World()
    for number in range(MAX_NAMES + 100):
        world.names.note(f"name{number}", number + 1)
        world.names.known("name0")
    assert len(world.store.names) == MAX_NAMES
    assert world.names.known("name0")
    assert world.names.known("name1") is None
    assert world.names.known(f"name{MAX_NAMES + 99}")
    assert len(world.names._by_peer) == MAX_NAMES


def test_what_another_version_stored_is_left_out() -> None:
    """A refusal of which this one knows nothing, and one that is old, refuse nothing."""
    world = World()
    world.names.begin(
        StoredUsernames(
            [
                StoredName("later", None, "USERNAME_ON_SALE", world.true),
                StoredName("old", None, "USERNAME_NOT_OCCUPIED", world.true - 3600),
                StoredName("new", None, "USERNAME_NOT_OCCUPIED", world.true - 3599),
                StoredName("future", None, "USERNAME_NOT_OCCUPIED", world.true + 3599),
            ]
        )
    )
    assert [world.names.known(name) is not None for name in ("later", "old", "new", "future")] == [
        False, False, True, False,
    ]  # fmt: skip
