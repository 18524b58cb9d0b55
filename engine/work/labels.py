"""``WorkLabel``: what log lines call a piece of the user's work."""


class WorkLabel(str):
    """Text such as ``job 17 (send) of Account 1``, together with the account."""

    account: str

    def __new__(cls, text: str, account: str) -> "WorkLabel":
        """Return the label with this text and this account."""
        label = super().__new__(cls, text)
        label.account = account
        return label
