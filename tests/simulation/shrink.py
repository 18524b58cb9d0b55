"""Makes a story that fails as short as it can be made while it still fails in the same way: delta debugging on data.

Each step proposes simpler stories, and the first that still fails is what the next step begins with. Large steps come
first: without half of the incidents, half as long, for one account. The last ones only make numbers rounder, for the
reader. The same story and the same answers give the same result (Zeller and Hildebrandt, "Simplifying and Isolating
Failure-Inducing Input", 2002).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from attrs import define, evolve, field, frozen

from tests.simulation.story import HOUR, Incident, JobOrder, Story, Workload

MAX_RUNS: Final = 150
SHORTEST: Final = 60.0
"""Seconds that a story has at least."""

T = TypeVar("T")
StillFails = Callable[[Story], bool]
"""Runs a story, and says whether the judge that condemned the first one condemns this one."""


@frozen
class ShrunkStory:
    """The shortest story that was found, and after how many runs."""

    story: Story
    runs: int
    complete: bool
    """Whether nothing simpler fails, as far as it was asked; False when the runs or the time were used up."""


def shrink(
    story: Story,
    still_fails: StillFails,
    *,
    max_runs: int = MAX_RUNS,
    out_of_time: Callable[[], bool] = lambda: False,
) -> ShrunkStory:
    """Return the shortest story found within ``max_runs`` runs that still fails; ``story`` itself is known to."""
    search = _Search(story, still_fails, max_runs, out_of_time)
    before = None
    while before != search.story and not search.over:
        before = search.story
        for step in STEPS:
            step(search)
    return ShrunkStory(search.story, search.runs, not search.over)


@define
class _Search:
    story: Story
    """The shortest that fails so far."""
    still_fails: StillFails
    max_runs: int
    out_of_time: Callable[[], bool]
    runs: int = 0
    _tried: set[str] = field(factory=set)

    @property
    def over(self) -> bool:
        return self.runs >= self.max_runs or self.out_of_time()

    def takes(self, candidate: Story) -> bool:
        """Make a candidate the shortest if it fails; one that was tried before is not run again."""
        text = candidate.dump()
        if candidate == self.story or text in self._tried or self.over:
            return False
        self._tried.add(text)
        self.runs += 1
        if self.still_fails(candidate):
            self.story = candidate
            return True
        return False

    def takes_one_of(self, candidates: Iterator[Story]) -> bool:
        """Take the first that fails."""
        return any(self.takes(candidate) for candidate in candidates)

    def reduce(self, items: Sequence[T], build: Callable[[Story, tuple[T, ...]], Story]) -> None:
        """Leave out as many items as possible: all, then halves, quarters, and so on down to single ones."""
        kept = tuple(items)
        if kept and self.takes(build(self.story, ())):
            return
        size = len(kept) // 2
        while size >= 1:
            at = 0
            while at < len(kept):
                rest = kept[:at] + kept[at + size :]
                if self.takes(build(self.story, rest)):
                    kept = rest
                else:
                    at += size
            size //= 2


# --- the steps, the large ones first ----------------------------------------------------------------------------------


def _fewer_incidents(search: _Search) -> None:
    search.reduce(search.story.incidents, lambda story, kept: evolve(story, incidents=kept))


def _less_work(search: _Search) -> None:
    if search.takes(evolve(search.story, workload=Workload())):
        return
    search.reduce(search.story.workload.jobs, lambda story, kept: _with_work(story, jobs=kept))
    for name in ("followers", "subscribers", "handler_failing", "handler_seconds", "updates_per_day"):
        if getattr(search.story.workload, name):
            search.takes(_with_work(search.story, **{name: 0}))


def _default_settings(search: _Search) -> None:
    search.reduce(tuple(search.story.settings.items()), lambda story, kept: evolve(story, settings=dict(kept)))


def _fewer_accounts(search: _Search) -> None:
    """Leave one account only; or else leave them out one by one, the last first."""
    story = search.story
    if story.accounts > 1 and search.takes_one_of(_only(story, {kept}) for kept in range(1, story.accounts + 1)):
        return
    for left_out in range(story.accounts, 0, -1):
        if search.story.accounts > 2:
            search.takes(_only(search.story, set(range(1, search.story.accounts + 1)) - {left_out}))


def _shorter(search: _Search) -> None:
    """End earlier, with what would come too late left out, and let things happen closer together."""
    for part in (0.1, 0.25, 0.5, 0.75, 0.9):
        if search.takes(_cut(search.story, _rounder(search.story.seconds * part))):
            break
    if search.takes(_closer(search.story, 0, SHORTEST)):
        return
    for gap in range(len(_moments(search.story))):
        search.takes(_closer(search.story, gap, SHORTEST))


def _simpler_incidents(search: _Search) -> None:
    for index in range(len(search.story.incidents)):
        for simpler in (
            _without_account,
            _without_times,
            _without_request,
            _briefer,
            _longer_rounded,
            _at_a_round_time,
        ):
            incidents = search.story.incidents
            changed = simpler(incidents[index])
            if changed is not None and changed.ends <= search.story.seconds:
                kept = (*incidents[:index], changed, *incidents[index + 1 :])
                search.takes(evolve(search.story, incidents=tuple(sorted(kept, key=lambda each: each.at))))


def _simpler_jobs(search: _Search) -> None:
    for index in range(len(search.story.workload.jobs)):
        for changes in (
            {"count": 1, "every": 0.0},
            {"steps": 1},
            {"seconds": 0.0},
            {"failing": 0.0},
            {"account": None},
        ):
            jobs = search.story.workload.jobs
            changed: JobOrder = evolve(jobs[index], **changes)
            search.takes(_with_work(search.story, jobs=(*jobs[:index], changed, *jobs[index + 1 :])))


STEPS: Final[tuple[Callable[[_Search], None], ...]] = (
    _fewer_incidents,
    _less_work,
    _shorter,
    _fewer_accounts,
    _default_settings,
    _simpler_incidents,
    _simpler_jobs,
)


# --- changes of a story -----------------------------------------------------------------------------------------------


def _with_work(story: Story, **changes: Any) -> Story:
    return evolve(story, workload=evolve(story.workload, **changes))


def _only(story: Story, kept: set[int]) -> Story:
    """Return the story with these accounts alone, which are numbered anew."""
    number = {old: new for new, old in enumerate(sorted(kept), 1)}

    def moved(items: Sequence[T]) -> tuple[T, ...]:
        return tuple(
            evolve(item, account=number.get(item.account))  # type: ignore[misc,attr-defined]
            for item in items
            if item.account is None or item.account in number  # type: ignore[attr-defined]
        )

    work = evolve(story.workload, jobs=moved(story.workload.jobs))
    return evolve(story, accounts=len(kept), incidents=moved(story.incidents), workload=work)


def _cut(story: Story, seconds: float) -> Story:
    """Return the story as long as that, without what would not be over by then."""
    seconds = max(SHORTEST, seconds)
    incidents = tuple(each for each in story.incidents if each.ends <= seconds)
    jobs = tuple(each for each in story.workload.jobs if each.at <= seconds)
    work = evolve(story.workload, jobs=jobs)
    return evolve(story, hours=seconds / HOUR, incidents=incidents, workload=work)


def _moments(story: Story) -> list[float]:
    """Return when something happens."""
    placed: tuple[Incident | JobOrder, ...] = (*story.incidents, *story.workload.jobs)
    return sorted({each.at for each in placed})


def _closer(story: Story, first: int, most: float) -> Story:
    """Return the story with no more than so many seconds before each moment, from the ``first`` on."""
    new: dict[float, float] = {}
    before = earlier = 0.0
    for number, at in enumerate(_moments(story)):
        if number >= first:
            earlier += max(0.0, at - before - most)
        before, new[at] = at, round(at - earlier, 3)
    seconds = max(SHORTEST, round(story.seconds - earlier))
    incidents = tuple(evolve(each, at=new[each.at]) for each in story.incidents)
    jobs = tuple(evolve(each, at=new[each.at]) for each in story.workload.jobs)
    longest = max((each.ends for each in incidents), default=0.0)
    work = evolve(story.workload, jobs=jobs)
    return evolve(story, hours=max(seconds, longest) / HOUR, incidents=incidents, workload=work)


def _rounder(seconds: float) -> float:
    """Return the nearest number that is easy to read: whole minutes, or whole ten seconds below ten minutes."""
    unit = 60 if seconds >= 600 else 10 if seconds >= 20 else 1
    return max(1.0, float(round(seconds / unit) * unit))


def _without_account(incident: Incident) -> Incident | None:
    return None if incident.account is None else evolve(incident, account=None)


def _without_times(incident: Incident) -> Incident | None:
    return None if incident.times in (None, 1) else evolve(incident, times=1)


def _without_request(incident: Incident) -> Incident | None:
    return None if incident.request is None else evolve(incident, request=None)


def _briefer(incident: Incident) -> Incident | None:
    return evolve(incident, seconds=_rounder(incident.seconds / 4)) if incident.seconds > 4 else None


def _longer_rounded(incident: Incident) -> Incident | None:
    return evolve(incident, seconds=_rounder(incident.seconds)) if incident.seconds else None


def _at_a_round_time(incident: Incident) -> Incident | None:
    return evolve(incident, at=_rounder(incident.at))
