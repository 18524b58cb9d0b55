"""What the screen costs: a picture of 1,000 accounts, of which all have changed, is a few milliseconds of CPU."""

import time

from rich.color import ColorSystem

from engine.console.account_status import AccountStatus
from engine.console.ranking import Ranking
from engine.screen.layout import Scene, draw
from engine.screen.model import Model, shown
from engine.screen.screen import REFRESH_INTERVAL
from engine.screen.terminal import Styles
from states import Snapshot, State
from tests.engine.screen.pages import INFO, NOW, lost

SHARE = 0.02
"""Of a core, while accounts change all the time."""


def test_a_picture_of_a_thousand_accounts_costs_two_percent_of_a_core() -> None:
    """Four times a second, ranked and drawn anew, on a terminal of 120 columns and 40 lines."""
    fleet = {f"Account {number:04}": AccountStatus(lost(number)) for number in range(300)}
    for number in range(300, 1000):
        at = Snapshot(state=State.HEALTHY, since=NOW - number, last_success=NOW, link=1)
        fleet[f"Account {number:04}"] = AccountStatus(at)
    ranking, styles = Ranking.of(fleet), Styles(ColorSystem.STANDARD)

    def redraw(now: float) -> None:
        for name in fleet:
            ranking.update(name)
        model = Model(selected="Account 0100")
        given = Scene(
            info=INFO,
            ranking=ranking,
            names=shown(ranking.ordered(), model),
            trouble_since=lambda name, at: NOW - 500,
            now=now,
            width=120,
            height=40,
            longest=12,
        )
        for line in draw(model, given).lines:
            styles.rendered(line)

    costs = []
    for look in range(40):
        began = time.thread_time()
        redraw(NOW + look)
        costs.append(time.thread_time() - began)
    assert min(costs) < SHARE * REFRESH_INTERVAL
