"""Which addresses Apprise can use, and that it says nothing of the others."""

import logging

import pytest

from adapters.alerts.addresses import DISABLED, UNKNOWN, WRONG, refusal


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("json://localhost/path", None),
        ("mailto://user:password@example.org", None),
        ("ntfy://topic", None),
        ("foo://secretsecret", UNKNOWN),
        ("tgram://secretsecret/", WRONG),
        ("json://", WRONG),
        ("dbus://", DISABLED),
    ],
)
def test_an_address_is_usable_or_refused_in_words(
    address: str, why: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What Apprise itself says quotes the address, and reaches no log."""
    caplog.set_level(1)
    assert refusal(address) == why
    assert "secretsecret" not in caplog.text


def test_other_programs_logs_stay(caplog: pytest.LogCaptureFixture) -> None:
    """A program that uses urllib3 itself still sees what that logs."""
    caplog.set_level(logging.DEBUG)
    refusal("json://localhost")
    logging.getLogger("urllib3.connectionpool").debug("of the program")
    assert "of the program" in caplog.text
