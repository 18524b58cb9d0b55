"""Requests that other programs send through the engine: from their bytes to the answer's, and what is never theirs.

A program's request is read, so that the engine knows what it is: the same holds, deadlines and limits are for it as for
a job's. The answer goes back as the datacenter sent it.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

import anyio
from attrs import define, field
from telethon import errors
from telethon.errors.rpcerrorlist import rpc_errors_dict, rpc_errors_re
from telethon.tl import TLRequest
from telethon.tl.alltlobjects import LAYER

from adapters.redaction import redacted
from adapters.telegram.classify import DatacenterLost, RequestDropped, Unanswered, describe
from adapters.telegram.lent import LentClientError, check_allowed
from adapters.tl_reader import BoundedReader, DecodingBudget, HostileData

WRAPPERS: Final = ("invokeWithTakeout", "invokeWithMessagesRange", "invokeWithoutUpdates")
"""Methods without a namespace that are a program's to use: they wrap another one. All others are the connection's."""
NEVER: Final = (
    "auth.*",
    "updates.*",
    "account.acceptAuthorization",
    "account.cancelPasswordEmail",
    "account.changePhone",
    "account.changeAuthorizationSettings",
    "account.confirmPasswordEmail",
    "account.confirmPhone",
    "account.declinePasswordReset",
    "account.deleteAccount",
    "account.deletePasskey",
    "account.getAuthorizationForm",
    "account.getPasswordSettings",
    "account.getTmpPassword",
    "account.initPasskeyRegistration",
    "account.invalidateSignInCodes",
    "account.registerPasskey",
    "account.resendPasswordEmail",
    "account.resetAuthorization",
    "account.resetPassword",
    "account.resetWebAuthorization*",
    "account.sendChangePhoneCode",
    "account.sendConfirmPhoneCode",
    "account.sendVerify*",
    "account.setAccountTTL",
    "account.setAuthorizationTTL",
    "account.*SecureValue*",
    "account.updatePasswordSettings",
    "account.verify*",
    "bots.exportBotToken",
)
"""What no program may do, whatever the config says: it would end or change the login, or move the engine's own place in
the sequence of updates."""
MAX_REQUEST_OBJECTS: Final = 2_000
"""Objects in one request, which take 10 ms of the event loop; to ask for 200 users takes 200."""

_PLAIN: Final[dict[type[Exception], str]] = {kind: text for text, kind in rpc_errors_dict.items()}
"""A text of the protocol that Telethon makes each class of errors of."""
_NUMBERED: Final = {kind: pattern.replace("(\\d+)", "{}") for pattern, kind in rpc_errors_re}
"""The same for texts with a number, in the place of which is ``{}``."""


def method_name(request: Any) -> str:
    """Return the name of a request in Telegram's API, such as ``messages.getHistory``."""
    name = type(request).__name__.removesuffix("Request")
    namespace = type(request).__module__.removeprefix("telethon.tl.functions").lstrip(".")
    return f"{namespace}.{name[:1].lower()}{name[1:]}".lstrip(".")


def _nested(request: Any) -> Iterator[Any]:
    """Yield a request, and those that are wrapped in it."""
    while isinstance(request, TLRequest):
        yield request
        request = getattr(request, "query", None)


@define(eq=False)
class RemoteCall:
    """A request of a program, which is none of those that are never allowed."""

    request: TLRequest
    methods: tuple[str, ...]
    _answer: bytes | None = field(default=None, init=False, repr=False)

    async def send(self, client: Any, datacenter: int) -> bytes:
        """Send the request with a client; return the answer as it came. Raises what the client raises."""
        self.request.read_result = self._keeping(self.request.read_result)
        if datacenter and datacenter != client.session.dc_id:
            sender = await client._borrow_exported_sender(datacenter)
            try:
                answer = await client._call(sender, self.request)
            finally:
                with anyio.CancelScope(shield=True):  # takes no time
                    await client._return_exported_sender(sender)
        else:
            answer = await client(self.request)
        # One that was not sent was answered from what the engine knows.
        return bytes(answer) if self._answer is None else self._answer

    def _keeping(self, read: Any) -> Any:
        """Return a reader of the answer that keeps its bytes."""

        def read_result(reader: Any) -> Any:
            begin = reader.tell_position()
            answer = read(reader)
            self._answer = bytes(reader.stream[begin : reader.tell_position()])
            return answer

        return read_result


@define(eq=False)
class RemoteCalls:
    """Reads what programs send, and says what became of it."""

    layer: int = LAYER

    def read(self, body: bytes) -> RemoteCall:
        """Return the request in a body. Raises ``ValueError`` for what is none, or never allowed."""
        reader = BoundedReader(body, DecodingBudget(objects=MAX_REQUEST_OBJECTS, unpacked=0, containers=0))
        try:
            request = reader.tgread_object()
        except HostileData:
            text = f"a request has at most {MAX_REQUEST_OBJECTS:,} objects, not too deep in each other, and none packed"
            raise ValueError(text) from None
        except Exception:  # whatever Telethon's reader makes of bytes that are not TL
            raise ValueError("what came is no request in TL") from None
        if not isinstance(request, TLRequest) or reader.tell_position() != len(body):
            raise ValueError("what came is not one request in TL, and nothing else")
        methods = []
        for each in _nested(request):
            name = method_name(each)
            if ("." not in name and name not in WRAPPERS) or any(fnmatchcase(name, never) for never in NEVER):
                raise ValueError(
                    f"{name} is never sent for another program: the login and the connection are the engine's"
                )
            methods.append(name)
        try:
            check_allowed(request)
        except LentClientError as exc:
            raise ValueError(str(exc)) from None
        return RemoteCall(request, tuple(methods))

    def failure_of(self, exc: BaseException) -> tuple[str, int, str]:
        """Return what an exception means for the program: whether it may send again, code and text."""
        match exc:
            case errors.RPCError():
                code, text = rpc_text(exc)
                return "rpc", code, text
            case LentClientError():
                return "refused", 0, str(exc)
            case Unanswered():
                return "unanswered", 0, str(exc)
            case RequestDropped() | DatacenterLost() | OSError() | EOFError():
                return "lost", 0, f"the connection was lost with the request in flight ({describe(exc)})"
            case _:
                return "failed", 0, f"{type(exc).__name__}: {describe(exc)}"


def rpc_text(exc: errors.RPCError) -> tuple[int, str]:
    """Return the code and the text of the protocol of which Telethon makes such an error again."""
    code = next((number for number in (getattr(exc, "code", None), type(exc).code) if isinstance(number, int)), 0)
    for each in type(exc).__mro__:
        if each in _NUMBERED:
            number = next((value for value in exc.__reduce__()[1] if isinstance(value, int)), 0)
            if number > 0 or each not in _PLAIN:
                return code, _NUMBERED[each].format(max(0, number))
        if each in _PLAIN:
            return code, _PLAIN[each]
    return code, redacted(str(exc.message or type(exc).__name__))
