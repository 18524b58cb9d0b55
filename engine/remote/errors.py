"""What a program is told when a request has no answer: whether it was sent, and so whether to send it again."""

from typing import Final

from engine.remote.frames import FailureKind, RemoteFailure


class EngineUnreachable(ConnectionError):
    """No engine answers there. Nothing was sent; the client goes on connecting by itself once it was connected."""


class EngineElsewhere(EngineUnreachable):
    """Another node has the account now; the text says which. A client follows it where it can, or goes on trying."""

    def __init__(self, sentence: str, directory: str | None = None) -> None:
        super().__init__(sentence)
        self.directory = directory


class RequestRefused(PermissionError):
    """The engine does not let this program do that; nothing was sent. The text says which key of the config decides."""


class AccountNotReady(ConnectionError):
    """The account has no connection, and will not have one soon. Nothing was sent; the text says what to do."""


class OutcomeUnknown(ConnectionError):
    """The connection was lost with the request in flight: it may have been carried out.

    A request that reads is simply sent again. One that writes is sent again only with the ``random_id`` of the first
    time: then Telegram carries it out once.
    """


class NoAnswer(OutcomeUnknown, TimeoutError):
    """No answer came in time: the request may have been carried out."""


class AnswerUnusable(RuntimeError):
    """The request was carried out, and its answer cannot be passed on."""


_CLASSES: Final[dict[FailureKind, type[Exception]]] = {
    FailureKind.REFUSED: RequestRefused,
    FailureKind.NOT_READY: AccountNotReady,
    FailureKind.LOST: OutcomeUnknown,
    FailureKind.UNANSWERED: NoAnswer,
    FailureKind.FAILED: AnswerUnusable,
}


def error_of(failure: RemoteFailure) -> Exception:
    """Return the exception that a failure is raised as, unless it is Telegram's own."""
    return _CLASSES[failure.kind](failure.text)
