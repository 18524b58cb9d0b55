"""The errors of the sandbox: each one is a sentence for a person, or an answer for a client."""

from typing import Final

from attrs import define

UNKNOWN_KEY: Final = -404


class SandboxError(Exception):
    """Something that the person at the keyboard can mend; the message is one whole sentence."""


class SandboxDied(SandboxError):
    """The process of the sandbox ended although nobody asked it to."""


@define
class ProtocolError(Exception):
    """A client broke MTProto: it is counted under its reason, told the transport error and hung up on.

    The code is what a data centre puts on the wire in place of a packet: -404 for a key it does not know or
    bytes that it cannot make sense of. Source: https://core.telegram.org/mtproto/mtproto-transports#transport-errors
    """

    reason: str
    code: int = UNKNOWN_KEY

    def __str__(self) -> str:
        return f"{self.reason} ({self.code})"


@define
class BadMessage(Exception):
    """One message breaks the rules for identifiers or sequence numbers; the connection lives on.

    Answered with bad_msg_notification. Source of the codes:
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
