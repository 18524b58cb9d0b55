"""The benchmark of leases does what it says it times. Nothing here looks at a clock."""

from tests.bench.leases import NODES, measure, tables


async def test_the_benchmark_of_leases_renews_and_claims_every_account(empty_store_url: str) -> None:
    """Every renewal touches all accounts of one node, and the nodes claim all of theirs."""
    found = await measure(empty_store_url, accounts=20, claimed=41, rounds=1)
    assert [(cost.statements, cost.rows) for cost in found.costs] == [(1, 1), (20, 20), (1, 20)]
    assert sum(found.shares) == 41
    assert max(found.shares) == 11
    wal = [cost.wal[0] for cost in found.costs]
    assert min(wal) == wal[0]
    targets = [target for table in tables(found, 20, 41) for target in table.targets]
    assert targets[0].found == 1 / 20
    assert len(found.claims) == 1
    assert len(found.shares) == NODES
