"""The border to Telethon's TL classes: it reads requests and writes answers. ``Any`` stops here.

Telethon's table of constructors holds the request classes too, so its reader reads what a client sends.
"""

import struct
from functools import cache
from typing import Any, Final

from attrs import frozen
from telethon.errors import TypeNotFoundError
from telethon.tl import TLRequest, functions, types
from telethon.tl.alltlobjects import tlobjects

from adapters.sandbox.errors import RpcRefusal
from adapters.tl_reader import BoundedReader

RPC_RESULT: Final = 0xF35C6D01
CONTAINER: Final = 0x73F1F8DC
VECTOR: Final = 0x1CB5C415
BOOL_TRUE: Final = 0x997275B5
BOOL_FALSE: Final = 0xBC799737
MAX_WRAPPERS: Final = 8


def read(body: bytes) -> Any:
    """Return the one object that the body holds, unpacked when it is gzip_packed.

    Raises RpcRefusal, in Telegram's words, for a body that is not exactly one object.
    """
    reader = BoundedReader(body)
    try:
        value = reader.tgread_object()
    except TypeNotFoundError as error:
        raise RpcRefusal(400, f"INPUT_METHOD_INVALID_{error.invalid_constructor_id}") from error
    except Exception as error:
        # Any client may have sent these bytes; whatever is wrong with them means the same to it.
        raise RpcRefusal(400, "INPUT_FETCH_ERROR") from error
    if reader.tell_position() != len(body):
        raise RpcRefusal(400, "INPUT_REQUEST_TOO_LONG")
    return value


def read_prefix(data: bytes, start: int) -> tuple[Any, int]:
    """Return the object at an offset, and the offset behind it; the rest is padding.

    Raises ValueError when the bytes are not an object.
    """
    reader = BoundedReader(data)
    reader.set_position(start)
    try:
        value = reader.tgread_object()
    except Exception as error:
        raise ValueError("no TL object at this offset") from error
    return value, reader.tell_position()


def dump(value: Any) -> bytes:
    """Return the value on the wire; Bool and Vector are packed by hand, as Telethon has no class for them."""
    if value is True or value is False:
        return struct.pack("<I", BOOL_TRUE if value else BOOL_FALSE)
    if isinstance(value, list):
        return struct.pack("<Ii", VECTOR, len(value)) + b"".join(dump(item) for item in value)
    return bytes(value)


def rpc_result(msg_id: int, value: Any) -> bytes:
    """Return rpc_result for the request with this message id."""
    return struct.pack("<Iq", RPC_RESULT, msg_id) + dump(value)


def rpc_error(msg_id: int, refusal: RpcRefusal) -> bytes:
    """Return rpc_result that carries an rpc_error."""
    return rpc_result(msg_id, types.RpcError(refusal.code, refusal.text))


@frozen
class Query:
    """A request without its wrappers."""

    request: Any
    without_updates: bool = False


def unwrap(request: Any) -> Query:
    """Take off invokeWithLayer, initConnection, invokeWithoutUpdates and invokeAfterMsg.

    Raises RpcRefusal when there are more wrappers than any client has a use for.
    """
    without_updates = False
    for _ in range(MAX_WRAPPERS):
        match request:
            case functions.InvokeWithoutUpdatesRequest():
                without_updates = True
            case (
                functions.InvokeWithLayerRequest()
                | functions.InitConnectionRequest()
                | functions.InvokeAfterMsgRequest()
                | functions.InvokeAfterMsgsRequest()
            ):
                pass
            case _:
                return Query(request, without_updates)
        request = request.query
    raise RpcRefusal(400, "INPUT_LAYER_INVALID")


def is_request(value: Any) -> bool:
    """Return whether the object is a function of the schema (and not a type)."""
    return isinstance(value, TLRequest)


def method_name(request: Any) -> str:
    """Return the name in the schema: ``users.getUsers`` for GetUsersRequest of telethon.tl.functions.users."""
    kind: Any = type(request)
    return _name_of(kind)


@cache
def method_names() -> frozenset[str]:
    """Return the names of all requests that Telethon knows."""
    return frozenset(_name_of(kind) for kind in tlobjects.values() if issubclass(kind, TLRequest))


@cache  # of no more classes than Telethon has
def _name_of(kind: Any) -> str:
    name = kind.__name__.removesuffix("Request")
    name = name[:1].lower() + name[1:]
    namespace = kind.__module__.rpartition(".")[2]
    return name if namespace in ("functions", "types") else f"{namespace}.{name}"
