"""upload and media: files that clients send in parts, files in messages, and how these are read.

As in Telegram, a file is in one datacenter, and every other one names that one; its parts are read in steps; and a file
of a message is read with the reference in that message, which expires. Source: https://core.telegram.org/api/files,
https://core.telegram.org/api/file_reference
"""

from functools import partial
from hashlib import md5, sha256
from typing import Any, Final

from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services import peers, views
from adapters.sandbox.services.context import RequestContext
from adapters.sandbox.store.channels import Channel
from adapters.sandbox.store.files import MAX_EPOCHS, SMALL_PHOTO, FileStore, StoredFile

PART_UNIT: Final = 1024
MAX_PART: Final = 512 * PART_UNIT
MAX_PARTS: Final = 4000
"""Of an account without premium."""
MAX_SMALL_FILE: Final = 10 * 1024 * 1024
"""Bytes above which a file is sent with ``saveBigFilePart``."""
READ_UNIT: Final = 4096
MEGABYTE: Final = 1024 * 1024
HASHED: Final = 128 * 1024
"""Bytes of which each hash of a file is."""
MAX_HASHES: Final = 8
"""Hashes in one answer."""
MAX_CAPTION: Final = 1024


def save_part(context: RequestContext, request: Any) -> Any:
    """Take a part of a small or a big file."""
    if not 0 < len(request.bytes) <= MAX_PART:
        raise RpcRefusal(400, "FILE_PART_SIZE_INVALID")
    if not 0 <= request.file_part < MAX_PARTS:
        raise RpcRefusal(400, "FILE_PART_INVALID")
    context.store.files.add_part(context.me.id, request.file_id, request.file_part, request.bytes)
    return True


def get_file(context: RequestContext, request: Any) -> Any:
    """Return a part of a file."""
    found = _located(context, request.location)
    _check_range(request.offset, request.limit, READ_UNIT if not request.precise else PART_UNIT)
    limit = request.limit
    if getattr(request.location, "thumb_size", "") == "m":
        limit = max(0, min(limit, SMALL_PHOTO - request.offset))
    part = context.store.files.read(found, request.offset, limit)
    return types.upload.File(types.storage.FileUnknown(), int(context.shared.clock()), part)


def get_file_hashes(context: RequestContext, request: Any) -> Any:
    """Return the SHA-256 of a few pieces of a file, from an offset on."""
    found, files = _located(context, request.location), context.store.files
    if request.offset < 0 or request.offset % HASHED:
        raise RpcRefusal(400, "OFFSET_INVALID")
    starts = range(request.offset, found.size, HASHED)[:MAX_HASHES]
    pieces = [(start, files.read(found, start, HASHED)) for start in starts]
    return [types.FileHash(start, len(piece), sha256(piece).digest()) for start, piece in pieces]


def _check_range(offset: int, limit: int, unit: int) -> None:
    """Raise RpcRefusal unless this part of a file may be asked for."""
    if offset < 0 or offset % unit:
        raise RpcRefusal(400, "OFFSET_INVALID")
    if not 0 < limit <= MEGABYTE or limit % unit or (unit == READ_UNIT and MEGABYTE % limit):
        raise RpcRefusal(400, "LIMIT_INVALID")
    if offset // MEGABYTE != (offset + limit - 1) // MEGABYTE:
        raise RpcRefusal(400, "LIMIT_INVALID")


def _located(context: RequestContext, location: Any) -> StoredFile:
    """Return the file at a location, if it is here and the caller may read it. Raises RpcRefusal."""
    found = context.store.files.get(getattr(location, "id", 0))
    if found is None:
        raise RpcRefusal(400, "LOCATION_INVALID")
    if found.dc_id != context.dc_id:
        raise RpcRefusal(303, f"FILE_MIGRATE_{found.dc_id}")
    if found.guarded:
        _check_reference(context, found, location)
    return found


def _check_reference(context: RequestContext, file: StoredFile, location: Any) -> None:
    me, epoch = context.me.id, context.store.files.epoch
    if location.access_hash != file.access_hash_for(me):
        raise RpcRefusal(400, "FILE_ID_INVALID")
    if not location.file_reference:
        raise RpcRefusal(400, "FILE_REFERENCE_EMPTY")
    if location.file_reference == file.reference_for(me, epoch):
        return
    earlier = range(max(0, epoch - MAX_EPOCHS), epoch)
    expired = any(location.file_reference == file.reference_for(me, each) for each in earlier)
    raise RpcRefusal(400, "FILE_REFERENCE_EXPIRED" if expired else "FILE_REFERENCE_INVALID")


# Messages with files


def send_media(context: RequestContext, request: Any) -> Any:
    """Send a file, which was uploaded before, as a message."""
    peer = peers.peer(context, request.peer)
    if len(request.message) > MAX_CAPTION:
        raise RpcRefusal(400, "MEDIA_CAPTION_TOO_LONG")
    if not request.random_id:
        raise RpcRefusal(400, "RANDOM_ID_EMPTY")
    if isinstance(peer, Channel):
        member = context.store.channels.member(peer, context.me.id)
        if member is None or not (peer.megagroup or member.admin):
            raise RpcRefusal(403, "CHAT_WRITE_FORBIDDEN")
    if context.store.files.was_sent(context.me.id, request.random_id):
        raise RpcRefusal(500, "RANDOM_ID_DUPLICATE")
    _check_sent(context, request.media)
    if isinstance(peer, Channel):
        posted = context.store.channels.send(peer, context.me.id, request.message, request.random_id)
        context.store.files.attach(peer.id, posted.id, _made_of_sent(context, request.media))
        context.deliveries.append(posted)
        answer = views.new_channel_message(context.store, posted, peer, context.me.id)
        number = posted.id
    else:
        sent = context.store.send(context.me.id, peer.id, request.message, request.random_id)
        file = _made_of_sent(context, request.media)
        for copy in sent.copies:
            context.store.files.attach(copy.account, copy.id, file)
        context.deliveries += sent.copies
        answer = views.new_message(sent.mine, views.users_of(context.store, [sent.mine], context.me.id))
        number = sent.mine.id
    answer.updates.insert(0, types.UpdateMessageID(number, request.random_id))
    return answer


def _check_sent(context: RequestContext, media: Any) -> None:
    """Raise RpcRefusal unless all parts of a new file are there and fit together."""
    if not isinstance(media, types.InputMediaUploadedDocument | types.InputMediaUploadedPhoto):
        raise RpcRefusal(400, "MEDIA_INVALID")
    files, file = context.store.files, media.file
    lengths = files.sent_parts(context.me.id, file.id)
    if not lengths or len(lengths) > file.parts:
        raise RpcRefusal(400, "FILE_PARTS_INVALID")
    lengths += [0] * (file.parts - len(lengths))
    if 0 in lengths:
        raise RpcRefusal(400, f"FILE_PART_{lengths.index(0)}_MISSING")
    if len(set(lengths[:-1])) > 1 or lengths[-1] > lengths[0] or (len(lengths) > 1 and MAX_PART % lengths[0]):
        raise RpcRefusal(400, "FILE_PART_SIZE_CHANGED")
    if isinstance(file, types.InputFile):
        if sum(lengths) > MAX_SMALL_FILE:
            raise RpcRefusal(400, "FILE_PARTS_INVALID")
        if file.md5_checksum and file.md5_checksum != md5(files.md5_source(context.me.id, file.id)).hexdigest():
            raise RpcRefusal(400, "MD5_CHECKSUM_INVALID")


def _made_of_sent(context: RequestContext, media: Any) -> StoredFile:
    """Make a file of the parts that were sent; it is where the caller's account is."""
    files, me, sent = context.store.files, context.me, media.file
    named = [each for each in getattr(media, "attributes", ()) if isinstance(each, types.DocumentAttributeFilename)]
    make = partial(
        StoredFile,
        dc_id=context.dc_id,
        size=sum(files.sent_parts(me.id, sent.id)),
        name=named[0].file_name if named else sent.name,
        mime=getattr(media, "mime_type", "image/jpeg"),
        photo=isinstance(media, types.InputMediaUploadedPhoto),
    )
    return files.take_sent(me.id, sent.id, lambda number: make(id=number))


def show_files(files: FileStore, viewer: int, answer: Any) -> None:
    """Give the messages in an answer, or in what is pushed, their files, as this viewer sees them."""
    if not files.any_in_messages:
        return
    shown = [*getattr(answer, "messages", ()), *getattr(answer, "new_messages", ())]
    updates = [*getattr(answer, "updates", ()), *getattr(answer, "other_updates", ())]
    shown += [update.message for update in updates if hasattr(update, "message")]
    for message in shown:
        if isinstance(message, types.Message):
            owner = getattr(message.peer_id, "channel_id", viewer)
            if (file := files.of_message(owner, message.id)) is not None:
                message.media = media_of(file, viewer, files.epoch, message.date)


def media_of(file: StoredFile, viewer: int, epoch: int, date: Any) -> Any:
    """Return a file as its message has it."""
    named = (file.id, file.access_hash_for(viewer), file.reference_for(viewer, epoch), date)
    if file.photo:
        small, large = (
            types.PhotoSize("m", 320, 320, min(SMALL_PHOTO, file.size)),
            types.PhotoSize("x", 800, 800, file.size),
        )
        return types.MessageMediaPhoto(photo=types.Photo(*named, sizes=[small, large], dc_id=file.dc_id))
    attributes = [types.DocumentAttributeFilename(file.name)] if file.name else []
    document = types.Document(*named, mime_type=file.mime, size=file.size, dc_id=file.dc_id, attributes=attributes)
    return types.MessageMediaDocument(document=document)
