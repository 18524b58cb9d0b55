"""The benchmark of many lives does what it says it times. Nothing here looks at a clock."""

from tests.bench.many_lives import LOOKS, ROUNDS, measure, table


async def test_the_benchmark_of_many_lives_beats_looks_and_writes(empty_store_url: str) -> None:
    """Each life beats with its accounts, one looks at all, and the records and snapshots are in the journal."""
    beats, looks, records, routine = found = await measure(empty_store_url, lives=20, accounts=3, count=40)
    assert [each.count for each in found] == [20 * ROUNDS, LOOKS, 40, 40]
    assert records.disk > 0
    assert min(beats.wal, records.wal, routine.wal) > 0
    assert looks.name == "looks at the balance of 60 accounts"
    assert len(table(found).rows) == 4
