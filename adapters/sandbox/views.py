"""What a client is shown of the store: TL objects made from accounts and messages. `Any` is Telethon's."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from telethon.tl import types

from adapters.sandbox.store import SERVICE_ID, Account, Message, Store

SEQ: Final = 1
"""Never changes: updates are pushed with seq 0, which clients do not count."""
CONFIG_LIFETIME: Final = timedelta(hours=1)


def date(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def config(dc_id: int, address: tuple[str, int], now: datetime) -> Any:
    """help.getConfig: one data centre, and limits that only the clients of people care about."""
    host, port = address
    limits = {
        "chat_size_max": 200,
        "megagroup_size_max": 200000,
        "forwarded_count_max": 100,
        "online_update_period_ms": 210000,
        "offline_blur_timeout_ms": 5000,
        "offline_idle_timeout_ms": 30000,
        "online_cloud_timeout_ms": 300000,
        "notify_cloud_delay_ms": 30000,
        "notify_default_delay_ms": 1500,
        "push_chat_period_ms": 60000,
        "push_chat_limit": 2,
        "edit_time_limit": 172800,
        "revoke_time_limit": 2147483647,
        "revoke_pm_time_limit": 2147483647,
        "rating_e_decay": 2419200,
        "stickers_recent_limit": 200,
        "channels_read_media_period": 604800,
        "call_receive_timeout_ms": 20000,
        "call_ring_timeout_ms": 90000,
        "call_connect_timeout_ms": 30000,
        "call_packet_timeout_ms": 10000,
        "caption_length_max": 1024,
        "message_length_max": 4096,
        "webfile_dc_id": dc_id,
    }
    option = types.DcOption(dc_id, host, port, ipv6=":" in host, static=True, this_port_only=True)
    return types.Config(
        date=now,
        expires=now + CONFIG_LIFETIME,
        test_mode=True,
        this_dc=dc_id,
        dc_options=[option],
        dc_txt_domain_name="",
        me_url_prefix="https://t.me/",
        **limits,
    )


def user(account: Account, viewer: int) -> Any:
    """An account as another one (or itself) sees it."""
    service = account.id == SERVICE_ID
    return types.User(
        account.id,
        is_self=account.id == viewer,
        verified=service,
        support=service,
        access_hash=account.access_hash_for(viewer),
        first_name="Sandbox" if service else f"User {account.phone}",
        username=account.username,
        phone=account.phone,
        status=types.UserStatusRecently(),
    )


def full_user(account: Account) -> Any:
    return types.UserFull(account.id, types.PeerSettings(), types.PeerNotifySettings(), 0)


def users_of(store: Store, messages: list[Message], viewer: int) -> list[Any]:
    """Everybody whom the messages name, each once."""
    ids = dict.fromkeys(id_ for message in messages for id_ in (message.peer, message.sender))
    accounts = (store.account_by_id(id_) for id_ in ids)
    return [user(account, viewer) for account in accounts if account is not None]


def message(item: Message) -> Any:
    sender = types.PeerUser(item.sender) if item.out else None
    peer = types.PeerUser(item.peer)
    return types.Message(item.id, peer, date(item.date), item.text, out=item.out, from_id=sender)


def new_message(item: Message, users: list[Any]) -> Any:
    """The update that pushes a message to its account."""
    return types.Updates([types.UpdateNewMessage(message(item), item.pts, 1)], users, [], date(item.date), 0)


def state(pts: int, now: datetime) -> Any:
    return types.updates.State(pts, 0, now, SEQ, 0)


def dialog(top: Message, read_up_to: int, unread: int) -> Any:
    peer = types.PeerUser(top.peer)
    return types.Dialog(peer, top.id, read_up_to, top.id, unread, 0, 0, 0, types.PeerNotifySettings())
