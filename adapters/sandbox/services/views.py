"""What a client sees of the store: TL objects made from accounts, messages, channels. ``Any`` is Telethon's."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from telethon.tl import types

from adapters.sandbox.store.channels import Channel, ChannelMessage, Member
from adapters.sandbox.store.database import SERVICE_ID, PrivateMessage, SandboxStore, StoredAccount
from adapters.sandbox.store.events import ChatEvent, EventKind

SEQ: Final = 1
"""Never changes: updates are pushed with seq 0, which clients do not count."""
CONFIG_LIFETIME: Final = timedelta(hours=1)


def date(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def config(dc_id: int, addresses: dict[int, tuple[str, int]], now: datetime) -> Any:
    """Return the answer to help.getConfig: the datacenters, and limits that only interactive clients care about."""
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
    options = [
        types.DcOption(id_, host, port, ipv6=":" in host, static=True, this_port_only=True)
        for id_, (host, port) in addresses.items()
    ]
    return types.Config(
        date=now,
        expires=now + CONFIG_LIFETIME,
        test_mode=True,
        this_dc=dc_id,
        dc_options=options,
        dc_txt_domain_name="",
        me_url_prefix="https://t.me/",
        **limits,
    )


def first_name(account: StoredAccount) -> str:
    if account.is_bot:
        return f"Bot {account.id}"
    return "Sandbox" if account.id == SERVICE_ID else f"User {account.phone}"


def user(account: StoredAccount, viewer: int) -> Any:
    """Return an account as another one (or itself) sees it."""
    service = account.id == SERVICE_ID
    return types.User(
        account.id,
        is_self=account.id == viewer,
        bot=account.is_bot,
        verified=service,
        support=service,
        access_hash=account.access_hash_for(viewer),
        first_name=first_name(account),
        username=account.username,
        phone=None if account.is_bot else account.phone,
        status=None if account.is_bot else types.UserStatusRecently(),
        bot_info_version=1 if account.is_bot else None,
    )


def full_user(account: StoredAccount) -> Any:
    return types.UserFull(account.id, types.PeerSettings(), types.PeerNotifySettings(), 0)


def users_of(store: SandboxStore, messages: list[PrivateMessage], viewer: int) -> list[Any]:
    """Return every account that the messages name, once."""
    return _users(store, [id_ for message in messages for id_ in (message.peer, message.sender)], viewer)


def senders_of(store: SandboxStore, messages: list[ChannelMessage], viewer: int) -> list[Any]:
    """Return every account that wrote one of these messages of megagroups, once; a broadcast has no senders."""
    return _users(store, [message.sender for message in messages if message.sender is not None], viewer)


def _users(store: SandboxStore, ids: list[int], viewer: int) -> list[Any]:
    accounts = (store.account_by_id(id_) for id_ in dict.fromkeys(ids))
    return [user(account, viewer) for account in accounts if account is not None]


def message(item: PrivateMessage) -> Any:
    sender = types.PeerUser(item.sender) if item.out else None
    peer = types.PeerUser(item.peer)
    return types.Message(
        item.id,
        peer,
        date(item.date),
        item.text,
        out=item.out,
        from_id=sender,
        reply_to=_reply(item.reply_to),
        edit_date=date(item.edited) if item.edited else None,
    )


def new_message(item: PrivateMessage, users: list[Any]) -> Any:
    """Return the update that pushes a message to its account."""
    return types.Updates([types.UpdateNewMessage(message(item), item.pts, 1)], users, [], date(item.date), 0)


def state(pts: int, now: datetime) -> Any:
    return types.updates.State(pts, 0, now, SEQ, 0)


def dialog(top: PrivateMessage, read_up_to: int, unread: int) -> Any:
    peer = types.PeerUser(top.peer)
    return types.Dialog(peer, top.id, read_up_to, top.id, unread, 0, 0, 0, types.PeerNotifySettings())


def channel(store: SandboxStore, item: Channel, viewer: int) -> Any:
    """Return a channel or a group as a member or another account sees it."""
    member = store.channels.member(item, viewer)
    return types.Channel(
        item.id,
        item.title,
        types.ChatPhotoEmpty(),
        date(member.date if member else item.date),
        left=member is None,
        broadcast=not item.megagroup,
        megagroup=item.megagroup,
        access_hash=item.access_hash_for(viewer),
        username=item.username,
        admin_rights=_rights() if member and member.admin else None,
        participants_count=store.channels.count_members(item),
    )


def full_channel(store: SandboxStore, item: Channel, viewer: int) -> Any:
    member = store.channels.member(item, viewer)
    members = store.channels.members(item.id)
    return types.ChannelFull(
        item.id,
        about="",
        read_inbox_max_id=member.read_up_to if member else item.last_message,
        read_outbox_max_id=item.last_message,
        unread_count=store.channels.unread(member) if member else 0,
        chat_photo=types.PhotoEmpty(0),
        notify_settings=types.PeerNotifySettings(),
        bot_info=[],
        pts=item.pts,
        can_view_participants=item.megagroup or bool(member and member.admin),
        participants_count=len(members),
        admins_count=sum(one.admin for one in members),
    )


def participant(member: Member, viewer: int) -> Any:
    joined = date(member.date)
    if member.admin:
        is_self = member.account == viewer
        return types.ChannelParticipantAdmin(member.account, SERVICE_ID, joined, _rights(), is_self=is_self)
    if member.account == viewer:
        return types.ChannelParticipantSelf(member.account, member.account, joined)
    return types.ChannelParticipant(member.account, joined)


def _rights() -> Any:
    return types.ChatAdminRights(post_messages=True, invite_users=True, other=True)


def channel_message(item: ChannelMessage, where: Channel, viewer: int) -> Any:
    """Return a message: in a broadcast from the channel, in a megagroup from its author or the group itself."""
    peer = types.PeerChannel(item.channel)
    sender = None
    if where.megagroup:
        sender = peer if item.sender is None else types.PeerUser(item.sender)
    return types.Message(
        item.id,
        peer,
        date(item.date),
        item.text,
        out=item.sender == viewer,
        post=not where.megagroup,
        from_id=sender,
        reply_to=_reply(item.reply_to),
        edit_date=date(item.edited) if item.edited else None,
    )


def _reply(to: int | None) -> Any:
    return types.MessageReplyHeader(reply_to_msg_id=to) if to else None


def channel_messages(
    store: SandboxStore, where: Channel, viewer: int, found: Sequence[tuple[int, ChannelMessage | None]], count: int
) -> Any:
    """Return an answer that holds messages of one channel, each with its id; a missing one is an empty message."""
    present = [item for _, item in found if item]
    messages = [
        channel_message(item, where, viewer) if item else types.MessageEmpty(id_, types.PeerChannel(where.id))
        for id_, item in found
    ]
    chats, users = [channel(store, where, viewer)], senders_of(store, present, viewer)
    return types.messages.ChannelMessages(where.pts, count, messages, [], chats, users)


def new_channel_message(store: SandboxStore, item: ChannelMessage, where: Channel, viewer: int) -> Any:
    """Return the update that pushes a message to a member."""
    update = types.UpdateNewChannelMessage(channel_message(item, where, viewer), item.pts, 1)
    chats = [channel(store, where, viewer)]
    return types.Updates([update], senders_of(store, [item], viewer), chats, date(item.date), 0)


def account_update(store: SandboxStore, event: ChatEvent) -> Any:
    """Return the update that tells an account of an edit or a deletion; None for an edit of what is deleted by now."""
    if event.kind is EventKind.DELETE:
        return types.UpdateDeleteMessages(list(event.ids), event.pts, event.pts_count)
    item = store.message(event.box, event.ids[0])
    return types.UpdateEditMessage(message(item), event.pts, event.pts_count) if item else None


def account_event(store: SandboxStore, event: ChatEvent) -> Any:
    """Return what pushes an edit or a deletion to its account."""
    item = store.message(event.box, event.ids[0]) if event.kind is EventKind.EDIT else None
    users = users_of(store, [item] if item else [], event.box)
    return types.Updates([account_update(store, event)], users, [], date(event.date), 0)


def channel_update(store: SandboxStore, event: ChatEvent, where: Channel, viewer: int) -> Any:
    """Return the update that tells a member of an edit or a deletion; None for an edit of what is deleted by now."""
    if event.kind is EventKind.DELETE:
        return types.UpdateDeleteChannelMessages(where.id, list(event.ids), event.pts, event.pts_count)
    item = store.channels.message(where, event.ids[0])
    if item is None:
        return None
    return types.UpdateEditChannelMessage(channel_message(item, where, viewer), event.pts, event.pts_count)


def channel_event(store: SandboxStore, event: ChatEvent, where: Channel, viewer: int) -> Any:
    """Return what pushes an edit or a deletion to a member."""
    item = store.channels.message(where, event.ids[0]) if event.kind is EventKind.EDIT else None
    users, chats = senders_of(store, [item] if item else [], viewer), [channel(store, where, viewer)]
    return types.Updates([channel_update(store, event, where, viewer)], users, chats, date(event.date), 0)


def channel_dialog(item: Channel, member: Member, unread: int) -> Any:
    peer, top = types.PeerChannel(item.id), item.last_message
    return types.Dialog(peer, top, member.read_up_to, top, unread, 0, 0, 0, types.PeerNotifySettings(), pts=item.pts)
