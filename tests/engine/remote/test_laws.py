"""What holds for any order of events: the window of updates, the frames, and what is never allowed."""

from contextlib import nullcontext, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telethon import errors
from telethon.errors import rpc_message_to_error
from telethon.errors.rpcerrorlist import rpc_errors_dict, rpc_errors_re
from telethon.tl import functions, types

from adapters.telegram.remote_calls import NEVER, RemoteCalls, rpc_text
from adapters.telegram.remote_updates import decode_update, encode_update, mark_of
from engine.remote.frames import BadFrame, FailureKind, FrameKind, RemoteFailure, decode_head, encode_frame
from engine.remote.window import HandledWindow


@given(st.data(), st.integers(1, 40))
def test_each_update_is_handled_once_and_acknowledged_in_order(data: st.DataObject, count: int) -> None:
    """Whatever comes again, and in whichever order handlers end: no gap is acknowledged, and at the end all is."""
    window, sent, running = HandledWindow(), 0, set[int]()
    ended, handled = set[int](), list[int]()
    while len(ended) < count:
        match data.draw(st.sampled_from(["next", "again", "end"])):
            case "next" if sent < count:
                sent += 1
                if window.begin(sent):
                    handled.append(sent)
                    running.add(sent)
            case "again":  # a connection was lost: what was not acknowledged comes once more
                assert not any(window.begin(number) for number in range(window.acknowledged + 1, sent + 1))
            case _ if running:
                number = data.draw(st.sampled_from(sorted(running)))
                running.remove(number)
                ended.add(number)
                before = window.acknowledged
                assert window.end(number) == (window.acknowledged > before)
        assert set(range(1, window.acknowledged + 1)) <= ended
        assert window.acknowledged + 1 not in ended
    assert handled == list(range(1, count + 1))
    assert window.acknowledged == count


@given(st.sampled_from(FrameKind), st.integers(0, 2**64 - 1), st.binary(max_size=100))
def test_a_frame_is_read_as_it_was_written(kind: FrameKind, number: int, body: bytes) -> None:
    """Kind, number and length are in its head."""
    frame = encode_frame(kind, number, body)
    assert decode_head(frame[:13], max_body=100) == (kind, number, len(body))
    assert frame[13:] == body


@given(st.binary(min_size=13, max_size=13))
def test_no_head_is_read_as_anything_else(head: bytes) -> None:
    """A head of other bytes is refused, and no length beyond the bound is believed."""
    try:
        kind, _, length = decode_head(head, max_body=1000)
    except BadFrame:
        return
    assert kind in FrameKind
    assert length <= 1000


@given(st.sampled_from(FailureKind), st.text(max_size=50), st.integers(-(2**31), 2**31))
def test_a_failure_is_read_as_it_was_written(kind: FailureKind, text: str, code: int) -> None:
    """Kind, code and text arrive, whatever is in the text."""
    failure = RemoteFailure(kind, text, code)
    assert RemoteFailure.decode(failure.encode()) == failure


@given(st.binary(max_size=300))
def test_no_bytes_are_more_than_refused(body: bytes) -> None:
    """What is no request raises ``ValueError``, and nothing else."""
    with suppress(ValueError):
        RemoteCalls().read(body)


@given(st.data())
def test_no_change_of_a_request_is_more_than_refused(data: st.DataObject) -> None:
    """A request in which a few bytes are others, or missing, is a request or raises ``ValueError``."""
    request = bytearray(bytes(functions.messages.SendMessageRequest(types.InputPeerSelf(), "hello", random_id=7)))
    for _ in range(data.draw(st.integers(1, 5))):
        request[data.draw(st.integers(0, len(request) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        RemoteCalls().read(bytes(request[: data.draw(st.integers(0, len(request)))]))


@pytest.mark.parametrize(
    "request_",
    [
        functions.auth.LogOutRequest(),
        functions.auth.ExportAuthorizationRequest(2),
        functions.auth.AcceptLoginTokenRequest(b"x"),
        functions.account.DeleteAccountRequest("x"),
        functions.account.ResetAuthorizationRequest(1),
        functions.updates.GetStateRequest(),
        functions.updates.GetDifferenceRequest(1, None, 1),
        functions.PingRequest(1),
        functions.InvokeWithLayerRequest(1, functions.users.GetUsersRequest([])),
        functions.InvokeWithTakeoutRequest(1, functions.auth.LogOutRequest()),
        functions.InvokeWithoutUpdatesRequest(functions.updates.GetStateRequest()),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_would_harm_the_engine_is_never_allowed(request_: object) -> None:
    """Not by any config, and not inside of anything else."""
    with pytest.raises(ValueError, match=r"never sent|not sent"):
        RemoteCalls().read(bytes(request_))  # type: ignore[call-overload]


def test_a_request_has_no_more_objects_than_the_loop_reads_in_a_moment() -> None:
    """As many users as Telegram answers at once are asked for; ten times as many are refused."""
    for count, allowed in ((200, True), (2_500, False)):
        request = functions.users.GetUsersRequest([types.InputUser(1, 2)] * count)
        with nullcontext() if allowed else pytest.raises(ValueError, match="at most 2,000 objects"):
            assert RemoteCalls().read(bytes(request)).methods == ("users.getUsers",)


def test_methods_have_their_names_in_the_api() -> None:
    """By these the config allows them; what is wrapped counts as well."""
    wrapped = functions.InvokeWithTakeoutRequest(
        1, functions.messages.GetHistoryRequest(types.InputPeerSelf(), 0, None, 0, 1, 0, 0, 0)
    )
    assert RemoteCalls().read(bytes(wrapped)).methods == ("invokeWithTakeout", "messages.getHistory")
    assert all(each.rstrip("*") for each in NEVER)


def test_every_error_of_telegram_arrives_as_itself() -> None:
    """Class, text and number are the same on the other side."""
    texts = [*rpc_errors_dict, *(pattern.replace("(\\d+)", "17") for pattern, _ in rpc_errors_re), "SOMETHING_NEW"]
    for text in texts:
        here = rpc_message_to_error(types.RpcError(400, text), None)
        there = rpc_message_to_error(types.RpcError(*rpc_text(here)), None)
        assert (type(there), str(there)) == (type(here), str(here))
    held = errors.FloodWaitError(None, capture=30)
    assert rpc_text(held) == (420, "FLOOD_WAIT_30")


async def test_an_update_goes_along_with_those_that_it_names() -> None:
    """Users and chats that came with it arrive, others do not; who did not come is addressed as the account does."""
    message = types.Message(5, types.PeerChannel(77), date=None, message="x", from_id=types.PeerUser(9))
    update = types.UpdateNewChannelMessage(message, pts=3, pts_count=1)
    update._entities = {9: types.User(9, access_hash=1, first_name="A"), 8: types.User(8, access_hash=1)}

    class Client:
        class session:
            @staticmethod
            def get_input_entity(peer: int) -> object:
                return types.InputPeerChannel(77, 5)

    there, named, peers = decode_update(await encode_update(update, Client()))
    assert bytes(there) == bytes(update)
    assert [each.id for each in named] == [9]
    assert [(type(each), each.access_hash) for each in peers] == [(types.InputPeerChannel, 5)]


def test_a_message_is_known_again_whatever_it_came_with() -> None:
    """A difference gives a message no numbers of its own; an edit is another update than the message."""
    message = types.Message(5, types.PeerChannel(77), date=None, message="x")
    pushed = types.UpdateNewChannelMessage(message, pts=3, pts_count=1)
    fetched = types.UpdateNewChannelMessage(message, pts=0, pts_count=0)
    assert mark_of(pushed) == mark_of(fetched)
    assert mark_of(types.UpdateEditChannelMessage(message, 4, 1)) != mark_of(pushed)
