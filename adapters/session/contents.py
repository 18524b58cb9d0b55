"""What a session file holds, as far as it is in memory, and in the dirty set what the file lacks.

The dirty set has keys, not values: what is written is what memory holds at the moment of writing. So a row that changes
a hundred times between two commits is written once, and after a commit that failed only its keys have to be put back.

Of a large file only the entities that were used last are in memory, ``MAX_ENTITIES`` of them; the file has the others,
and ``adapters.session.recall`` reads them when they are asked for. A row that the file lacks is never forgotten.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from attrs import define, evolve, field, frozen

Entity = tuple[int, str | None, Any, str | None, int | None]
"""Access hash, username, phone, name, and when it was last seen (Unix seconds)."""
UpdateState = tuple[int, int, float, int]
"""pts, qts, date (Unix seconds), seq."""
FileKey = tuple[bytes, int, int]
"""MD5 digest, size and type of a file that was sent."""

ID, USERNAME, PHONE, NAME, DATE = 0, 1, 2, 3, 4
"""Where an entity has what; ``ID`` is its number, which is the key."""
SELF: Final = 0
"""The number of the entity that holds the user's id in place of an access hash, as Telethon has it."""
MAX_ENTITIES: Final = 5_000
"""Entities of one file that stay in memory, at 0.4 kB each. One more is read from the file in 10 µs by its id, and in
15 ms by its username among 200,000."""
_LIMIT: Final = 2**63
MAX_ANSWERS: Final = 1_000
"""Questions to the file whose answers are known to be in memory."""
_SLACK: Final = 500
"""By how many entities there may be too many: forgetting one at a time would be dear."""
_SLICE: Final = 500
"""Entities that are forgotten while the lock is held once: the event loop may wait for it."""
MAX_DATE_LAG = 86_400
"""Seconds that the time at which an entity was last seen may be older in the file than in memory, if nothing else of
the file is to be written: the account's own user is seen at each connect, and a commit is dear."""


@frozen
class Identity:
    """The one row that matters: which datacenter knows the account, and by which key."""

    dc_id: int = 0
    address: str | None = None
    port: int | None = None
    key: bytes = field(default=b"", repr=False)
    takeout_id: int | None = None
    temporary_key: bytes = field(default=b"", repr=False)


@define(repr=False)
class DirtySet:
    """The rows that the file does not have yet, or has in another version.

    ``dates`` are entities of which only the date differs, each with the date that the file has: they are written along
    with others, and are a reason to write once the file's date is ``MAX_DATE_LAG`` older.
    """

    identity: bool = False
    entities: set[int] = field(factory=set)
    dates: dict[int, int] = field(factory=dict)
    states: set[int] = field(factory=set)
    files: set[FileKey] = field(factory=set)

    def __bool__(self) -> bool:
        return self.identity or bool(self.entities or self.states or self.files)

    def __repr__(self) -> str:
        return f"<DirtySet of {self.rows} rows>"

    @property
    def rows(self) -> int:
        """How many rows wait to be written."""
        return self.identity + len(self.entities) + len(self.states) + len(self.files)

    def has(self, number: int) -> bool:
        """Return whether an entity is among them, be it for its date alone."""
        return number in self.entities or number in self.dates

    def add(self, other: "DirtySet") -> None:
        """Add the keys of another dirty set, such as that of a commit that failed."""
        self.identity |= other.identity
        self.entities |= other.entities
        self.dates |= other.dates  # the file's dates, so those that were taken first
        self.states |= other.states
        self.files |= other.files


@frozen(repr=False)
class Changes:
    """Rows as they are written, in one transaction."""

    identity: Identity | None
    entities: list[tuple[Any, ...]]
    states: list[tuple[Any, ...]]
    files: list[tuple[Any, ...]]
    rows: int

    def __repr__(self) -> str:
        return f"<Changes of {self.rows} rows>"


@define
class Index:
    """Which entities have a value in one column."""

    column: int
    _numbers: dict[Any, int | set[int]] = field(factory=dict, init=False, repr=False)

    def add(self, number: int, entity: Entity) -> None:
        """Add an entity."""
        value = entity[self.column]
        if value is None:
            return
        old = self._numbers.get(value)
        if old is None:
            self._numbers[value] = number
        elif isinstance(old, set):
            old.add(number)
        elif old != number:
            self._numbers[value] = {old, number}

    def drop(self, number: int, entity: Entity) -> None:
        """Remove an entity."""
        value = entity[self.column]
        old = self._numbers.get(value)
        if isinstance(old, set):
            old.discard(number)
            if len(old) == 1:
                self._numbers[value] = old.pop()
        elif old == number:
            del self._numbers[value]

    def find(self, value: Any) -> list[int]:
        """Return the entities that have this value, in the order of their numbers."""
        found = self._numbers.get(value)
        return [] if found is None else sorted(found) if isinstance(found, set) else [found]


@define(eq=False, repr=False)
class Contents:
    """All of one session. The program's thread and the writer's share it: ``lock`` is held for moments only."""

    identity: Identity = field(factory=Identity)
    entities: dict[int, Entity] = field(factory=dict)
    states: dict[int, UpdateState] = field(factory=dict)
    files: dict[FileKey, tuple[int, int]] = field(factory=dict)
    complete: bool = True
    """Whether every entity is here: otherwise the file has the others."""
    bounded: bool = False
    """Whether entities that the file has may be forgotten, because they can be read there again."""
    dirty: DirtySet = field(factory=DirtySet, init=False)
    _taken: DirtySet = field(factory=DirtySet, init=False)
    """The rows that were taken, and are in neither the dirty set nor, for certain, the file."""
    lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)
    _indexes: dict[int, Index] = field(factory=dict, init=False, repr=False)
    _answers: dict[tuple[int, Any], None] = field(factory=dict, init=False, repr=False)
    """Columns and values of which the file says nothing that decides and is not in memory, oldest first."""
    _lookups: int = field(default=0, init=False)
    """Lookups under way: what they read is not to be older than what is forgotten meanwhile."""

    def __repr__(self) -> str:
        return f"<Contents: {len(self.entities)} entities, {len(self.states)} states, {len(self.files)} files>"

    def set_identity(self, **changes: Any) -> None:
        """Change the row of the account; setting the same values is no change."""
        identity = evolve(self.identity, **changes)
        with self.lock:
            if identity != self.identity:
                self.identity, self.dirty.identity = identity, True

    def put_entities(self, rows: Iterable[tuple[int, int, Any, Any, Any]], now: int) -> None:
        """Remember entities (id, hash, username, phone, name), seen at ``now`` (Unix seconds).

        A number that SQLite has no room for would keep everything else from being written: nobody has it, and a server
        may say it. Such an entity is left out.
        """
        with self.lock:
            for number, access_hash, username, phone, name in rows:
                if not (-_LIMIT <= number < _LIMIT and -_LIMIT <= access_hash < _LIMIT):
                    continue
                entity = (access_hash, username, _as_integer(phone), name, now)
                old = self.entities.get(number)
                if old is None or old[:DATE] != entity[:DATE]:
                    self._replace(number, old, entity)
                    self.dirty.entities.add(number)
                elif old[DATE] != now:
                    del self.entities[number]  # it becomes the last one that was used
                    self.entities[number] = entity
                    before = old[DATE]
                    seen = before if isinstance(before, int) else 0  # a foreign file may hold anything
                    if abs(now - self.dirty.dates.setdefault(number, seen)) >= MAX_DATE_LAG:
                        self.dirty.entities.add(number)

    def put_state(self, number: int, state: UpdateState) -> None:
        """Remember how far updates were seen."""
        with self.lock:
            if self.states.get(number) != state:
                self.states[number] = state
                self.dirty.states.add(number)

    def put_file(self, key: FileKey, value: tuple[int, int]) -> None:
        """Remember a file that was sent: its id and access hash."""
        with self.lock:
            if self.files.get(key) != value:
                self.files[key] = value
                self.dirty.files.add(key)

    def find_id(self, numbers: Sequence[int]) -> tuple[int, int] | None:
        """Return id and access hash of the first of these entities that is known."""
        with self.lock:
            for number in numbers:
                if number in self.entities:
                    return number, self._use(number)[0]
        return None

    def find(self, column: int, value: Any) -> tuple[int, int] | None:
        """Return id and access hash of the first entity with this phone or name."""
        with self.lock:
            found = self._index(column).find(as_stored(column, value))
            return (found[0], self._use(found[0])[0]) if found else None

    def find_username(self, username: str) -> tuple[int, int] | None:
        """Return the entity that was last seen with this username, and take the username from all others."""
        with self.lock:
            found = sorted(self._index(USERNAME).find(username), key=lambda number: self.entities[number][DATE] or 0)
            for number in found[:-1]:
                access_hash, _, phone, name, seen = old = self.entities[number]
                self._replace(number, old, (access_hash, None, phone, name, seen))
                self.dirty.entities.add(number)
            return (found[-1], self._use(found[-1])[0]) if found else None

    # --- what only the file has --------------------------------------------------------------------------------------

    @contextmanager
    def lookup(self) -> Iterator[None]:
        """Forget nothing for the length of the block: what it reads in the file is completed by what is here."""
        with self.lock:
            self._lookups += 1
        try:
            yield
        finally:
            with self.lock:
                self._lookups -= 1

    def lacks(self, column: int, values: Sequence[Any]) -> list[Any]:
        """Return of which of these values the file has to be asked; numbers are asked for up to the first known one."""
        if self.complete:
            return []
        lacking = []
        with self.lock:
            for value in values:
                if column == ID and value in self.entities:
                    break
                if (column, value) not in self._answers:
                    lacking.append(value)
        return lacking

    def merge(self, column: int, values: Iterable[Any], rows: Iterable[tuple[Any, ...]]) -> None:
        """Add entities as the file has them, all that decide about these values; what is known here is newer."""
        with self.lock:
            for number, *rest in rows:
                if number not in self.entities:
                    self._replace(number, None, tuple(rest))
                elif column in (PHONE, NAME):
                    return  # it changed while it was read, and the file may have the next one
            for value in values:
                self._answers[column, value] = None
            while len(self._answers) > MAX_ANSWERS:
                del self._answers[next(iter(self._answers))]

    def shrink(self) -> None:
        """Forget the entities that were used least of late, as many as there are too many, and none that is dirty."""
        if not self.bounded or len(self.entities) <= MAX_ENTITIES + _SLACK:
            return
        while len(self.entities) > MAX_ENTITIES:
            with self.lock:
                if self._lookups or not self._forget(min(_SLICE, len(self.entities) - MAX_ENTITIES)):
                    return

    def _forget(self, count: int) -> int:
        """Forget so many entities of the oldest ones; return how many that were."""
        numbers = [number for number, _ in zip(self.entities, range(2 * count), strict=False)]
        own = self.entities.get(SELF)
        forgotten = 0
        for number in numbers:
            if number in self.dirty.dates:
                self.dirty.entities.add(number)  # whose a username is may depend on when it was seen
            if number in self.dirty.entities or self._taken.has(number) or number == SELF or (own and number == own[0]):
                self.entities[number] = self.entities.pop(number)
            elif forgotten < count:
                entity = self.entities.pop(number)
                self._drop_answers(number, entity)
                for index in self._indexes.values():
                    index.drop(number, entity)
                forgotten += 1
        self.complete = self.complete and not forgotten
        return forgotten

    def _drop_answers(self, number: int, entity: Entity) -> None:
        """Ask the file again for whatever this entity is an answer to."""
        if self._answers:
            for column in (USERNAME, PHONE, NAME):
                self._answers.pop((column, entity[column]), None)
            self._answers.pop((ID, number), None)

    def _use(self, number: int) -> Entity:
        """Return an entity, which is the last one that was used from now on."""
        if self.bounded:
            self.entities[number] = self.entities.pop(number)
        return self.entities[number]

    # --- writing -----------------------------------------------------------------------------------------------------

    def mark_rows_dirty(self) -> None:
        """Count all rows but the identity as dirty: what the file has of them is not known."""
        with self.lock:
            self.complete = self.complete and not self.bounded
            self._answers.clear()
            self.dirty.add(DirtySet(False, set(self.entities), {}, set(self.states), set(self.files)))

    def dates_decide(self) -> bool:
        """Return whether a date that waits to be written decides whose a username is: several entities have it."""
        with self.lock:
            wanted = {self.entities[number][USERNAME] for number in self.dirty.dates} - {None}
            if not self.complete:
                return bool(wanted)  # the others that have it may be in the file alone
            names = [entity[USERNAME] for entity in self.entities.values() if wanted and entity[USERNAME] in wanted]
        return len(names) > len(set(names))

    @property
    def identity_unsaved(self) -> bool:
        """Whether the row of the account, with its key, is not durable yet."""
        with self.lock:
            return self.dirty.identity or self._taken.identity

    @property
    def rows_unsaved(self) -> int:
        """How many rows are not durable yet, those of a commit under way among them."""
        with self.lock:
            return self.dirty.rows + self._taken.rows

    def take(self) -> tuple[DirtySet, Changes]:
        """Return what is to be written now, and clear the dirty set. Call ``confirm`` or ``give_back`` afterwards."""
        with self.lock:
            dirty, self.dirty = self.dirty, DirtySet()
            self._taken = dirty
            entities = [(number, *self.entities[number]) for number in dirty.entities | dirty.dates.keys()]
            states = [(number, *self.states[number]) for number in dirty.states]
            files = [(*key, *self.files[key]) for key in dirty.files]
            return dirty, Changes(self.identity if dirty.identity else None, entities, states, files, dirty.rows)

    def give_back(self, dirty: DirtySet) -> None:
        """Put back what was taken and could not be written."""
        with self.lock:
            self.dirty.add(dirty)
            self._taken = DirtySet()

    def confirm(self) -> None:
        """Count as durable what was taken last; it may be forgotten from now on."""
        with self.lock:
            self._taken = DirtySet()
        self.shrink()

    def _replace(self, number: int, old: Entity | None, new: Entity) -> None:
        if old is not None:
            del self.entities[number]
            if self._answers and old[:DATE] != new[:DATE]:
                self._drop_answers(number, old)
        self.entities[number] = new
        for index in self._indexes.values():
            if old is not None:
                index.drop(number, old)
            index.add(number, new)

    def _index(self, column: int) -> Index:
        """Return the index of a column. It is built at the first lookup, since few programs need one."""
        index = self._indexes.get(column)
        if index is None:
            index = Index(column)
            for number, entity in self.entities.items():
                index.add(number, entity)
            self._indexes[column] = index
        return index


def as_stored(column: int, value: Any) -> Any:
    """Return what a column of the file makes of a value that is looked for."""
    return _as_integer(value) if column == PHONE else value


def _as_integer(value: Any) -> Any:
    """Return what a column of integers makes of a value: text that is a number becomes one."""
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 19:
        return int(value)
    return value
