"""Flood errors whose text Telethon does not know: what they hold, and for how long."""

import pytest
from telethon.errors import rpc_message_to_error
from telethon.tl.functions.messages import SendMessageRequest
from telethon.tl.types import InputPeerChannel, RpcError

from adapters.telegram.classify import MAX_TEXT, UNREADABLE_WAIT, classify
from states.clock import LONGEST_WAIT
from states.events import AccountLimited, FloodWait

REQUEST = SendMessageRequest(InputPeerChannel(5, 5), "hi")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("P0NY", UNREADABLE_WAIT),
        ("", UNREADABLE_WAIT),
        ("ADDRESS_INVALID", UNREADABLE_WAIT),
        ("FLOOD_PREMIUM_WAIT_X", UNREADABLE_WAIT),
        ("FLOOD_WAIT_-5", UNREADABLE_WAIT),
        ("STORIES_TOO_MUCH_3", UNREADABLE_WAIT),
        ("STORY_SEND_FLOOD_WEEKLY_86400", 86400.0),
        ("PREMIUM_WAIT_7200", 7200.0),
        ("FLOOD_SKIP_FAILED_WAIT_3600", 3600.0),
        ("flood_wait_7", 7.0),
        ("OTHER_WAIT_5MIN", 300.0),
        ("OTHER_WAIT_" + "9" * 5000, LONGEST_WAIT),
    ],
)
def test_an_unknown_flood_holds_that_kind_of_request(text: str, seconds: float) -> None:
    """The account is not limited, its number is the least that is waited, and the server's text is what is said."""
    event = classify(rpc_message_to_error(RpcError(420, text), REQUEST))
    assert isinstance(event, FloodWait)
    assert (event.seconds, event.request) == (seconds, "SendMessage")
    assert text in event.detail or len(text) > MAX_TEXT


def test_a_bare_flood_is_the_accounts() -> None:
    """It names neither a wait nor a kind of request."""
    assert isinstance(classify(rpc_message_to_error(RpcError(420, "FLOOD"), REQUEST)), AccountLimited)
