"""Files in the sandbox, with the unmodified Telethon client: in messages, sent in parts, read in parts, elsewhere."""

import asyncio
import io
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from telethon import errors, events, functions, utils
from telethon.tl import types

from adapters.sandbox import Sandbox, SandboxError, SandboxFile, SandboxProcess
from adapters.sandbox.store.files import BLOCK, generated
from tests.adapters.sandbox.harness import ALICE, BOB, Connect, next_item

SIZE = 300_000
ELSEWHERE = 4
FILE = SandboxFile(size=SIZE, name="report.pdf", mime="application/pdf", seed=7)
PART = 4096


def location(message: Any) -> Any:
    """Return where the file of a message is."""
    return utils.get_input_location(message.media)[1]


def test_generated_content_is_the_same_in_any_pieces() -> None:
    """A part of it does not depend on where the parts before it ended."""
    whole = generated(3, 0, 3 * BLOCK)
    assert generated(3, BLOCK - 5, 11) == whole[BLOCK - 5 :][:11]
    assert generated(3, BLOCK, BLOCK) == whole[BLOCK : 2 * BLOCK]
    assert generated(4, 0, 10) != whole[:10]


async def test_a_file_in_a_channel_is_downloaded_with_its_name(connected: Connect) -> None:
    """A client sees name, size and type of a file in a message, and its download is the content."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News")
        await dc.send_file("@news", FILE, "a caption")
        [message] = await alice.get_messages("news")
        assert (message.message, message.file.name, message.file.size) == ("a caption", "report.pdf", SIZE)
        assert message.file.mime_type == "application/pdf"
        assert await alice.download_media(message, bytes) == generated(7, 0, SIZE)


async def test_a_photo_has_two_sizes_of_its_own(connected: Connect) -> None:
    """The large one is the content, and the small one its beginning."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        number = await dc.send_file(ALICE, SandboxFile(size=10_000, photo=True), sender=BOB)
        message = await alice.get_messages(f"user{BOB[1:]}", ids=number)
        assert len(await alice.download_media(message, bytes)) == 10_000
        assert len(await alice.download_media(message, bytes, thumb=0)) == 2048


async def test_a_file_elsewhere_is_found_by_migration(connected: Connect) -> None:
    """A request to the wrong datacenter names the right one, whose login is made from an exported one."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.open_dc(ELSEWHERE)
        await dc.create_channel("news", "News")
        await dc.send_file("@news", SandboxFile(size=SIZE, seed=1, dc=ELSEWHERE))
        [message] = await alice.get_messages("news")
        with pytest.raises(errors.FileMigrateError) as refused:
            await alice(functions.upload.GetFileRequest(location(message), 0, PART))
        assert refused.value.new_dc == ELSEWHERE
        assert await alice.download_media(message, bytes) == generated(1, 0, SIZE)


@pytest.mark.parametrize(
    ("offset", "limit", "error"),
    [
        (1024, PART, errors.OffsetInvalidError),
        (0, 1000, errors.LimitInvalidError),
        (0, 3 * PART, errors.LimitInvalidError),
        (0, 2 * 1024 * 1024, errors.LimitInvalidError),
        (1024 * 1024 - PART, 2 * PART, errors.LimitInvalidError),
    ],
)
async def test_a_part_must_be_one_that_telegram_gives(connected: Connect, offset: int, limit: int, error: Any) -> None:
    """Offsets and limits go by 4 KiB, a limit divides 1 MiB, and no part is across a boundary of 1 MiB."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News")
        await dc.send_file("@news", FILE)
        [message] = await alice.get_messages("news")
        with pytest.raises(error):
            await alice(functions.upload.GetFileRequest(location(message), offset, limit))


async def test_a_reference_expires_and_a_message_that_is_fetched_anew_has_the_next(connected: Connect) -> None:
    """FILE_REFERENCE_EXPIRED until the message is fetched again; the reference of another account is none at all."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc, BOB) as bob:
        await dc.create_channel("news", "News")
        await dc.send_file("@news", FILE)
        [message] = await alice.get_messages("news")
        [theirs] = await bob.get_messages("news")
        assert theirs.file.media.id == message.file.media.id
        dc.expire_file_references()
        with pytest.raises(errors.FileReferenceExpiredError):
            await alice(functions.upload.GetFileRequest(location(message), 0, PART))
        mixed = location(message)
        [message] = await alice.get_messages("news")
        mixed.file_reference = (await bob.get_messages("news"))[0].media.document.file_reference
        with pytest.raises(errors.FileReferenceInvalidError):
            await alice(functions.upload.GetFileRequest(mixed, 0, PART))
        assert await alice.download_media(message, bytes) == generated(7, 0, SIZE)


async def test_hashes_are_those_of_the_content(connected: Connect) -> None:
    """upload.getFileHashes has the SHA-256 of pieces of 128 KiB."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News")
        await dc.send_file("@news", FILE)
        [message] = await alice.get_messages("news")
        found = await alice(functions.upload.GetFileHashesRequest(location(message), 131072))
        content = generated(7, 0, SIZE)
        assert [(each.offset, each.limit) for each in found] == [(131072, 131072), (262144, SIZE - 262144)]
        assert found[0].hash == sha256(content[131072:262144]).digest()


async def test_what_is_uploaded_is_downloaded_by_the_other_side(connected: Connect) -> None:
    """A file that is sent in parts, a small one and a big one, arrives whole, in private chats and in groups."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice, connected(dc, BOB) as bob:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE, BOB])
        content = generated(9, 0, SIZE)
        sent = await alice.send_file(f"user{BOB[1:]}", io.BytesIO(content), caption="small", force_document=True)
        assert sent.file.size == SIZE
        [message] = await bob.get_messages(f"user{ALICE[1:]}")
        assert (message.message, await bob.download_media(message, bytes)) == ("small", content)
        big = await alice.upload_file(
            io.BytesIO(generated(5, 0, 10 * 1024 * 1024 + 1)), file_name="big", part_size_kb=512
        )
        assert isinstance(big, types.InputFileBig)
        await alice.send_file("talk", big, force_document=True)
        [message] = await bob.get_messages("talk")
        file = dc.file_of("@talk", message.id)
        assert file is not None
        assert (message.file.name, message.file.size) == ("big", 10 * 1024 * 1024 + 1)
        assert sha256(dc.content_of(file)).digest() == sha256(generated(5, 0, 10 * 1024 * 1024 + 1)).digest()


async def test_a_message_with_a_missing_part_is_refused(connected: Connect) -> None:
    """The part is named, and no message is there; nor of a file of which nothing was sent, or with a wrong checksum."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        for part in (0, 2):
            await alice(functions.upload.SaveFilePartRequest(5, part, bytes(1024)))
        for file, error in ((types.InputFile(5, 3, "a", ""), errors.FilePartMissingError),
                            (types.InputFile(6, 1, "a", ""), errors.FilePartsInvalidError)):  # fmt: skip
            with pytest.raises(error):
                await alice.send_file("talk", file, force_document=True)
        await alice(functions.upload.SaveFilePartRequest(7, 0, b"content"))
        with pytest.raises(errors.Md5ChecksumInvalidError):
            await alice.send_file("talk", types.InputFile(7, 1, "a", "0" * 32), force_document=True)
        assert dc.channel_messages("talk") == []


async def test_a_file_that_is_sent_twice_under_one_number_is_one_message(connected: Connect) -> None:
    """RANDOM_ID_DUPLICATE, as for text, also when the parts of the second attempt are not there."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        await alice(functions.upload.SaveFilePartRequest(5, 0, b"content"))
        media = types.InputMediaUploadedDocument(types.InputFile(5, 1, "a", ""), "text/plain", [])
        request = functions.messages.SendMediaRequest("talk", media, "", random_id=77)
        await alice(request)
        with pytest.raises(errors.RandomIdDuplicateError):
            await alice(request)
        assert len(dc.channel_messages("talk")) == 1


async def test_a_pushed_message_has_its_file(connected: Connect) -> None:
    """Members see the file in the update, without fetching the message."""
    async with Sandbox() as dc, connected(dc, ALICE) as alice:
        await dc.create_channel("news", "News", members=[ALICE])
        seen: asyncio.Queue[Any] = asyncio.Queue()
        alice.add_event_handler(seen.put, events.NewMessage(incoming=True))
        await alice.get_me()
        await dc.send_file("@news", FILE)
        assert (await next_item(seen)).file.size == SIZE


@pytest.mark.slow
async def test_files_outlive_the_process(connected: Connect, tmp_path: Path) -> None:
    """What was sent and what was put in are there again on the same state; the control connection can put them in."""
    async with SandboxProcess.start(tmp_path) as dc:
        await dc.open_dc(ELSEWHERE)
        await dc.create_channel("talk", "Talk", megagroup=True, members=[ALICE])
        number = await dc.send_file("@talk", SandboxFile(size=5000, name="x", seed=2, dc=ELSEWHERE))
        with pytest.raises(SandboxError, match="Datacenter 3 is not open"):
            await dc.send_file("@talk", SandboxFile(size=1, dc=3))
        await dc.expire_file_references()
    async with Sandbox(state=tmp_path) as dc, connected(dc, ALICE) as alice:
        await alice.send_file("talk", io.BytesIO(b"content"), force_document=True)
    async with Sandbox(state=tmp_path) as again, connected(again, ALICE) as alice:
        await again.open_dc(ELSEWHERE)
        second, first = await alice.get_messages("talk", limit=2)
        assert first.id == number
        assert await alice.download_media(second, bytes) == b"content"
        assert await alice.download_media(first, bytes) == generated(2, 0, 5000)
