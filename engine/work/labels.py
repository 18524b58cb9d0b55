"""``WorkLabel``: what log lines call a piece of the user's work."""


class WorkLabel(str):
    """Text such as ``job 17 (send) of Account 1``, which knows whose work it is."""

    account: str

    def __new__(cls, text: str, account: str) -> "WorkLabel":
        """Return the text, with the account whose work it is."""
        label = super().__new__(cls, text)
        label.account = account
        return label
