"""What a client that the engine lends does not do, and what to do instead.

Jobs, handlers and programs share an account's client with the engine, which keeps its connection. What would end that
connection, the login, or what others rely on, is not theirs to do. Habits of scripts that do no harm (``async with
client``, ``start``, ``connect``, ``disconnect``) do nothing; everything else raises ``LentClientError``, in the code
that did it.
"""

from typing import Any, Final

from telethon.crypto import AuthKey
from telethon.tl import TLRequest, functions

_LOG_IN: Final = "log in with `python -m engine login CONFIG ACCOUNT`"
_LOG_OUT: Final = (
    "it destroys the login; if that is wanted, pause the account and use `python -m engine logout CONFIG ACCOUNT`"
)
_CONNECTION: Final = "the engine sends it itself, for each connection"

REFUSED_REQUESTS: Final[dict[type[Any], str]] = {
    functions.auth.LogOutRequest: _LOG_OUT,
    functions.account.DeleteAccountRequest: "it destroys the account; do that in an official app",
    functions.DestroyAuthKeyRequest: _LOG_OUT,
    functions.DestroySessionRequest: _CONNECTION,
    functions.InitConnectionRequest: _CONNECTION,
    functions.InvokeWithLayerRequest: "the engine has set the layer, and another one makes updates unreadable",
    functions.PingDelayDisconnectRequest: "it would end the connection; the engine pings by itself",
    functions.ReqPqRequest: _CONNECTION,
    functions.ReqPqMultiRequest: _CONNECTION,
    functions.ReqDHParamsRequest: _CONNECTION,
    functions.SetClientDHParamsRequest: _CONNECTION,
    functions.auth.BindTempAuthKeyRequest: _CONNECTION,
    functions.auth.DropTempAuthKeysRequest: _CONNECTION,
    functions.auth.SendCodeRequest: _LOG_IN,
    functions.auth.ResendCodeRequest: _LOG_IN,
    functions.auth.SignInRequest: _LOG_IN,
    functions.auth.SignUpRequest: _LOG_IN,
    functions.auth.CheckPasswordRequest: _LOG_IN,
    functions.auth.RecoverPasswordRequest: _LOG_IN,
    functions.auth.ImportAuthorizationRequest: _LOG_IN,
    functions.auth.ImportBotAuthorizationRequest: _LOG_IN,
    functions.auth.ImportWebTokenAuthorizationRequest: _LOG_IN,
    functions.auth.ExportLoginTokenRequest: _LOG_IN,
    functions.auth.ImportLoginTokenRequest: _LOG_IN,
}
"""Requests that end or change the login or the connection, each with what to do instead."""


class LentClientError(RuntimeError):
    """Code that was lent a client tried what only the engine may do. The text is one sentence that says what to do."""


class LentKey(AuthKey):  # type: ignore[misc]  # Telethon ships no types
    """The key of a session that the engine uses: it says that there is one, and is neither read nor changed.

    Who could read it could give it to a second client, and Telegram destroys a login that two clients use.
    """

    def __init__(self, key: bytes) -> None:
        known = AuthKey(key)
        self._key, self.aux_hash, self.key_id = known.key, known.aux_hash, known.key_id

    @property
    def key(self) -> bytes:
        """Raise ``LentClientError``."""
        raise LentClientError(
            "the key of a login that the engine uses is not read or changed, because Telegram destroys a login that "
            "two clients use; use the client that the engine lends, or pause the account and use "
            "`python -m engine session export CONFIG ACCOUNT`"
        )

    @key.setter
    def key(self, _: Any) -> None:
        self.key  # noqa: B018  # raises


class Nothing:
    """What ``disconnect`` of a lent client returns: awaiting it, or not, does nothing, on any loop."""

    def __await__(self) -> Any:
        return iter(())


def check_allowed(request: Any) -> None:
    """Raise ``LentClientError`` for a request that is not allowed, also inside wrappers."""
    while True:
        if type(request) in REFUSED_REQUESTS:
            raise LentClientError(
                f"{type(request).__name__} is not sent with a client that the engine lends: "
                f"{REFUSED_REQUESTS[type(request)]}"
            )
        inner = getattr(request, "query", None)
        if not isinstance(inner, TLRequest):
            return
        request = inner
