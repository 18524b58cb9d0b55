"""What 200,000 users and chats of one session cost: in memory, at opening, and when one of them is asked for.

    python -m tests.bench.memory_entities [--entities N]

Each contender has a process of its own, which opens a session that knows so many, asks for two thousand of them by id
and for fifty by username, and says by how much it has grown. Telethon's ``MemorySession`` is filled in that process,
and ``SQLiteSession`` has Telethon's cache of hashes beside it, as in each of its clients. "All in memory" is
``HoldfastSession`` without its bound, as it was before.
"""

import argparse
import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from telethon._updates import EntityCache
from telethon.crypto import AuthKey
from telethon.sessions import MemorySession, SQLiteSession
from telethon.tl.types import User

from adapters.session import HoldfastSession, contents
from adapters.session import file as files
from adapters.telegram.recalling import RecentEntities
from tests.bench.table import Table, Target, add_option, hand_over, ratio
from tests.soak.busy_week import resident_bytes

BY_ID: Final = 2_000
BY_USERNAME: Final = 50
BATCH: Final = 1_000
TELETHONS_LIMIT: Final = 5_000
"""Telethon's client empties its cache then."""
OURS, UNBOUNDED, MEMORY, SQLITE = "Holdfast", "Holdfast, all in memory", "MemorySession", "SQLiteSession and its cache"


def users(count: int) -> Iterator[list[User]]:
    """Yield so many users, a thousand at a time."""
    for first in range(0, count, BATCH):
        yield [
            User(
                number,
                access_hash=number * 7919 << 20,
                username=f"user_{number}",
                phone=str(9_990_000_000 + number) if number % 10 == 0 else None,
                first_name=f"First {number}",
                last_name=f"Last {number % 997}",
            )
            for number in range(first + 1, min(first + BATCH, count) + 1)
        ]


def fill(path: Path, count: int) -> None:
    """Make a session file with so many."""
    session = SQLiteSession(str(path))
    session.set_dc(2, "127.0.0.1", 443)
    session.auth_key = AuthKey(bytes(range(256)))
    for some in users(count):
        session.process_entities(some)
    session.close()


def _holdfast(path: Path, count: int) -> list[Any]:
    return [HoldfastSession(path), RecentEntities(())]


def _unbounded(path: Path, count: int) -> list[Any]:
    for place in (contents, files):
        place.MAX_ENTITIES = sys.maxsize // 2  # type: ignore[attr-defined]
    return [HoldfastSession(path), RecentEntities(())]


def _memory(path: Path, count: int) -> list[Any]:
    session = MemorySession()
    for some in users(count):
        session.process_entities(some)
    return [session, EntityCache()]


def _sqlite(path: Path, count: int) -> list[Any]:
    return [SQLiteSession(str(path)), EntityCache()]


CONTENDERS: Final[dict[str, Callable[[Path, int], list[Any]]]] = {
    OURS: _holdfast,
    UNBOUNDED: _unbounded,
    MEMORY: _memory,
    SQLITE: _sqlite,
}


def measure(name: str, path: Path, count: int) -> dict[str, float]:
    """Be one contender; return bytes and seconds."""
    warm = path.with_name(f"warm-{name}.session")
    fill(warm, 10)
    kept = [CONTENDERS[name](warm, 10), next(users(1))]  # whatever is imported and made once
    gc.collect()
    before, began = resident_bytes(), time.perf_counter()
    session, cache = CONTENDERS[name](path, count)
    opened = time.perf_counter() - began
    for some in users(min(count, TELETHONS_LIMIT - 1)):
        cache.extend(some, [])
    chance = random.Random(1)
    numbers = [chance.randint(1, count) for _ in range(BY_ID)]
    by_id = _seconds(session.get_entity_rows_by_id, numbers)
    by_username = _seconds(session.get_entity_rows_by_username, [f"user_{number}" for number in numbers[:BY_USERNAME]])
    gc.collect()
    grown = resident_bytes() - before
    session.close()
    del kept
    return {"bytes": grown, "open": opened, "by_id": by_id, "by_username": by_username}


def _seconds(ask: Callable[[Any], Any], keys: Sequence[Any]) -> float:
    """Return how long one question takes that was not asked before."""
    began = time.perf_counter()
    for key in keys:
        assert ask(key) is not None, key
    return (time.perf_counter() - began) / len(keys)


def table(found: dict[str, dict[str, float]], count: int) -> Table:
    """Return the figures beside each other."""
    ours = found[OURS]
    rows = [
        [
            name,
            f"{each['bytes'] / 1e6:.1f} MB",
            f"{ratio(each['bytes'], ours['bytes']):.1f} ×",
            f"{each['open'] * 1e3:.1f} ms",
            f"{each['by_id'] * 1e6:.0f} µs",
            f"{each['by_username'] * 1e6:,.0f} µs",
        ]
        for name, each in found.items()
    ]
    memory = ratio(found[MEMORY]["bytes"], ours["bytes"])
    before = ratio(found[UNBOUNDED]["bytes"], ours["bytes"])
    sqlite = ratio(ours["bytes"], found[SQLITE]["bytes"])
    targets = [
        Target(f"memory for {count:,} entities, of which Holdfast takes a part", memory, least=10, against=MEMORY),
        Target("the same", before, least=10, against="Holdfast with all in memory"),
        Target("memory of Holdfast", sqlite, most=3, against=SQLITE),
        Target(
            "opening such a file", ratio(found[UNBOUNDED]["open"], ours["open"]), least=10, against="reading it all"
        ),
    ]
    head = ["", "memory", "of Holdfast's", "opened in", "found by id in", "by username in"]
    return Table(f"{count:,} users and chats of one session", head, rows, targets)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=200_000)
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    add_option(parser)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.file, options.entities)))
        return 0
    with tempfile.TemporaryDirectory(prefix="holdfast-entities-") as directory:
        path = Path(directory, "account.session")
        fill(path, options.entities)
        command = [sys.executable, "-m", "tests.bench.memory_entities", "--entities", str(options.entities)]
        found = {
            name: json.loads(subprocess.check_output([*command, "--file", str(path), "--one", name]))
            for name in CONTENDERS
        }
    result = table(found, options.entities)
    print("\n".join(result.lines()))
    hand_over(options.results, result.targets)
    return 0 if all(target.kept for target in result.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
