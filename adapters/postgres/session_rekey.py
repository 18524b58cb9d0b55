"""Encrypts the sessions of a store anew with the first session key, beside nodes that run."""

from typing import Final

from adapters.postgres.address import StoreAddress
from adapters.postgres.blocking import BlockingStore, blocking_store
from adapters.postgres.session_keys import KEY, TEMPORARY_KEY, USED, SessionKeys

_GROUP: Final = 200
"""Rows of one transaction."""
_OTHERS: Final = """SELECT s.account, a.name, s.key_id, s.key, s.temporary_key
    FROM sessions s JOIN accounts a ON a.id = s.account
    WHERE s.account > %s AND s.key_id <> %s AND (s.key <> '' OR s.temporary_key <> '')
    ORDER BY s.account LIMIT %s FOR UPDATE OF s"""
"""What a node that writes meanwhile has written is read, or waited for."""
_WRITE: Final = "UPDATE sessions SET key = %s, temporary_key = %s, key_id = %s WHERE account = %s"
_REPLACED: Final = """SELECT id, account, key_id, key FROM replaced_logins WHERE key_id <> %s AND key <> ''
    ORDER BY id FOR UPDATE"""
_WRITE_REPLACED: Final = "UPDATE replaced_logins SET key = %s, key_id = %s WHERE id = %s"


def rekey(address: StoreAddress, keys: SessionKeys) -> int:
    """Encrypt all sessions that are not encrypted with the first key; return how many those were. Blocks.

    Each is decrypted before it is written, and a group is one transaction, so that no login is ever lost. All nodes
    have to know the key before. Raises ``StoreError`` if a session key is missing, before anything is written, and
    ``SessionKeyUnusable`` for a row that is damaged.
    """
    done, after = 0, -(2**63)
    with blocking_store(address, application="holdfast session rekey") as store:
        keys.check(address, dict(store.rows(USED)))
        while True:
            with store.transaction():
                rows = store.rows(_OTHERS, (after, keys.first, _GROUP))
                for account, name, key_id, *stored in rows:
                    where = f"{address} ({name})"
                    sealed = [
                        keys.sealed(account, column, keys.opened(account, column, key_id, bytes(value), where))
                        for column, value in zip((KEY, TEMPORARY_KEY), stored, strict=True)
                    ]
                    store.rows(_WRITE, (*sealed, keys.first, account))
            if not rows:
                return done + _rekey_replaced(store, keys)
            done, after = done + len(rows), rows[-1][0]


def _rekey_replaced(store: BlockingStore, keys: SessionKeys) -> int:
    """Do the same with logins that were taken out and replaced: few, and nobody else writes them."""
    with store.transaction():
        rows = store.rows(_REPLACED, (keys.first,))
        for number, account, key_id, key in rows:
            plain = keys.opened(account, KEY, key_id, bytes(key), f"{store.address} (replaced login {number})")
            store.rows(_WRITE_REPLACED, (keys.sealed(account, KEY, plain), keys.first, number))
    return len(rows)
