"""The services: which request is answered how. The table at the end is the list of what this data centre can do."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Any, Final

import attrs
from telethon.tl import functions, types

from adapters.sandbox import views
from adapters.sandbox.cipher import AuthKey
from adapters.sandbox.errors import RpcRefusal, SandboxError
from adapters.sandbox.phones import CODE_LENGTH, login_code
from adapters.sandbox.store import Account, Message, Store

CODE_LIFETIME_SECONDS: Final = 300.0
LONGEST_TEXT: Final = 4096
SLICE: Final = 100
"""The most messages in one answer."""
MOST_DIALOGS: Final = 100
MOST_USERS: Final = 200


@attrs.define
class Office:
    """What all requests share."""

    store: Store
    dc_id: int
    clock: Callable[[], float]
    address: Callable[[], tuple[str, int]]
    """Where this data centre can be reached, for help.getConfig."""
    codes: dict[str, tuple[str, float]] = attrs.field(factory=dict)
    """Per phone number the hash of the code that was sent last, and until when it holds."""


@attrs.define
class Call:
    """One request, by whom, and what is to be pushed to others because of it."""

    office: Office
    key: AuthKey
    account: Account | None
    deliveries: list[Message] = attrs.field(factory=list)

    @property
    def me(self) -> Account:
        """The account that is logged in. Raises RpcRefusal when none is."""
        if self.account is None:
            raise RpcRefusal(401, "AUTH_KEY_UNREGISTERED")
        return self.account

    @property
    def store(self) -> Store:
        return self.office.store

    def now(self) -> datetime:
        return datetime.fromtimestamp(int(self.office.clock()), UTC)


Handler = Callable[[Call, Any], Any]


@attrs.frozen
class Service:
    """A handler, and whether it answers clients that are not logged in."""

    handle: Handler
    open: bool = False


def perform(call: Call, request: Any) -> Any:
    """The answer to a request. Raises RpcRefusal, the answer that says no."""
    service = SERVICES.get(type(request))
    if service is None:
        raise RpcRefusal(400, "METHOD_NOT_IN_SANDBOX")
    if not service.open and call.account is None:
        raise RpcRefusal(401, "AUTH_KEY_UNREGISTERED")
    return service.handle(call, request)


def is_known(request: Any) -> bool:
    """Whether there is a service for it."""
    return type(request) in SERVICES


def asks_for_updates(request: Any) -> bool:
    """Whether the request makes its session one that updates are pushed to: any that needs a login."""
    service = SERVICES.get(type(request))
    return service is not None and not service.open


# help


def get_config(call: Call, _: Any) -> Any:
    return views.config(call.office.dc_id, call.office.address(), call.now())


def get_nearest_dc(call: Call, _: Any) -> Any:
    return types.NearestDc("ZZ", call.office.dc_id, call.office.dc_id)


# auth


def send_code(call: Call, request: Any) -> Any:
    try:
        account = call.store.account(request.phone_number)
    except SandboxError as error:
        raise RpcRefusal(400, "PHONE_NUMBER_INVALID") from error
    code_hash = secrets.token_hex(9)
    call.office.codes[account.phone] = (code_hash, call.office.clock() + CODE_LIFETIME_SECONDS)
    return types.auth.SentCode(types.auth.SentCodeTypeApp(CODE_LENGTH), code_hash)


def sign_in(call: Call, request: Any) -> Any:
    if not request.phone_code:
        raise RpcRefusal(400, "PHONE_CODE_EMPTY")
    if not request.phone_code_hash:
        raise RpcRefusal(400, "PHONE_CODE_HASH_EMPTY")
    try:
        account = call.store.account(request.phone_number)
    except SandboxError as error:
        raise RpcRefusal(400, "PHONE_NUMBER_INVALID") from error
    code_hash, until = call.office.codes.get(account.phone, ("", 0.0))
    if not compare_digest(code_hash, request.phone_code_hash) or call.office.clock() > until:
        raise RpcRefusal(400, "PHONE_CODE_EXPIRED")
    if request.phone_code != login_code(account.phone):
        raise RpcRefusal(400, "PHONE_CODE_INVALID")
    del call.office.codes[account.phone]
    call.store.log_in(call.key, account.id)
    call.account = account
    return types.auth.Authorization(views.user(account, account.id))


def log_out(call: Call, _: Any) -> Any:
    call.store.log_in(call.key, None)
    call.account = None
    return types.auth.LoggedOut()


# users and contacts


def get_users(call: Call, request: Any) -> Any:
    return [views.user(_user(call, item), call.me.id) for item in request.id[:MOST_USERS]]


def get_full_user(call: Call, request: Any) -> Any:
    account = _user(call, request.id)
    return types.users.UserFull(views.full_user(account), [], [views.user(account, call.me.id)])


def get_contacts(call: Call, _: Any) -> Any:
    others = [a for a in call.store.accounts() if a.id != call.me.id][:MOST_USERS]
    contacts = [types.Contact(account.id, mutual=True) for account in others]
    return types.contacts.Contacts(contacts, 0, [views.user(account, call.me.id) for account in others])


def resolve_phone(call: Call, request: Any) -> Any:
    digits = request.phone.lstrip("+")
    return _resolved(call, [a for a in call.store.accounts() if a.phone == digits], "PHONE_NOT_OCCUPIED")


def resolve_username(call: Call, request: Any) -> Any:
    name = request.username.lower()
    return _resolved(call, [a for a in call.store.accounts() if a.username == name], "USERNAME_NOT_OCCUPIED")


def _resolved(call: Call, found: list[Account], refusal: str) -> Any:
    if not found:
        raise RpcRefusal(400, refusal)
    user = views.user(found[0], call.me.id)
    return types.contacts.ResolvedPeer(types.PeerUser(user.id), [], [user])


# updates


def get_state(call: Call, _: Any) -> Any:
    return views.state(call.store.pts(call.me.id), call.now())


def get_difference(call: Call, request: Any) -> Any:
    """What the client missed. One that is ahead (it knew a data centre that lost its memory) is told our number:
    answering 'nothing new' would make it ignore every message until we catch up.
    """
    me = call.me.id
    pts = call.store.pts(me)
    if request.pts > pts:
        return types.updates.DifferenceTooLong(pts)
    limit = min(SLICE, request.pts_total_limit or SLICE, request.pts_limit or SLICE)
    missed = call.store.messages_since(me, max(request.pts, 0), max(limit, 1))
    if not missed:
        return types.updates.DifferenceEmpty(call.now(), views.SEQ)
    users = views.users_of(call.store, missed, me)
    messages = [views.message(m) for m in missed]
    state = views.state(missed[-1].pts, call.now())
    kind = types.updates.Difference if state.pts == pts else types.updates.DifferenceSlice
    return kind(messages, [], [], [], users, state)


def update_status(_: Call, __: Any) -> Any:
    return True


# messages


def send_message(call: Call, request: Any) -> Any:
    peer = _peer(call, request.peer)
    if not request.message.strip():
        raise RpcRefusal(400, "MESSAGE_EMPTY")
    if len(request.message) > LONGEST_TEXT:
        raise RpcRefusal(400, "MESSAGE_TOO_LONG")
    if not request.random_id:
        raise RpcRefusal(400, "RANDOM_ID_EMPTY")
    sent = call.store.send(call.me.id, peer.id, request.message, request.random_id)
    call.deliveries += [copy for copy in (sent.mine, sent.theirs) if copy is not None]
    mine = sent.mine
    return types.UpdateShortSentMessage(mine.id, mine.pts, 1, views.date(mine.date), out=True)


def get_history(call: Call, request: Any) -> Any:
    chat = call.store.history(call.me.id, _peer(call, request.peer).id)
    first = next((i for i, m in enumerate(chat) if m.id < request.offset_id), len(chat)) if request.offset_id else 0
    start = max(first + request.add_offset, 0)
    limit = min(request.limit, SLICE) if request.limit > 0 else SLICE
    page = [
        m
        for m in chat[start : max(first + request.add_offset + limit, 0)]
        if m.id > request.min_id and (not request.max_id or m.id < request.max_id)
    ]
    messages = [views.message(m) for m in page]
    users = views.users_of(call.store, page, call.me.id)
    if len(page) == len(chat):
        return types.messages.Messages(messages, [], [], users)
    return types.messages.MessagesSlice(len(chat), messages, [], [], users)


def get_dialogs(call: Call, _: Any) -> Any:
    me = call.me.id
    tops = call.store.tops(me, MOST_DIALOGS)
    dialogs = [views.dialog(top, call.store.read_up_to(me, top.peer), call.store.unread(me, top.peer)) for top in tops]
    users = views.users_of(call.store, tops, me)
    return types.messages.Dialogs(dialogs, [views.message(top) for top in tops], [], users)


def read_history(call: Call, request: Any) -> Any:
    peer = _peer(call, request.peer)
    chat = call.store.history(call.me.id, peer.id)
    newest = chat[0].id if chat else 0
    call.store.mark_read(call.me.id, peer.id, min(request.max_id, newest) if request.max_id else newest)
    return types.messages.AffectedMessages(call.store.pts(call.me.id), 0)


def _user(call: Call, user: Any) -> Account:
    """The account behind an InputUser. Raises RpcRefusal."""
    return _named(call, user, types.InputUserSelf, types.InputUser, "USER_ID_INVALID")


def _peer(call: Call, peer: Any) -> Account:
    """The account behind an InputPeer. Raises RpcRefusal."""
    return _named(call, peer, types.InputPeerSelf, types.InputPeerUser, "PEER_ID_INVALID")


def _named(call: Call, name: Any, self_kind: Any, user_kind: Any, refusal: str) -> Account:
    me = call.me
    if isinstance(name, self_kind):
        return me
    if isinstance(name, user_kind):
        account = call.store.account_by_id(name.user_id)
        if account is not None and account.access_hash_for(me.id) == name.access_hash:
            return account
    raise RpcRefusal(400, refusal)


SERVICES: Final[dict[Any, Service]] = {
    functions.help.GetConfigRequest: Service(get_config, open=True),
    functions.help.GetNearestDcRequest: Service(get_nearest_dc, open=True),
    functions.auth.SendCodeRequest: Service(send_code, open=True),
    functions.auth.SignInRequest: Service(sign_in, open=True),
    functions.auth.LogOutRequest: Service(log_out),
    functions.account.UpdateStatusRequest: Service(update_status),
    functions.users.GetUsersRequest: Service(get_users),
    functions.users.GetFullUserRequest: Service(get_full_user),
    functions.contacts.GetContactsRequest: Service(get_contacts),
    functions.contacts.ResolvePhoneRequest: Service(resolve_phone),
    functions.contacts.ResolveUsernameRequest: Service(resolve_username),
    functions.updates.GetStateRequest: Service(get_state),
    functions.updates.GetDifferenceRequest: Service(get_difference),
    functions.messages.SendMessageRequest: Service(send_message),
    functions.messages.GetHistoryRequest: Service(get_history),
    functions.messages.GetDialogsRequest: Service(get_dialogs),
    functions.messages.ReadHistoryRequest: Service(read_history),
}
