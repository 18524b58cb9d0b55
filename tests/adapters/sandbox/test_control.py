"""The commands of the control connection."""

import json
from typing import Any

import anyio
import pytest
from telethon.crypto import AuthKey

from adapters.sandbox import Clear, Fault, FaultKind, PostMessage, Push, Sandbox, SandboxError, TimedAction
from adapters.sandbox.control import commands
from adapters.sandbox.control.command_server import MAX_LINE_BYTES, CommandServer
from adapters.sandbox.control.commands import (
    Authorize,
    Command,
    CreateChannel,
    DeletePosted,
    EditPosted,
    Fill,
    GetHistory,
    GetStats,
    Listen,
    ResetCounters,
)
from adapters.sandbox.control.login_commands import (
    AcceptToken,
    ExpireBotToken,
    ExpireCodes,
    ExpireTokens,
    MakeBot,
    OpenDatacenter,
    SetNumberStatus,
    SetPassword,
    SetTokenLifetime,
)
from tests.adapters.sandbox.harness import Connect, NewSession
from tests.timeouts import TIMEOUT

PHONE = "+9996620001"

COMMANDS = [
    Fault(FaultKind.RESET, PHONE),
    Fault(FaultKind.BLACKHOLE, duration=8),
    Fault(FaultKind.RPC_ERROR, PHONE, 2, times=3, request="messages.*", code=420, text="FLOOD_WAIT_30"),
    Fault(FaultKind.CLOCK_OFFSET, seconds=-400),
    Fault(FaultKind.TRANSPORT_ERROR, code=-429, times=1),
    Clear(),
    Clear("9996620001"),
    Push(PHONE, "hello", "9996620002"),
    CreateChannel("news", "News"),
    CreateChannel("talk", "Talk", True, (PHONE,), ("9996620002",)),
    PostMessage("news", "hello"),
    PostMessage("talk", "hello", PHONE, reply_to=3),
    EditPosted("news", 1, "hello"),
    DeletePosted(PHONE, (1, 2)),
    Fill("news", 3000),
    GetHistory("news", 5),
    Listen(PHONE),
    Authorize(PHONE),
    ResetCounters(),
    GetStats(),
    SetNumberStatus(PHONE, "banned"),
    SetPassword(PHONE, "secret", "hint"),
    SetPassword(PHONE),
    ExpireCodes(),
    ExpireCodes(PHONE),
    AcceptToken(PHONE, "tg://login?token=abcd"),
    ExpireTokens(),
    SetTokenLifetime(1.5),
    MakeBot("7000000001:abcdefghijklmnop"),
    MakeBot("7000000001:abcdefghijklmnop", 4),
    OpenDatacenter(4),
    OpenDatacenter(4, 4431),
    ExpireBotToken("7000000001:abcdefghijklmnop"),
    commands.scenario(
        [TimedAction(5, Fault(FaultKind.CLOSE)), TimedAction(1, Clear()), TimedAction(2, Push(PHONE, "hi"))]
    ),
    commands.scenario([TimedAction(1, PostMessage("news", "hi"))]),
]

MISTAKES = [
    ("nonsense", "one JSON object"),
    ("[" * 100_000, "one JSON object"),
    ("{" * 9, "at most 8 brackets"),
    ('{"do": "refuse", "for": 1' + "0" * 400 + "}", "at most 18 digits"),
    ('{"do": "refuse", "for": NaN}', "NaN is no number"),
    ('{"do": "refuse", "for": -Infinity}', "Infinity is no number"),
    ('{"do": "push", "account": "+9996620001", "text": "half \\ud83d"}', "whole characters only"),
    ('{"do": "push", "account": "+9996620001", "text": "a\\u0000b"}', "no NUL"),
    ('{"do": "post", "username": "\\udc00", "text": "x"}', "whole characters only"),
    ('{"\\ud800": 1}', "whole characters only"),
    ("[]", "JSON object"),
    ("{}", "no command None"),
    ('{"do": "explode"}', "no command 'explode'"),
    ('{"do": ["reset"]}', "no command"),
    ('{"do": "reset", "acount": "x"}', "no key acount"),
    ('{"do": "stats", "account": "x"}', "no other key"),
    ('{"do": "reset", "account": 5}', "text in quotes"),
    ('{"do": "reset", "account": "+491511"}', "test range"),
    ('{"do": "refuse", "for": "long"}', "number of seconds"),
    ('{"do": "refuse", "for": true}', "number of seconds"),
    ('{"do": "refuse", "for": -1}', "more than 0"),
    ('{"do": "reset", "times": 1.5}', "whole number"),
    ('{"do": "reset", "times": true}', "whole number"),
    ('{"do": "reset", "request": "*"}', "'reset' has no key request; it knows account, for, times"),
    ('{"do": "slow", "seconds": "2s"}', "number of seconds"),
    ('{"do": "rpc_error", "code": 420}', "'rpc_error' needs text"),
    ('{"do": "push", "account": "+9996620001"}', "needs the key 'text'"),
    ('{"do": "listen"}', "needs the key 'account'"),
    ('{"do": "authorize"}', "needs the key 'account'"),
    ('{"do": "listen", "account": "12"}', "test range"),
    ('{"do": "channel", "username": "news"}', "needs the key 'title'"),
    ('{"do": "channel", "username": "news", "title": "N", "megagroup": 1}', "true or false"),
    ('{"do": "channel", "username": "news", "title": "N", "members": "+9996620001"}', "list of texts"),
    ('{"do": "channel", "username": "news", "title": "N", "members": ["12"]}', "test range"),
    ('{"do": "post", "username": "news", "text": "x"}', "no channel 'news'"),
    ('{"do": "edit", "chat": "+9996620001", "id": 9, "text": "x"}', "Message 9 of .* cannot be edited"),
    ('{"do": "delete", "chat": "+9996620001", "ids": [0]}', "'ids' holds numbers from 1"),
    ('{"do": "fill", "username": "news"}', "needs the key 'upto'"),
    ('{"do": "fill", "username": "news", "upto": "all"}', "whole number"),
    ('{"do": "fill", "username": "news", "upto": -1}', "0 to 100000 messages, not -1"),
    ('{"do": "fill", "username": "news", "upto": 100001}', "0 to 100000 messages, not 100001"),
    ('{"do": "fill", "username": "news", "upto": 1}', "no channel 'news'"),
    ('{"do": "history", "username": "news", "after": -1}', "whole number"),
    ('{"do": "number", "account": "+9996620001"}', "needs the key 'status'"),
    ('{"do": "number", "account": "+9996620001", "status": "odd"}', "usual, unoccupied, banned, not 'odd'"),
    ('{"do": "number", "account": "12", "status": "usual"}', "test range"),
    ('{"do": "password", "account": "12", "password": "x"}', "test range"),
    ('{"do": "password", "account": "+9996620001", "password": ""}', "1 to 256 characters"),
    ('{"do": "password", "account": "+9996620001", "password": 12345}', "'password' is a text in quotes.$"),
    ('{"do": "expire_codes", "account": "12"}', "test range"),
    ('{"do": "password", "account": "bot7000000001", "password": "x"}', "test range"),
    ('{"do": "accept_token", "account": "+9996620001"}', "needs the key 'token'"),
    ('{"do": "accept_token", "account": "12", "token": "abcd"}', "test range"),
    ('{"do": "accept_token", "account": "+9996620001", "token": "tg://login"}', "text of a QR code"),
    ('{"do": "accept_token", "account": "+9996620001", "token": "abcde"}', "is cut off"),
    ('{"do": "accept_token", "account": "+9996620001", "token": "abcd"}', "AUTH_TOKEN_INVALID"),
    ('{"do": "token_lifetime"}', "needs the key 'seconds'"),
    ('{"do": "token_lifetime", "seconds": 0}', "more than 0"),
    ('{"do": "token_lifetime", "seconds": "1h"}', "number of seconds"),
    ('{"do": "data_centre"}', "needs the key 'dc'"),
    ('{"do": "data_centre", "dc": 0}', "number from 1 to 999, not 0"),
    ('{"do": "data_centre", "dc": "4"}', "whole number"),
    ('{"do": "data_centre", "dc": 4, "port": 70000}', "0 to 65535"),
    ('{"do": "bot", "token": "7000000001:abcdefghijklmnop", "dc": 4}', "Datacenter 4 is not open"),
    ('{"do": "bot"}', "needs the key 'token'"),
    ('{"do": "bot", "token": 7}', "'token' is a text in quotes.$"),
    ('{"do": "bot", "token": "7000000001:short"}', "token is its id, a colon and"),
    ('{"do": "bot", "token": "1000000001:abcdefghijklmnop"}', "1000000001 cannot be the id of a bot"),
    ('{"do": "bot", "token": "9996620001:abcdefghijklmnop"}', "9996620001 cannot be the id of a bot"),
    ('{"do": "expire_bot", "token": "7000000001:abcdefghijklmnop"}', "does not exist or has another token"),
    ('{"do": "push", "account": "bot7000000001", "text": "x"}', "There is no bot bot7000000001"),
    ('{"do": "scenario"}', "list of commands"),
    ('{"do": "scenario", "steps": [{"do": "reset"}]}', "Step 1 of the scenario: 'at' is missing"),
    ('{"do": "scenario", "steps": [{"at": -1, "do": "reset"}]}', "Step 1"),
    ('{"do": "scenario", "steps": [{"at": 0, "do": "clear"}, {"at": 1, "do": "stats"}]}', "Step 2.*cannot do 'stats'"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_survives_the_wire(command: Command) -> None:
    """What is encoded is parsed to the same value."""
    assert commands.parse(json.loads(json.dumps(commands.encode(command)))) == command


@pytest.mark.parametrize(("line", "sentence"), MISTAKES)
async def test_a_mistake_is_answered_with_a_sentence(line: str, sentence: str) -> None:
    """Every mistake in a command is answered with a sentence, and the connection stays usable."""
    async with Sandbox() as dc, anyio.create_task_group() as tasks:
        answer = await CommandServer(dc, tasks).answer(line.encode())
        assert not answer["ok"]
        with pytest.raises(SandboxError, match=sentence):
            raise SandboxError(answer["error"])


async def test_commands_do_what_they_say() -> None:
    """push, listen, faults, clear and stats work on the sandbox."""
    async with Sandbox() as dc, anyio.create_task_group() as tasks:
        control = CommandServer(dc, tasks)

        async def do(**record: Any) -> dict[str, Any]:
            return await control.answer(json.dumps(record).encode())

        assert await do(do="push", account=PHONE, text="hi") == {"ok": True, "id": 1}
        assert (await do(do="listen", account=PHONE))["port"] == await dc.listen(PHONE)
        assert await do(do="blackhole", account=PHONE) == {"ok": True}
        stats = (await do(do="stats"))["stats"]
        standing = [(fault["kind"], fault["account"]) for fault in stats["standing_faults"]]
        assert (standing, stats["messages"]) == ([("blackhole", "9996620001")], 2)
        assert await do(do="clear") == {"ok": True}
        assert dc.stats()["standing_faults"] == []


async def test_a_key_made_by_command_is_logged_in(connected: Connect, new_session: NewSession) -> None:
    """``authorize`` hands out a key with which a client is the account, without a login."""
    async with Sandbox() as dc, anyio.create_task_group() as tasks:
        answer = await CommandServer(dc, tasks).answer(json.dumps({"do": "authorize", "account": PHONE}).encode())
        session = new_session(dc)
        session.auth_key = AuthKey(bytes.fromhex(answer["key"]))
        async with connected(dc, session=session) as client:
            assert (await client.get_me()).phone == PHONE.lstrip("+")


async def test_a_mark_starts_the_peak_anew(connected: Connect) -> None:
    """The maximum of simultaneous handshakes restarts with the command ``mark``."""
    async with Sandbox() as dc, anyio.create_task_group() as tasks, connected(dc, PHONE):
        assert dc.stats()["handshakes"] == {"now": 0, "most": 1}
        assert await CommandServer(dc, tasks).answer(b'{"do": "mark"}') == {"ok": True}
        assert dc.stats()["handshakes"]["most"] == 0


async def test_a_scenario_keeps_its_times() -> None:
    """The steps happen in the order of their times, after the answer was given."""
    async with Sandbox() as dc, anyio.create_task_group() as tasks:
        control = CommandServer(dc, tasks)
        steps = [TimedAction(0.1, Push(PHONE, "second")), TimedAction(0.0, Push(PHONE, "first"))]
        start = anyio.current_time()
        await control.perform(commands.scenario(steps))
        assert dc.messages(PHONE) == []
        with anyio.fail_after(TIMEOUT):
            while len(dc.messages(PHONE)) < len(steps):
                await anyio.sleep(0.01)
        assert [m.text for m in dc.messages(PHONE)] == ["first", "second"]
        assert anyio.current_time() - start >= 0.1


async def test_a_line_without_an_end_is_cut_off() -> None:
    """A line longer than the limit is answered with a sentence, and the connection is closed."""
    listener = (await anyio.create_tcp_listener(local_host="127.0.0.1")).listeners[0]
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, Sandbox() as dc, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, CommandServer(dc, tasks, "token").serve, tasks)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"token\n" + b"x" * (MAX_LINE_BYTES + 1))
            with anyio.fail_after(TIMEOUT):
                assert b"at most" in await stream.receive()
        tasks.cancel_scope.cancel()


def test_a_scenario_is_bounded() -> None:
    """More steps than the limit are refused."""
    with pytest.raises(SandboxError, match="at most 1000 steps"):
        commands.scenario([TimedAction(0, Clear())] * 1001)
