"""The errors of the sandbox: each is a sentence for the operator or an answer for a client."""

from typing import Final

from attrs import define

UNKNOWN_KEY: Final = -404


class SandboxError(Exception):
    """Something that the operator can fix; the message is one whole sentence."""


class SandboxDied(SandboxError):
    """The process of the sandbox ended without being asked to."""


@define
class ProtocolError(Exception):
    """A client broke MTProto: the sandbox counts the reason, sends the transport error and closes the connection.

    The code is what a datacenter puts on the wire instead of a packet: -404 for a key it does not know or bytes that it
    cannot make sense of. Source: https://core.telegram.org/mtproto/mtproto-transports#transport-errors
    """

    reason: str
    code: int = UNKNOWN_KEY

    def __str__(self) -> str:
        return f"{self.reason} ({self.code})"


@define
class BadMessage(Exception):
    """One message breaks the rules for identifiers or sequence numbers; the connection lives on.

    The answer is bad_msg_notification. Source of the codes:
    https://core.telegram.org/mtproto/service_messages_about_messages#notice-of-ignored-error-message
    """

    msg_id: int
    seq_no: int
    code: int

    def __str__(self) -> str:
        return f"bad_msg {self.code} for message {self.msg_id}"


@define
class RpcRefusal(Exception):
    """A request is answered with rpc_error: an HTTP-like code and one of Telegram's upper-case texts."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}"
