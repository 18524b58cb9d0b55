"""An account whose session can only be read connects, and says once what that means."""

from pathlib import Path

import attrs
import pytest

from states import Event
from states.events import Connected, DatabaseUnavailable
from tests.adapters.session.support import change
from tests.adapters.session.test_read_only import mounted
from tests.adapters.telegram.harness import DatacenterHarness
from tests.timeouts import TIMEOUT


@pytest.mark.parametrize("wal", [False, True])
async def test_an_account_on_a_read_only_mount_connects(
    harness: DatacenterHarness, tmp_path_factory: pytest.TempPathFactory, wal: bool
) -> None:
    """The link is proven; a change is in memory, and the observer hears that, and what to do."""
    mount: Path = tmp_path_factory.mktemp("mounted")
    async with harness:
        made = harness.connector()
        if wal:
            change(made.session, "pragma journal_mode = wal")
        with mounted(harness.directory, where=mount):
            connector = attrs.evolve(made, session=mount / made.session.name)
            told: list[Event] = []
            connector.listen(told.append)
            link = connector.link(1)
            assert (await link.open(timeout=TIMEOUT))[-1] == Connected(link=1)
            session = link.client.session
            session.takeout_id = 5
            assert session.takeout_id == 5
            await link.close(timeout=TIMEOUT)
            with session._live._using:  # its writer may be at work on the connection that this closes
                session._live._abandon([])
        assert not [event for event in told if not isinstance(event, DatabaseUnavailable)]
