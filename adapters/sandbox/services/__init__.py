"""The services: which request is answered how. The table at the end lists what this datacenter can do."""

from typing import Any, Final

from telethon.tl import functions

from adapters.sandbox.errors import RpcRefusal, SandboxError
from adapters.sandbox.phones import normalise
from adapters.sandbox.services import (
    auth,
    changes,
    channels,
    dialogs,
    files,
    limits,
    messages,
    password,
    qr,
    updates,
    users,
)
from adapters.sandbox.services.context import MAX_MISSED as MAX_MISSED
from adapters.sandbox.services.context import MAX_MISSED_IN_CHANNEL as MAX_MISSED_IN_CHANNEL
from adapters.sandbox.services.context import RequestContext as RequestContext
from adapters.sandbox.services.context import Service
from adapters.sandbox.services.context import ServiceContext as ServiceContext


def perform(context: RequestContext, request: Any) -> Any:
    """Return the answer to a request. Raises RpcRefusal, which the client gets as an error."""
    service = SERVICES.get(type(request))
    if service is None:
        raise RpcRefusal(400, "METHOD_NOT_IN_SANDBOX")
    if not service.open and context.account is None:
        raise RpcRefusal(401, "AUTH_KEY_UNREGISTERED")
    if not service.bots and context.account is not None and context.account.is_bot:
        raise RpcRefusal(400, "BOT_METHOD_INVALID")
    limits.check_frozen(context, request)
    answer = service.handle(context, request)
    if context.account is not None:
        files.show_files(context.store.files, context.account.id, answer)
    return answer


def is_known(request: Any) -> bool:
    """Return whether a service exists for the request."""
    return type(request) in SERVICES


def named_number(request: Any) -> str | None:
    """Return the phone number in a login request, normalised; None if it has none that can exist."""
    phone = getattr(request, "phone_number", None)
    if not isinstance(phone, str):
        return None
    try:
        return normalise(phone)
    except SandboxError:
        return None


def asks_for_updates(request: Any) -> bool:
    """Return whether updates are pushed to the session from this request on: so does any that needs a login."""
    service = SERVICES.get(type(request))
    return service is not None and not service.open


def serves_media(method: str) -> bool:
    """Return whether the request belongs on a connection for media, or is how such a connection begins."""
    return method.startswith(("upload.", "help."))


def waits_for_login(request: Any) -> bool:
    """Return whether the client of this request is told when it can log in."""
    return isinstance(request, functions.auth.ExportLoginTokenRequest)


SERVICES: Final[dict[Any, Service]] = {
    functions.help.GetConfigRequest: Service(auth.get_config, open=True),
    functions.help.GetAppConfigRequest: Service(limits.get_app_config, open=True),
    functions.help.GetNearestDcRequest: Service(auth.get_nearest_dc, open=True),
    functions.auth.SendCodeRequest: Service(auth.send_code, open=True),
    functions.auth.SignInRequest: Service(auth.sign_in, open=True),
    functions.auth.ResendCodeRequest: Service(auth.resend_code, open=True),
    functions.auth.CancelCodeRequest: Service(auth.cancel_code, open=True),
    functions.auth.CheckPasswordRequest: Service(password.check_password, open=True),
    functions.account.GetPasswordRequest: Service(password.get_password, open=True),
    functions.account.UpdatePasswordSettingsRequest: Service(password.update_password_settings, bots=False),
    functions.auth.ImportBotAuthorizationRequest: Service(auth.import_bot_authorization, open=True),
    functions.auth.ExportLoginTokenRequest: Service(qr.export_login_token, open=True),
    functions.auth.ImportLoginTokenRequest: Service(qr.import_login_token, open=True),
    functions.auth.AcceptLoginTokenRequest: Service(qr.accept_login_token, bots=False),
    functions.auth.ExportAuthorizationRequest: Service(auth.export_authorization),
    functions.auth.ImportAuthorizationRequest: Service(auth.import_authorization, open=True),
    functions.auth.LogOutRequest: Service(auth.log_out),
    functions.account.UpdateStatusRequest: Service(auth.update_status, bots=False),
    functions.users.GetUsersRequest: Service(users.get_users),
    functions.users.GetFullUserRequest: Service(users.get_full_user),
    functions.contacts.GetContactsRequest: Service(users.get_contacts, bots=False),
    functions.contacts.ResolvePhoneRequest: Service(users.resolve_phone, bots=False),
    functions.contacts.ResolveUsernameRequest: Service(users.resolve_username),
    functions.updates.GetStateRequest: Service(updates.get_state),
    functions.updates.GetDifferenceRequest: Service(updates.get_difference),
    functions.updates.GetChannelDifferenceRequest: Service(updates.get_channel_difference),
    functions.messages.SendMessageRequest: Service(messages.send_message),
    functions.messages.EditMessageRequest: Service(changes.edit_message),
    functions.messages.DeleteMessagesRequest: Service(changes.delete_messages),
    functions.channels.DeleteMessagesRequest: Service(changes.delete_channel_messages),
    functions.messages.GetHistoryRequest: Service(messages.get_history, bots=False),
    functions.messages.SearchRequest: Service(messages.search, bots=False),
    functions.messages.GetMessagesRequest: Service(messages.get_messages),
    functions.messages.GetDialogsRequest: Service(dialogs.get_dialogs, bots=False),
    functions.messages.GetPeerDialogsRequest: Service(dialogs.get_peer_dialogs, bots=False),
    functions.messages.ReadHistoryRequest: Service(messages.read_history, bots=False),
    functions.upload.SaveFilePartRequest: Service(files.save_part),
    functions.upload.SaveBigFilePartRequest: Service(files.save_part),
    functions.upload.GetFileRequest: Service(files.get_file),
    functions.upload.GetFileHashesRequest: Service(files.get_file_hashes),
    functions.messages.SendMediaRequest: Service(files.send_media),
    functions.channels.JoinChannelRequest: Service(channels.join_channel, bots=False),
    functions.channels.LeaveChannelRequest: Service(channels.leave_channel),
    functions.channels.GetChannelsRequest: Service(channels.get_channels),
    functions.channels.GetFullChannelRequest: Service(channels.get_full_channel),
    functions.channels.GetMessagesRequest: Service(channels.get_messages),
    functions.channels.ReadHistoryRequest: Service(channels.read_history, bots=False),
    functions.channels.GetParticipantsRequest: Service(channels.get_participants),
    functions.channels.GetParticipantRequest: Service(channels.get_participant),
}
