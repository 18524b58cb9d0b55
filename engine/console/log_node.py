"""The events of the logger ``holdfast.node`` and their lines: the lease of this node, and which accounts it has."""

from functools import partial
from typing import Final

from engine.console.format import seconds
from engine.console.log_event import Fields, LogEvent
from engine.console.safe_text import one_line

LOGGER: Final = "holdfast.node"

_LIFE: Final = {"life": "the number of the node's life in the store"}
_DETAIL: Final = {"detail": "what happened, in a sentence"}
_COUNTS: Final = {"count": "how many accounts", "accounts": "how many the node has now"}

_node = partial(LogEvent, LOGGER)


def _and_more(of: Fields) -> str:
    more = of["count"] - 1
    return f"; so it is with {more:,} more" if more else ""


def _silence(of: Fields) -> str:
    if of["left"] is None:
        return f"{of['detail']}. It is tried again, more rarely the longer that lasts, every 12 s at least"
    return f"{of['detail']}; in {seconds(of['left'])} this node closes its connections. It is tried again every second"


def _lost(of: Fields) -> str:
    whose = "1 account" if of["accounts"] == 1 else f"{of['accounts']:,} accounts"
    what = f"This node has lost its lease, and closes the connections of {whose} at once"
    on = "it goes on in this process when it has another one"
    if (detail := of.get("detail")) is not None:
        return f"{what}, for {detail}; {on}"
    return f"{what}; {on}. See that the store answers, and that this machine is not overloaded"


NODE: Final = (
    _node(
        "node_life_begun",
        "info",
        "✅",
        "This node has a lease, and may take accounts",
        "the store has begun a life of this node",
        _LIFE,
    ),
    _node(
        "node_life_over",
        "error",
        "❌",
        _lost,
        "the lease was not confirmed in time, or another node has declared this one dead",
        {
            **_LIFE,
            "accounts": "how many accounts the node had",
            "detail": "why the store gives no answer; null if it has answered that the life is over, or was not asked",
        },
    ),
    _node(
        "node_life_waits",
        "warning",
        "⚠️",
        lambda of: (
            f"This node has a lease again, and begins no accounts yet: {of['detail']}. It tries again in "
            f"{seconds(of['delay'])}"
        ),
        "what the new life writes cannot be opened",
        {**_DETAIL, "delay": "the seconds until the next try", **_LIFE},
    ),
    _node(
        "node_goes_on",
        "info",
        "✅",
        "This node goes on under its new lease, in the same process",
        "a lease was lost, its connections were closed, and the store has begun another life of this node",
        _LIFE,
    ),
    _node(
        "node_rows_lost",
        "warning",
        "⚠️",
        "The store has not taken {rows} groups of rows of jobs, ledger and incidents before this node's lease or the "
        "engine ended; jobs go on from their last checkpoint",
        "rows of a life that is over are refused, because another node may have the accounts",
        {"rows": "how many groups of rows, each written together"},
    ),
    _node(
        "node_records_dropped",
        "warning",
        "⚠️",
        "{rows} rows of the journal were not stored, for the accounts were dropped and may be another node's",
        "rows of accounts waited to be stored when the store did not confirm any more that they are this node's",
        {"rows": "how many rows"},
    ),
    _node(
        "node_accounts_dropped",
        "error",
        "❌",
        "The store does not say any more that {count} accounts are this node's: their connections are closed at once",
        "the store does not confirm accounts: a server that took over has forgotten who has them",
        {"count": "how many accounts", **_LIFE},
    ),
    _node(
        "node_without_deadline",
        "error",
        "❌",
        "This node may not connect accounts, for nothing would end it at a deadline: {detail}",
        "the timer that ends the process at the end of its lease cannot be set",
        {**_DETAIL, **_LIFE},
    ),
    _node(
        "node_declared_dead",
        "warning",
        "⚠️",
        lambda of: (
            f"Another node was silent for {seconds(of['lease'])} and is taken for dead; its accounts go on elsewhere"
        ),
        "this node has ended the life of another one",
        {"life": "the number of that life in the store", "lease": "the length of the lease, in seconds"},
    ),
    _node(
        "node_name_taken",
        "warning",
        "⚠️",
        lambda of: f"{of['detail']}. If it is silent for {seconds(of['lease'])}, this node takes its place",
        "the store has a living node with this name, which may be what is left of a process of before",
        {**_DETAIL, "lease": "the length of the lease, in seconds"},
    ),
    _node(
        "node_store_silent",
        "warning",
        "⚠️",
        _silence,
        "the store does not answer; told once for each cause, at most four, until it does",
        {**_DETAIL, "left": "the seconds until the connections are closed; null without a lease"},
    ),
    _node(
        "node_store_answers",
        "info",
        "✅",
        "The store answers again, and this node's lease goes on",
        "what `node_store_silent` told is over, and no connection was closed",
        _LIFE,
    ),
    _node(
        "node_assignment_waits",
        "info",
        "🔍",
        "No account is taken or given away for now: {detail}",
        "the store does not answer when accounts are to be taken or given away; tried again after the next beat",
        _DETAIL,
    ),
    _node(
        "node_leases_differ",
        "warning",
        "⚠️",
        "{nodes} other nodes have another `node.lease` than {lease:g} s; this node waits to see whether they live, for "
        "all nodes need the same",
        "`node.lease` was changed, and nodes with the former one may live",
        {"nodes": "how many nodes have another lease", "lease": "the lease of this config, in seconds"},
    ),
    _node(
        "node_accounts_differ",
        "warning",
        "⚠️",
        "The accounts of this config are not those of the database; this node waits to see whether the {nodes} other "
        "nodes live, which need the same accounts",
        "the config has other accounts, or other `hosts`, than the database, and other nodes may live",
        {"nodes": "how many other nodes the store has"},
    ),
    _node(
        "node_sessions_away",
        "warning",
        "⚠️",
        lambda of: (
            f"{of['count']} of {of['accounts']} accounts run at no node, for their sessions were taken out of the "
            f"database: that of {one_line(of['account'])} to {one_line(of['place'])}. Bring them back with "
            "'session bring', or use the config of those files"
        ),
        "a node starts, and sessions of its accounts were taken away (session take, storage copy)",
        {
            "count": "how many accounts",
            "accounts": "how many the config has",
            "account": "the first of them",
            "place": "where its session is",
        },
    ),
    _node(
        "node_configs_older",
        "warning",
        "⚠️",
        lambda of: (
            f"The configs of other nodes are older ({one_line(of['names'])}): accounts that were added "
            "begin when these have read theirs again, with 'reload'; those that were removed run nowhere"
        ),
        "a reload has changed the accounts of all nodes, and some have not read their configs again",
        {"names": "the names of these nodes", "count": "how many"},
    ),
    _node(
        "node_config_older",
        "warning",
        "⚠️",
        "The accounts of this config are not those that a reload at another node has applied last, and it goes on with "
        "those; give this node the same config, and reload it again",
        "a reload has found the accounts of the config unchanged, and those of all nodes are others by now",
    ),
    _node(
        "node_accounts_renamed",
        "warning",
        "⚠️",
        lambda of: (
            f"{of['account']} has no session in the database, and {of['former']}, which the config does not have any "
            "more, has one. With nodes another name is another account: change it back, or 'session take' the login "
            f"under the former name and 'session bring' it under the new one{_and_more(of)}"
        ),
        "at a start, accounts are new that have no session, and others are gone that have one",
        {
            "account": "the first of the new names",
            "former": "the first of those that are gone",
            "count": "how many are new",
        },
    ),
    _node(
        "node_account_unknown",
        "error",
        "❌",
        "The database has given {account} to this node, whose config does not have it: nobody runs it. Give all nodes "
        "the same accounts, and start this one again",
        "an account was claimed that the config of this node lacks",
        {"account": "the account's name"},
    ),
    _node(
        "node_accounts_wait",
        "warning",
        "⚠️",
        "Accounts wait to be started: {count}, for it cannot be read where they were left: {detail}",
        "the journal of accounts that were claimed cannot be read; tried again every second",
        {"count": "how many accounts", **_DETAIL},
    ),
    _node(
        "node_accounts_claimed",
        "info",
        "🔍",
        "This node has taken accounts: {count}; it has {accounts} now",
        "free accounts were taken",
        _COUNTS,
    ),
    _node(
        "node_accounts_given_up",
        "info",
        "🔍",
        "This node has given accounts away: {count}; it has {accounts} now",
        "accounts were given away: a move, a drain, or a better balance",
        _COUNTS,
    ),
    _node(
        "node_draining",
        "warning",
        "⚠️",
        "This node was asked to drain: it gives its {accounts} accounts away, and takes none until 'node resume'",
        "somebody asked for it with `node drain`; it holds over a restart, but not of a worker that shares a file",
        {"accounts": "how many accounts it has"},
    ),
    _node(
        "node_drained",
        "info",
        "✅",
        "This node is drained: it has no accounts, goes on, and takes none until 'node resume'",
        "what `node_draining` told is done",
        {},
    ),
    _node(
        "node_resumed",
        "info",
        "✅",
        "This node takes accounts again",
        "somebody took the drain back with `node resume`",
        {},
    ),
)
"""Every event of this logger."""
