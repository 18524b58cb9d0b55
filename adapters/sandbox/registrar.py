"""The registrar: what can be said about how accounts log in. `Sandbox` is one."""

from typing import Final

import anyio.to_thread

from adapters.sandbox.centre import Centre
from adapters.sandbox.credentials import NumberStatus, Password
from adapters.sandbox.errors import SandboxError
from adapters.sandbox.phones import normalise
from adapters.sandbox.srp import Verifier

LONGEST_PASSWORD: Final = 256
LONGEST_HINT: Final = 128


class Registrar:
    """See the module's docstring. Every phone number may be refused with SandboxError."""

    _centre: Centre

    def set_number_status(self, phone: str, status: NumberStatus | str) -> None:
        """Makes a number usual, unoccupied (who logs in is told to sign up) or banned (no code is sent).

        Logins that exist stay. Raises SandboxError for another status.
        """
        if status not in list(NumberStatus):
            raise SandboxError(f"A number is {', '.join(NumberStatus)}, not {status!r}.")
        self._centre.store.credentials.set_status(normalise(phone), NumberStatus(status))

    async def set_password(self, phone: str, password: str | None, hint: str = "") -> None:
        """Gives the account's login a second step, or with None takes it away. Logins that exist stay.

        Only an SRP verifier is kept. Raises SandboxError for an empty or overlong password or hint.
        """
        account = self._centre.store.account(phone)
        if password is None:
            self._centre.store.credentials.set_password(account.id, None)
            return
        if not 0 < len(password) <= LONGEST_PASSWORD:
            raise SandboxError(f"A password has 1 to {LONGEST_PASSWORD} characters; leave it out to have none.")
        if len(hint) > LONGEST_HINT:
            raise SandboxError(f"The hint of a password has at most {LONGEST_HINT} characters.")
        # The hash takes its time, and clients are not to wait for it.
        verifier = await anyio.to_thread.run_sync(Verifier.of, password)
        self._centre.store.credentials.set_password(account.id, Password(verifier, hint))

    def expire_codes(self, phone: str | None = None) -> int:
        """Ends the login code that was sent to a number, or to all; returns how many there were."""
        return self._centre.office.logins.expire_codes(None if phone is None else normalise(phone))
