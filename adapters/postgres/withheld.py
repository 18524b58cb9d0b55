"""An account that no node may have for a while: its owner gives it up in order, and nobody claims it.

For commands that change a login. It ends by itself after a time, so that one that is killed keeps no account from its
nodes. That nobody owns the account is looked at once more in the transaction that changes the login.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import BlockingStore, blocking_store
from adapters.session.errors import SessionHeld

SECONDS: Final = 120.0
"""For how long an account is withheld by a command that is killed."""
LOOK_EVERY: Final = 0.2

WITHHOLD: Final = f"""UPDATE accounts SET withheld_until = clock_timestamp() + interval '{SECONDS:.0f} s'
    WHERE name = %s AND withheld_until IS DISTINCT FROM 'infinity'"""
LIFT: Final = "UPDATE accounts SET withheld_until = NULL WHERE name = %s AND withheld_until <> 'infinity'"
_OWNER: Final = """SELECT n.name, n.host FROM accounts a JOIN nodes n ON n.id = a.owner AND n.state <> 'dead'
    WHERE a.name = %s"""


@contextmanager
def withheld(address: StoreAddress, account: str, *, patience: float) -> Iterator[None]:
    """Have no node own an account for the block, and begin it when the one that does has given it up. Blocks.

    Raises ``SessionHeld`` if that takes longer than ``patience`` seconds, and ``StoreError``.
    """
    with blocking_store(address, application="holdfast command") as store:
        try:
            _wait(store, account, patience)
            yield
        finally:
            store.rows(LIFT, (account,))


def _wait(store: BlockingStore, account: str, patience: float) -> None:
    began = time.monotonic()
    while True:
        store.rows(WITHHOLD, (account,))
        owners = store.rows(_OWNER, (account,))
        if not owners:
            return
        if time.monotonic() - began >= patience:
            node, host = owners[0]
            raise SessionHeld(
                f"{store.address}: node {node!s:.64} on {host!s:.64} has not given the account {account} away within "
                f"{patience:g} s, so nothing was done; see 'nodes' and the log of that node"
            )
        time.sleep(LOOK_EVERY)
