"""Whatever number a server sends with a demand to wait, the rest of the engine gets one that it can compute with."""

import math
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from telethon import errors
from telethon.tl.core.rpcresult import RpcResult
from telethon.tl.functions.messages import SendMessageRequest
from telethon.tl.types import InputPeerChannel, RpcError

from adapters.telegram.classify import UNREADABLE_WAIT, WAIT_ERRORS, classify
from adapters.telegram.conversation import explain
from adapters.telegram.job_errors import classify_job_error
from adapters.telegram.protocol_watch import MAX_ERROR_TEXT, bound_error_text
from states import Policy, Snapshot, State, step
from states.clock import LONGEST_WAIT
from states.events import AccountLimited, FloodWait
from states.jobs import Flooded

REQUEST = SendMessageRequest(InputPeerChannel(1, 2), "text", random_id=1)
ABSURD = [0, -1, -(10**400), 253_000_000_000, 2**63, 10**400, math.inf, -math.inf, math.nan, None, "many"]


def error_of(text: str, code: int = 420) -> errors.RPCError:
    """Return the exception that Telethon makes of an error's text."""
    return errors.rpc_message_to_error(RpcError(code, text), REQUEST)


@pytest.mark.parametrize("number", ABSURD, ids=lambda number: str(number)[:24])
@pytest.mark.parametrize("kind", WAIT_ERRORS)
def test_the_wait_is_a_number_that_can_be_used(kind: Any, number: Any) -> None:
    """From 0 s to a year, for every error that names a wait; no date that is computed from it is out of range."""
    exc = kind(REQUEST, 5)
    setattr(exc, "minutes" if hasattr(exc, "minutes") else "seconds", number)
    failure = classify(exc)
    assert isinstance(failure, FloodWait)
    assert 0 <= failure.seconds <= LONGEST_WAIT
    datetime.fromtimestamp(time.time() + failure.seconds, UTC)
    assert "log in after that" in explain(exc)
    flooded = classify_job_error(exc, None)
    assert isinstance(flooded, Flooded)
    assert flooded.until <= time.time() + LONGEST_WAIT + 2


@pytest.mark.parametrize("text", ["FLOOD_WAIT_253000000000", "SLOWMODE_WAIT_253000000000"])
def test_the_true_number_is_in_the_detail(text: str) -> None:
    """What the server said stays readable, although nothing is computed with it."""
    assert "253000000000" in classify(error_of(text)).detail


@pytest.mark.parametrize(
    "text", ["FLOOD_WAIT_-5", "FLOOD_WAIT_", "FLOOD_WAIT_X", "FLOOD_WAIT", "SLOWMODE_WAIT_-1", "TAKEOUT_INIT_DELAY_X"]
)
def test_a_wait_without_a_readable_number_is_a_wait(text: str) -> None:
    """It is a minute, and not a limit of the whole account that only the operator could end."""
    failure = classify(error_of(text))
    assert isinstance(failure, FloodWait)
    assert failure.seconds == UNREADABLE_WAIT
    assert ("in" in failure.request.split()) == text.startswith("SLOWMODE")


@pytest.mark.parametrize("text", ["TAKEOUT_INIT_DELAY_86400", "2FA_CONFIRM_WAIT_86400", "FLOOD_PREMIUM_WAIT_86400"])
def test_every_wait_with_a_number_holds_one_kind_of_request(text: str) -> None:
    """A takeout that has to wait does not limit the account."""
    failure = classify(error_of(text))
    assert isinstance(failure, FloodWait)
    assert (failure.seconds, failure.request) == (86_400, "SendMessage")


def test_a_flood_that_names_a_request_and_no_wait_holds_that_request() -> None:
    """It is no limit of the whole account; a bare FLOOD is, as before."""
    failure = classify(error_of("STORY_SEND_FLOOD_MONTHLY"))
    assert isinstance(failure, FloodWait)
    assert failure.seconds == UNREADABLE_WAIT
    assert isinstance(classify(error_of("FLOOD")), AccountLimited)


def test_a_number_that_telethon_cannot_add_is_the_flood_wait_that_it_was() -> None:
    """Telethon adds the number to the time of day: an ``OverflowError``, whose context is the server's demand."""
    try:
        try:
            raise errors.FloodWaitError(REQUEST, 10**400)
        except errors.FloodWaitError as exc:
            time.time() + exc.seconds
    except OverflowError as exc:
        failure = classify(exc)
    assert isinstance(failure, FloodWait)
    assert failure.seconds == LONGEST_WAIT


@pytest.mark.parametrize("digits", [12, 308, 400, 4_301, 100_000])
def test_any_number_of_digits_is_read(digits: int) -> None:
    """Python refuses more than 4,300 digits, which would leave the request without an answer."""
    result = RpcResult(1, None, RpcError(420, "FLOOD_WAIT_" + "9" * digits))
    bound_error_text(result)
    exc = errors.rpc_message_to_error(result.error, REQUEST)
    assert isinstance(classify(exc), FloodWait)
    assert math.isfinite(time.time() + exc.seconds)
    assert len(str(exc.seconds)) <= MAX_ERROR_TEXT


def test_an_answer_without_an_error_has_no_text_to_cut() -> None:
    """It stays as it is."""
    result = RpcResult(1, b"1234", None)
    bound_error_text(result)
    assert (result.error, result.body) == (None, b"1234")


def test_the_law_gives_a_deadline_that_can_be_written() -> None:
    """What the machine stores after the greatest number is a date."""
    event = classify(error_of("FLOOD_WAIT_" + "9" * 200), link=1)
    at = Snapshot(state=State.HEALTHY, link=1, generation=1)
    holds = step(at, event, now=time.time(), rng=None, policy=Policy()).snapshot.holds  # type: ignore[arg-type]
    assert datetime.fromtimestamp(holds[0].until, UTC).year <= datetime.now(UTC).year + 2
