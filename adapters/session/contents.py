"""What a session file holds, in memory: everything is read from here, and what differs from the file is marked.

The marks are keys, not values: what is written is what memory has when it is written. So a row that changes a hundred
times between two commits is written once, and a commit that failed needs nothing but its marks back.
"""

import threading
from collections.abc import Iterable
from typing import Any

from attrs import define, evolve, field, frozen

Entity = tuple[int, str | None, Any, str | None, int | None]
"""Access hash, username, phone, name, and when it was last seen (Unix seconds)."""
UpdateState = tuple[int, int, float, int]
"""pts, qts, date (Unix seconds), seq."""
FileKey = tuple[bytes, int, int]
"""MD5 digest, size and type of a file that was sent."""

USERNAME, PHONE, NAME, DATE = 1, 2, 3, 4


@frozen
class Identity:
    """The one row that matters: which datacenter knows the account, and by which key."""

    dc_id: int = 0
    address: str | None = None
    port: int | None = None
    key: bytes = field(default=b"", repr=False)
    takeout_id: int | None = None
    temporary_key: bytes = field(default=b"", repr=False)


@define
class DirtySet:
    """What the file has not yet, or has otherwise. ``dates`` are entities of which only the date differs."""

    identity: bool = False
    entities: set[int] = field(factory=set)
    dates: set[int] = field(factory=set)
    states: set[int] = field(factory=set)
    files: set[FileKey] = field(factory=set)

    def __bool__(self) -> bool:
        return self.identity or bool(self.entities or self.states or self.files)

    @property
    def rows(self) -> int:
        """How many rows wait to be written."""
        return self.identity + len(self.entities) + len(self.states) + len(self.files)

    def add(self, others: "DirtySet") -> None:
        """Take over the marks of a commit that failed."""
        self.identity |= others.identity
        self.entities |= others.entities
        self.dates |= others.dates
        self.states |= others.states
        self.files |= others.files


@frozen
class Changes:
    """Rows as they are written, in one transaction."""

    identity: Identity | None
    entities: list[tuple[Any, ...]]
    states: list[tuple[Any, ...]]
    files: list[tuple[Any, ...]]
    rows: int


@define
class Index:
    """Which entities have a value in one column."""

    column: int
    _found: dict[Any, int | set[int]] = field(factory=dict, init=False)

    def add(self, number: int, entity: Entity) -> None:
        """Note an entity."""
        value = entity[self.column]
        if value is None:
            return
        old = self._found.get(value)
        if old is None:
            self._found[value] = number
        elif isinstance(old, set):
            old.add(number)
        elif old != number:
            self._found[value] = {old, number}

    def drop(self, number: int, entity: Entity) -> None:
        """Forget an entity."""
        value = entity[self.column]
        old = self._found.get(value)
        if isinstance(old, set):
            old.discard(number)
            if len(old) == 1:
                self._found[value] = old.pop()
        elif old == number:
            del self._found[value]

    def find(self, value: Any) -> list[int]:
        """Return the entities that have this value, in the order of their numbers."""
        found = self._found.get(value)
        return [] if found is None else sorted(found) if isinstance(found, set) else [found]


@define(eq=False)
class Contents:
    """All of one session. Used by the program's thread and by the writer's: ``lock`` is held for moments only."""

    identity: Identity = field(factory=Identity)
    entities: dict[int, Entity] = field(factory=dict)
    states: dict[int, UpdateState] = field(factory=dict)
    files: dict[FileKey, tuple[int, int]] = field(factory=dict)
    marks: DirtySet = field(factory=DirtySet, init=False)
    lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)
    _indexes: dict[int, Index] = field(factory=dict, init=False, repr=False)

    def set_identity(self, **changes: Any) -> None:
        """Change the row of the account; the same again is no change."""
        identity = evolve(self.identity, **changes)
        with self.lock:
            if identity != self.identity:
                self.identity, self.marks.identity = identity, True

    def put_entities(self, rows: Iterable[tuple[int, int, Any, Any, Any]], now: int) -> None:
        """Remember entities (id, hash, username, phone, name), seen at ``now`` (Unix seconds)."""
        with self.lock:
            for number, access_hash, username, phone, name in rows:
                entity = (access_hash, username, _integer(phone), name, now)
                old = self.entities.get(number)
                if old is None or old[:DATE] != entity[:DATE]:
                    self._replace(number, old, entity)
                    self.marks.entities.add(number)
                elif old[DATE] != now:
                    self.entities[number] = entity
                    self.marks.dates.add(number)

    def put_state(self, number: int, state: UpdateState) -> None:
        """Remember how far updates were seen."""
        with self.lock:
            if self.states.get(number) != state:
                self.states[number] = state
                self.marks.states.add(number)

    def put_file(self, key: FileKey, value: tuple[int, int]) -> None:
        """Remember a file that was sent: its id and access hash."""
        with self.lock:
            if self.files.get(key) != value:
                self.files[key] = value
                self.marks.files.add(key)

    def find(self, column: int, value: Any) -> tuple[int, int] | None:
        """Return id and access hash of the first entity with this phone or name."""
        found = self._index(column).find(_integer(value) if column == PHONE else value)
        return (found[0], self.entities[found[0]][0]) if found else None

    def find_username(self, username: str) -> tuple[int, int] | None:
        """Return the entity that was last seen with this username; the others have lost it, and are told so."""
        with self.lock:
            found = sorted(self._index(USERNAME).find(username), key=lambda number: self.entities[number][DATE] or 0)
            for number in found[:-1]:
                access_hash, _, phone, name, seen = old = self.entities[number]
                self._replace(number, old, (access_hash, None, phone, name, seen))
                self.marks.entities.add(number)
        return (found[-1], self.entities[found[-1]][0]) if found else None

    def mark_rows(self) -> None:
        """Note that nobody knows what the file has, but for whose it is."""
        with self.lock:
            self.marks.add(DirtySet(False, set(self.entities), set(), set(self.states), set(self.files)))

    def take(self) -> tuple[DirtySet, Changes]:
        """Return what is to be written now, and forget that it was."""
        with self.lock:
            marks, self.marks = self.marks, DirtySet()
            entities = [(number, *self.entities[number]) for number in marks.entities | marks.dates]
            states = [(number, *self.states[number]) for number in marks.states]
            files = [(*key, *self.files[key]) for key in marks.files]
            return marks, Changes(self.identity if marks.identity else None, entities, states, files, marks.rows)

    def give_back(self, marks: DirtySet) -> None:
        """Note that what was taken could not be written."""
        with self.lock:
            self.marks.add(marks)

    def _replace(self, number: int, old: Entity | None, new: Entity) -> None:
        self.entities[number] = new
        for index in self._indexes.values():
            if old is not None:
                index.drop(number, old)
            index.add(number, new)

    def _index(self, column: int) -> Index:
        """Return the index of a column; it is built when it is first asked, for few programs ask."""
        index = self._indexes.get(column)
        if index is None:
            index = Index(column)
            for number, entity in self.entities.items():
                index.add(number, entity)
            self._indexes[column] = index
        return index


def _integer(value: Any) -> Any:
    """Return what a column of integers makes of a value: text that is a number becomes one."""
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 19:
        return int(value)
    return value
