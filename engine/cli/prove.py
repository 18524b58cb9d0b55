"""``prove``: what the ledger says of a chat, with the engine running or not."""

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

from engine.app.stored_ledger import KnownChats, open_ledger
from engine.cli.common import (
    DEFAULT_CONFIG,
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    AsJson,
    ConfigPath,
    fail,
    have_engine_look,
    is_older,
    reporting_errors,
)
from engine.cli.declared import Parameter
from engine.cli.times import parse_period
from engine.config import UnknownAccount, load
from engine.console.hole_lines import CHANNELS
from engine.console.prove_lines import ChatProof, as_data, is_complete, lines
from engine.console.safe_text import json_text, one_line
from states.completeness import assess

if TYPE_CHECKING:
    from engine.config import AccountConfig, Config

_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")


def prove(
    config: ConfigPath = DEFAULT_CONFIG,
    *,
    chat: Annotated[
        str,
        Parameter(
            help="The chat: its @name, or its id as jobs print it (-100… is a channel).", allow_leading_hyphen=True
        ),
    ],
    account: Annotated[str | None, Parameter(help="As this account has seen it; left out, as any has.")] = None,
    since: Annotated[
        str | None, Parameter(help="From then on: 7d (ago), 10:05, 2026-11-28 or 2026-11-28T20:43 (local time).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say from when to when nothing of a chat was missed, or what was, why, and the command that reads it.

    Exit code 0 if it is complete, 1 if something is missing or nothing is known, 2 if the chat or the account is wrong.
    """
    begin = parse_period(since, None).since if since is not None else None
    with reporting_errors():
        settings = load(config)
        have_engine_look(settings.storage.directory)
        accounts = _accounts(settings, account)
        with open_ledger(settings.storage) as (reader, chats):
            users = reader.users()
            known = {each.name: users.get(each.name) or chats.user_of(each) for each in accounts}
            number = _chat_of(chat, accounts, chats)
            box = -number - CHANNELS if number < -CHANNELS else 0
            if not box:
                accounts = _only_one(accounts, number, chat, chats)
            wanted = [user for each in accounts if (user := known[each.name]) is not None]
            rows = reader.rows(box, wanted if account is not None or not box else None)
            fills = reader.fills(number, 0 if box else next(iter(wanted), 0))
        seen = {row.user for row in rows}
        proof = ChatProof(
            chat=number, shown=chat, box=box, config=config, proven=assess(rows, fills, begin),
            accounts=[each.name for each in accounts if known[each.name] in seen or len(accounts) == 1],
        )  # fmt: skip
        if as_json:
            print(json_text(as_data(proof)))
        else:
            print("\n".join(map(one_line, lines(proof, time.time()))))
        raise SystemExit(0 if is_complete(proof) and not is_older() else EXIT_FAILED)


def _accounts(settings: "Config", name: str | None) -> "Sequence[AccountConfig]":
    if name is None:
        return settings.accounts
    try:
        return [settings.account(name)]
    except UnknownAccount as exc:
        fail(EXIT_BAD_INPUT, str(exc))


def _chat_of(chat: str, accounts: "Sequence[AccountConfig]", chats: KnownChats) -> int:
    """Return the marked id of a chat; exit if no session knows its name."""
    if _NUMBER.fullmatch(chat) and int(chat):
        return int(chat)
    if chat.startswith("@") and len(chat) > 1:
        for each in accounts:
            if (found := chats.chat_named(each, chat)) is not None:
                return found
    fail(
        EXIT_BAD_INPUT,
        f"{chat}: no session file knows a chat of that name; give its @name as an account has met it, or its id",
    )


def _only_one(
    accounts: "Sequence[AccountConfig]", number: int, chat: str, chats: KnownChats
) -> "Sequence[AccountConfig]":
    """Return the account whose private chat it is; exit if it may be that of several."""
    if len(accounts) > 1:
        accounts = [each for each in accounts if chats.knows_chat(each, number)] or accounts
    if len(accounts) > 1:
        names = ", ".join(each.name for each in accounts[:3])
        fail(EXIT_BAD_INPUT, f"{chat} is a chat that each account has for itself; say whose with --account ({names}…)")
    return accounts
