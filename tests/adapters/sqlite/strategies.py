"""Values of ``states`` for property tests: any field, also the odd ones."""

from typing import Any

import attrs
from hypothesis import strategies as st

from states.events import Event
from states.record import Record
from states.snapshot import Cause, Hold, Restriction, Snapshot, Stall, State, Trouble

texts = st.text(max_size=20)  # with NUL, quotes, and half surrogates: what exceptions can say
TINY = 1e-9
"""Seconds; nothing here is shorter. SQLite reads text as a real exactly in this range, but not at 1e-300."""
reals = st.floats(-4e11, 4e11).map(lambda value: 0.0 if abs(value) < TINY else value)
counts = st.integers(0, 2**40)
causes = st.builds(Cause, event=texts, detail=texts)

_FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    int: counts,
    float: reals,
    str: texts,
    str | None: st.none() | texts,
    bool: st.booleans(),
    State: st.sampled_from(State),
    float | None: st.none() | reals,
    tuple[float, float] | None: st.none() | st.tuples(reals, reals),
    Cause | None: st.none() | causes,
    Trouble | None: st.none() | st.builds(Trouble, event=texts, detail=texts, since=reals, told=st.booleans()),
    Stall | None: st.none()
    | st.builds(
        Stall,
        since=reals,
        detail=texts,
        clients=counts,
        until=st.none() | reals,
        length=st.none() | reals,
        told=st.booleans(),
    ),
    Restriction | None: st.none()
    | st.builds(Restriction, limit=texts, detail=texts, deletion=st.none() | reals, appeal=texts),
    tuple[str, ...]: st.lists(texts, max_size=3).map(tuple),
    tuple[Hold, ...]: st.lists(st.builds(Hold, request=texts, until=reals), max_size=3).map(tuple),
}


def _filled(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy that fills every field, so that one which is added is tested too."""
    return st.builds(kind, **{field.name: _FIELDS[field.type] for field in attrs.fields(kind)})


snapshots: st.SearchStrategy[Snapshot] = _filled(Snapshot)


def events(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Return a strategy for events of one class, with every field filled."""
    return _filled(kind)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
records = st.builds(
    Record,
    at=reals,
    source=st.sampled_from(State),
    event=names,
    payload=st.dictionaries(
        texts, st.none() | counts | reals | texts | st.lists(texts, max_size=2).map(tuple), max_size=3
    ),
    rule=names,
    target=st.sampled_from(State),
    attempt=counts,
    failures=counts,
    delay=st.none() | reals,
    draw=st.none() | reals,
    deadline=st.none() | reals,
    effects=st.lists(texts, max_size=3).map(tuple),
    detail=texts,
    cause=st.lists(texts, max_size=3).map(tuple),
    dwell=reals,
    quiet=st.just(False),
)
