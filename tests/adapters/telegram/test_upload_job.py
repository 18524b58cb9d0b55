"""The kind ``upload``: real client, real datacenter, real files."""

import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from telethon import errors
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession, StringSession

from adapters.own_places import OwnPlaces
from adapters.sandbox import Fault, FaultKind, Sandbox
from adapters.sandbox.store.files import generated
from adapters.telegram import upload_job
from adapters.telegram.classify import RequestDropped
from adapters.telegram.transfer_errors import TransferFailed, TransferRefused
from adapters.telegram.upload_job import Upload, UploadKind, part_size_of
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.test_requests import opened
from tests.adapters.telegram.transfers import CHANNEL, ME, TransferJob

SIZE = 700_000
CONTENT = generated(3, 0, SIZE)
upload = UploadKind()


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after each part, so that a small file has some."""
    monkeypatch.setattr(upload_job, "CHECKPOINT_SECONDS", 0.0)


def job_for(path: Path, content: bytes | None = CONTENT, **more: Any) -> TransferJob:
    """Return a job that sends a file, which is written first."""
    if content is not None:
        path.write_bytes(content)
    return TransferJob(Upload(chat=f"@{CHANNEL}", path=str(path), **more))


def sent(dc: Sandbox) -> list[tuple[str, str, bytes]]:
    """Return caption, name and content of each message with a file in the channel."""
    found = []
    for message in dc.channel_messages(CHANNEL):
        file = dc.file_of(f"@{CHANNEL}", message.id)
        assert file is not None
        found.append((message.text, file.name, dc.content_of(file)))
    return found


async def test_a_file_is_sent_with_its_name_and_caption(harness: DatacenterHarness, tmp_path: Path) -> None:
    """The message has the content, and the result its number; the job stays with its account."""
    async with harness as dc:
        await dc.create_channel(CHANNEL, "Files", admins=[ME])
        async with opened(harness) as link:
            job = job_for(tmp_path / "report.pdf", caption="monthly")
            result = await upload(job, link.client)
        [message] = dc.channel_messages(CHANNEL)
        assert sent(dc) == [("monthly", "report.pdf", CONTENT)]
        assert (result["message"], result["bytes"]) == (message.id, SIZE)
        assert job.reported[-1] == (SIZE, SIZE)
        assert job.stays


async def test_a_big_file_and_a_photo_are_sent_as_what_they_are(harness: DatacenterHarness, tmp_path: Path) -> None:
    """Above 10 MiB the parts are those of a big file; with ``photo`` the message has one."""
    async with harness as dc:
        await dc.create_channel(CHANNEL, "Files", admins=[ME])
        async with opened(harness) as link:
            big = generated(1, 0, upload_job.MAX_SMALL + 1)
            await upload(job_for(tmp_path / "big", big), link.client)
            await upload(job_for(tmp_path / "a.jpg", photo=True), link.client)
        assert "upload.saveBigFilePart" in dc.stats()["requests"]
        assert [content for _, _, content in sent(dc)] == [big, CONTENT]
        photo = dc.file_of(f"@{CHANNEL}", 2)
        assert photo is not None
        assert photo.photo


async def test_a_run_goes_on_with_the_parts_that_are_left(harness: DatacenterHarness, tmp_path: Path) -> None:
    """After a flood wait in the middle, parts that had arrived are not sent again, and the message is there once."""
    async with harness as dc:
        await dc.create_channel(CHANNEL, "Files", admins=[ME])
        async with opened(harness) as link:
            job = job_for(tmp_path / "report.pdf")
            real, numbers = link.client._call, []

            async def counting(sender: Any, request: Any, *rest: Any, **more: Any) -> Any:
                if type(request).__name__ == "SaveFilePartRequest":
                    numbers.append(request.file_part)
                    if len(numbers) == 4:
                        flood = {"code": 420, "text": "FLOOD_WAIT_30", "times": 1}
                        await dc.inject(Fault(FaultKind.RPC_ERROR, request="upload.*", **flood))
                return await real(sender, request, *rest, **more)

            link.client._call = counting
            with pytest.raises(errors.FloodWaitError):
                await upload(job, link.client)
            arrived = job.saved["parts"]
            assert 0 < arrived < 6
            link.client.holds._until.clear()
            numbers.clear()
            numbers += [0] * 10  # no other flood
            await upload(job, link.client)
        assert min(numbers[10:]) == arrived
        assert sent(dc) == [("", "report.pdf", CONTENT)]


@pytest.mark.parametrize("parts_first", [False, True], ids=["known by its number", "its parts are gone"])
async def test_a_message_whose_answer_is_lost_is_there_once(
    harness: DatacenterHarness, tmp_path: Path, parts_first: bool
) -> None:
    """The next run finds it by its ``random_id``, whether Telegram speaks of the number or of the parts first."""
    async with harness as dc:
        await dc.create_channel(CHANNEL, "Files", admins=[ME])
        job = job_for(tmp_path / "report.pdf", caption="once")
        async with opened(harness) as link:
            await dc.inject(Fault(FaultKind.RESET_AFTER, request="messages.sendMedia", times=1))
            with pytest.raises((RequestDropped, ConnectionError)):
                await upload(job, link.client)
        assert job.saved["sending"]
        (tmp_path / "again").mkdir()
        async with opened(DatacenterHarness(tmp_path / "again", dc)) as link:
            if parts_first:
                gone = {"code": 400, "text": "FILE_PARTS_INVALID", "times": 1}
                await dc.inject(Fault(FaultKind.RPC_ERROR, request="messages.sendMedia", **gone))
            else:
                (tmp_path / "report.pdf").unlink()  # nothing has to be read again
            result = await upload(job, link.client)
        [message] = dc.channel_messages(CHANNEL)
        assert sent(dc) == [("once", "report.pdf", CONTENT)]
        assert result["message"] == message.id


async def test_a_file_that_changes_while_it_is_sent_is_not_sent_mixed(
    harness: DatacenterHarness, tmp_path: Path
) -> None:
    """The attempt ends before the message; the next one sends the new content, under another number."""
    async with harness as dc:
        await dc.create_channel(CHANNEL, "Files", admins=[ME])
        async with opened(harness) as link:
            job, real, other = job_for(tmp_path / "report.pdf"), link.client._call, generated(4, 0, SIZE)

            async def changing(sender: Any, request: Any, *rest: Any, **more: Any) -> Any:
                if type(request).__name__ == "SaveFilePartRequest" and request.file_part == 3:
                    await anyio.Path(tmp_path / "report.pdf").write_bytes(other)
                return await real(sender, request, *rest, **more)

            link.client._call = changing
            with pytest.raises(TransferFailed, match="was changed while it was being sent"):
                await upload(job, link.client)
            assert dc.channel_messages(CHANNEL) == []
            first = job.saved["file_id"]
            link.client._call = real
            await upload(job, link.client)
        assert sent(dc) == [("", "report.pdf", other)]
        assert job.saved["file_id"] != first


async def test_a_file_that_becomes_shorter_while_it_is_sent_is_named(
    harness: DatacenterHarness, tmp_path: Path
) -> None:
    """No part is sent that is too short: Telegram's refusal would say nothing of the file."""
    async with harness as dc:
        await dc.create_channel(CHANNEL, "Files", admins=[ME])
        async with opened(harness) as link:
            job, real, sizes = job_for(tmp_path / "report.pdf"), link.client._call, set[int]()

            async def shortening(sender: Any, request: Any, *rest: Any, **more: Any) -> Any:
                if type(request).__name__ == "SaveFilePartRequest":
                    sizes.add(len(request.bytes))
                    os.truncate(tmp_path / "report.pdf", 100)
                return await real(sender, request, *rest, **more)

            link.client._call = shortening
            with pytest.raises(TransferFailed, match="was changed while it was being sent"):
                await upload(job, link.client)
        part = part_size_of(SIZE)
        assert sizes <= {part, SIZE % part}
        assert dc.channel_messages(CHANNEL) == []


async def test_what_must_not_be_sent_is_refused_before_anything_is(harness: DatacenterHarness, tmp_path: Path) -> None:
    """Logins under any name, the engine's own files, and what is no file: each by one sentence, without a request."""
    session = SQLiteSession(str(tmp_path / "a.session"))
    session.set_dc(2, "127.0.0.9", 443)
    session.auth_key = AuthKey(bytes(range(256)))
    session.save()
    text = StringSession.save(session)
    session.close()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "engine.db").write_bytes(b"anything")
    (tmp_path / "config.yaml").write_text("telegram: {}")
    os.link(tmp_path / "config.yaml", tmp_path / "linked.txt")
    (tmp_path / "copy.bin").write_bytes((tmp_path / "a.session").read_bytes())
    (tmp_path / "login.txt").write_text(text)
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a.session")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "closed").write_text("x")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", upload_job.MAX_PARTS_PREMIUM * upload_job.MAX_PART + 1)
    guarded = UploadKind(OwnPlaces.of([tmp_path / "config.yaml"], [tmp_path / "data"]))
    refused = {
        "a.session": "own files, or a login",
        "copy.bin": "holds the login",
        "login.txt": "holds a login as text",
        "data/engine.db": "own files",
        "config.yaml": "own files",
        "linked.txt": "own files",
        "empty": "is empty",
        "link": "a link is there",
        "pipe": "a pipe is there",
        ".": "a directory is there",
        "missing": "cannot be read",
        "huge": "takes at most",
    }
    async with harness as dc:
        await dc.create_channel(CHANNEL, "Files", admins=[ME])
        async with opened(harness) as link:
            for name, why in refused.items():
                job = TransferJob(Upload(chat=f"@{CHANNEL}", path=str(tmp_path / name)))
                kind = TransferRefused if "own files" in why or "holds" in why else TransferFailed
                with pytest.raises(kind, match=why) as caught:
                    await guarded(job, link.client)
                assert "\n" not in str(caught.value)
                assert job.kept == []
        assert not any(name.startswith(("upload.", "messages.sendMedia")) for name in dc.stats()["requests"])


async def test_two_gigabytes_are_the_most_without_premium(harness: DatacenterHarness, tmp_path: Path) -> None:
    """A larger file asks whether the account has premium, and says what the limit is."""
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", upload_job.MAX_PARTS * upload_job.MAX_PART + 1)
    async with harness as dc:
        await dc.create_channel(CHANNEL, "Files", admins=[ME])
        async with opened(harness) as link:
            job = TransferJob(Upload(chat=f"@{CHANNEL}", path=str(tmp_path / "large")))
            with pytest.raises(TransferFailed, match="without Telegram Premium sends at most 2,097 MB"):
                await upload(job, link.client)


@pytest.mark.parametrize(
    "size", [1, 100 * 1024 * 1024, 750 * 1024 * 1024 + 1, upload_job.MAX_PARTS * upload_job.MAX_PART]
)
def test_no_file_has_too_many_parts(size: int) -> None:
    """A part's size divides 512 KiB, and 4,000 of them are enough up to the limit."""
    part = upload_job.part_size_of(size)
    assert upload_job.MAX_PART % part == 0
    assert -(-size // part) <= upload_job.MAX_PARTS
