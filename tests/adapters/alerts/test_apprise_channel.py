"""Messages to addresses of Apprise: a real mail server, a real web server, deadlines, and no secret anywhere."""

import json
import logging
import threading
import time

import anyio
import pytest

from adapters.alerts.apprise_channel import AppriseChannel
from adapters.alerts.errors import AlertNotSent
from tests.adapters.alerts.servers import mail_server, web_server
from tests.timeouts import TIMEOUT

BODY = "Who: A <b> & Ü\nSince: 10:05\n\nWhat to do: log in again"


async def send(channel: AppriseChannel, *, key: str = "1", timeout: float = TIMEOUT, body: str = BODY) -> None:
    await channel.send(key=key, subject="❌ A needs you", body=body, tone="failure", data=b"{}", timeout=timeout)


async def test_a_mail_says_subject_and_body() -> None:
    """Line by line, with every letter, and no markup taken for any."""
    async with mail_server() as mails:
        await send(AppriseChannel(mails.address))
        (mail,) = mails.got
        assert mail["Subject"] == "❌ A needs you"
        assert mail["To"] == "ops@example.org"
        text = mails.text()
        for part in ("Who: A", "Ü", "Since: 10:05", "What to do: log in again"):
            assert part in text
        assert "<b>" not in text.replace("<b> &", "")


async def test_a_webhook_gets_subject_body_and_tone() -> None:
    """By the form of Apprise's JSON service."""
    with web_server() as hooks:
        await send(AppriseChannel(hooks.address))
        ((path, content),) = hooks.got
        found = json.loads(content)
        assert path == "/hook/verysecretpath"
        assert (found["title"], found["message"], found["type"]) == ("❌ A needs you", BODY, "failure")


async def test_a_refusal_says_why_without_the_address(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the error nor the log has a part of the address; not even at the level debug."""
    caplog.set_level(logging.DEBUG)
    with web_server() as hooks:
        hooks.status = 500
        with pytest.raises(AlertNotSent) as caught:
            await send(AppriseChannel(hooks.address))
    assert "500" in str(caught.value)
    assert "verysecretpath" not in str(caught.value) + caplog.text
    assert not [record for record in caplog.records if record.name.startswith(("apprise", "urllib3"))]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("json://127.0.0.1:1/verysecretpath", "(connection refused)"),
        ("json://no-such-host.invalid/verysecretpath", "(the name of the host is not known)"),
        ("mailto://user:verysecretpath@127.0.0.1:1?from=a@example.org&to=b@example.org", "(connection refused)"),
    ],
)
async def test_a_lost_connection_has_its_reason(address: str, why: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whether the port or the name is wrong, in words that show nothing of the address; the log stays as it was."""
    before = logging.getLogger("apprise").level
    with pytest.raises(AlertNotSent) as caught:
        await send(AppriseChannel(address))
    assert str(caught.value).endswith(why)
    assert "verysecretpath" not in str(caught.value) + caplog.text
    assert logging.getLogger("apprise").level == before


async def test_a_mail_server_that_refuses_is_a_failure() -> None:
    """A message counts as sent only if the server has taken it."""
    async with mail_server() as mails:
        mails.refuses = "554 no"
        with pytest.raises(AlertNotSent):
            await send(AppriseChannel(mails.address))
        mails.refuses = ""
        await send(AppriseChannel(mails.address))
        assert len(mails.got) == 1


async def test_nobody_listens() -> None:
    """A port without a server is a failure in words."""
    with web_server() as hooks:
        address = hooks.address
    with pytest.raises(AlertNotSent, match="onnection error"):
        await send(AppriseChannel(address))


async def test_a_server_that_does_not_answer_holds_up_nothing() -> None:
    """The deadline is kept, the loop turns meanwhile, and no second message starts beside the first."""
    with web_server() as hooks:
        hooks.answers.clear()
        channel = AppriseChannel(f"{hooks.address}?rto=60")
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.sleep(0.01)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn)
            with pytest.raises(AlertNotSent, match="no answer within"):
                await send(channel, timeout=0.2)
            with anyio.fail_after(TIMEOUT):
                while not hooks.got:
                    await anyio.sleep(0.01)
            with pytest.raises(AlertNotSent, match="no answer within"):
                await send(channel, key="2", timeout=0.05)
            tasks.cancel_scope.cancel()
        assert turns > 3
        assert len(hooks.got) == 1


async def test_a_message_that_arrives_late_is_not_sent_again() -> None:
    """The next try of the same message finds that it has arrived."""
    with web_server() as hooks:
        hooks.answers.clear()
        channel = AppriseChannel(f"{hooks.address}?rto=60")
        with pytest.raises(AlertNotSent):
            await send(channel, timeout=0.05)
        with anyio.fail_after(TIMEOUT):
            while not hooks.got:
                await anyio.sleep(0.01)
        hooks.answers.set()
        await send(channel)
        assert len(hooks.got) == 1
        await send(channel, key="2")
        assert len(hooks.got) == 2


def test_a_message_that_hangs_does_not_keep_the_process() -> None:
    """Its thread is a daemon: nothing waits for it at the end."""
    with web_server() as hooks:
        hooks.answers.clear()

        async def hang() -> None:
            with pytest.raises(AlertNotSent):
                await send(AppriseChannel(f"{hooks.address}?rto=60"), timeout=0.05)

        began = time.monotonic()
        anyio.run(hang)
        assert time.monotonic() - began < TIMEOUT
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "alert")


def test_the_address_is_in_no_repr() -> None:
    """A traceback with locals, or a repr of what holds the channel, shows none of it."""
    assert "secret" not in repr(AppriseChannel("json://localhost/secret"))
