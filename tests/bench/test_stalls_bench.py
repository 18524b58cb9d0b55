"""The benchmark of stalled updates measures what it says. Nothing here judges by a clock."""

from math import inf

import pytest

from adapters.telegram import update_proof
from tests.bench.programs import Bare, Holdfast
from tests.bench.recovery import prepared
from tests.bench.stalls import QUICK_POLICY, STALLS, Cost, Found, Place, suffer, tables, targets
from tests.timeouts import TIMEOUT

COST = Cost(0.001, 0.004, 2_000, 20_000)


def of_all(ours: Found, bare: Found) -> dict[tuple[str, str], Found]:
    """Return the same for each stall."""
    return {(stall.key, kind): each for stall in STALLS for kind, each in (("Holdfast", ours), ("Bare", bare))}


def test_a_stall_that_is_noticed_too_late_is_a_missed_target() -> None:
    """What heals without being noticed has not to be noticed; what is neither is a miss."""
    never = Found(inf, inf)
    fine = of_all(Found(70.0, 85.0), never)
    assert [each.kept for each in targets(fine, COST)] == [True] * 3
    fine["unknown", "Holdfast"] = Found(inf, 0.1)
    assert targets(fine, COST)[0].kept
    assert not targets(of_all(Found(91.0, 95.0), never), COST)[0].kept
    assert not targets(of_all(never, never), COST)[0].kept


def test_the_table_says_how_long_a_program_was_observed() -> None:
    """What did not happen is no figure."""
    lines = tables(of_all(Found(70.0, 80.0), Found(inf, inf)), COST, 150.0)[0].lines()
    assert "| updates are not pushed | 70.0 s | 80.0 s | not within 150 s | > 1.88× |" in lines


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Holdfast, Bare])
async def test_a_stall_happens_to_both_programs(
    kind: type[Holdfast] | type[Bare], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine hears the lost message, and the bare client does not in the time that it is given."""
    for name in ("GRACE", "CHANNELS_EVERY", "STRANGERS_EVERY"):
        monkeypatch.setattr(update_proof, name, 0.1)
    (stall,) = [each for each in STALLS if each.key == "channel"]
    async with prepared(QUICK_POLICY) as harness, harness.subject(kind) as subject:
        place = Place("a_channel", harness.sandbox)
        found = await suffer(subject, place, stall, TIMEOUT if kind is Holdfast else 0.5)
    assert (found.healed < inf) is (kind is Holdfast)
    assert (found.noticed < inf) is (kind is Holdfast)
