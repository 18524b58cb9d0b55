"""upload: files that clients send in parts, and files that the owner of the sandbox has put into a datacenter.

Both are in memory. As in Telegram, a file is in one datacenter, and every other one names that one. Source:
https://core.telegram.org/api/files
"""

from typing import Any, Final

from telethon.tl import types

from adapters.sandbox.errors import RpcRefusal
from adapters.sandbox.services.context import RequestContext

PART_UNIT: Final = 1024
MAX_PART: Final = 512 * PART_UNIT


def save_part(context: RequestContext, request: Any) -> Any:
    """Take a part of a small or a big file."""
    if not 0 < len(request.bytes) <= MAX_PART:
        raise RpcRefusal(400, "FILE_PART_SIZE_INVALID")
    context.shared.files.add_part(context.me.id, request.file_id, request.file_part, request.bytes)
    return True


def get_file(context: RequestContext, request: Any) -> Any:
    """Return a part of a file."""
    location = request.location
    found = context.shared.files.stored.get(getattr(location, "id", 0))
    if found is None:
        raise RpcRefusal(400, "LOCATION_INVALID")
    if found.dc_id != context.dc_id:
        raise RpcRefusal(303, f"FILE_MIGRATE_{found.dc_id}")
    if request.offset < 0 or not 0 < request.limit <= 2 * MAX_PART or request.limit % PART_UNIT:
        raise RpcRefusal(400, "LIMIT_INVALID")
    part = found.data[request.offset : request.offset + request.limit]
    return types.upload.File(types.storage.FileUnknown(), int(context.shared.clock()), part)
