"""The kind ``download``: real client, real datacenter, real files."""

import asyncio
import gc
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import pytest
from telethon import errors

from adapters.own_places import OwnPlaces
from adapters.sandbox import Fault, FaultKind, SandboxFile
from adapters.sandbox.store.files import generated
from adapters.telegram import download_job, transfer_files
from adapters.telegram.classify import DatacenterLost
from adapters.telegram.download_job import Download, DownloadKind
from adapters.telegram.transfer_errors import TransferFailed, TransferRefused
from tests.adapters.telegram.harness import DatacenterHarness
from tests.adapters.telegram.transfers import (
    CHANNEL,
    ELSEWHERE,
    FILE,
    ME,
    OTHER,
    SIZE,
    TransferJob,
    files_in,
    with_message,
)

CONTENT = generated(7, 0, SIZE)
DIGEST = sha256(CONTENT).hexdigest()
download = DownloadKind()
GET = "upload.getFile"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after each part, so that a small file has some."""
    monkeypatch.setattr(download_job, "CHECKPOINT_SECONDS", 0.0)


def job_for(number: int, into: Path | str, **more: Any) -> TransferJob:
    """Return a job that fetches the file of one message."""
    return TransferJob(Download(chat=f"@{CHANNEL}", message=number, into=str(into), **more))


@pytest.mark.parametrize("place", [None, ELSEWHERE], ids=["at home", "elsewhere"])
async def test_a_file_is_fetched_whole(harness: DatacenterHarness, tmp_path: Path, place: int | None) -> None:
    """From the account's datacenter and from another one: content, name, digest, permissions, and nothing beside it."""
    async with with_message(harness, SandboxFile(size=SIZE, name="report.pdf", seed=7, dc=place)) as (_, link, number):
        job = job_for(number, tmp_path / "new" / "media")
        result = await download(job, link.client)
    path = tmp_path / "new" / "media" / f"{number}-report.pdf"
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o600
    assert files_in(path.parent) == [path.name]
    assert job.results == [
        {"message": number, "path": str(path), "bytes": SIZE, "sha256": DIGEST, "fetched": True}
    ]  # fmt: skip
    assert (result["files"], result["bytes"]) == (1, SIZE)
    assert job.reported[-1] == (SIZE, SIZE)
    assert not job.stays


async def test_a_run_goes_on_where_the_one_before_was_cut_off(harness: DatacenterHarness, tmp_path: Path) -> None:
    """After a flood wait in the middle, only what is missing is asked for, and the whole is intact."""
    async with with_message(harness) as (dc, link, number):
        job = job_for(number, tmp_path)
        await dc.inject(Fault(FaultKind.SLOW, request=GET, seconds=0.01))
        await _cut_off(dc, link, job)
        offset = job.saved["part"]["offset"]
        assert 0 < offset < SIZE
        link.client.holds._until.clear()
        asked = _spy(link)
        await download(job, link.client)
    assert min(asked) == offset
    assert (tmp_path / f"{number}-report.pdf").read_bytes() == CONTENT
    assert job.results[0]["sha256"] == DIGEST


async def test_a_file_that_was_changed_between_two_runs_begins_anew(harness: DatacenterHarness, tmp_path: Path) -> None:
    """What an earlier run has written is compared with its checkpoint; other bytes there are not continued."""
    async with with_message(harness) as (dc, link, number):
        job = job_for(number, tmp_path)
        await _cut_off(dc, link, job)
        part = Path(job.saved["part"]["part"])
        part.write_bytes(b"x" + part.read_bytes()[1:])
        link.client.holds._until.clear()
        await download(job, link.client)
    assert (tmp_path / f"{number}-report.pdf").read_bytes() == CONTENT
    assert not part.exists()


async def test_bytes_are_on_the_disk_before_a_checkpoint_counts_them(
    harness: DatacenterHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut the file has at least what the checkpoint says: it is synced first, each time."""
    real, synced, counted = os.fsync, [0], []

    def noting(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    async with with_message(harness) as (_, link, number):
        job = job_for(number, tmp_path / "media")
        keep = job.checkpoint

        async def counting(mark: dict[str, Any], **more: Any) -> None:
            if mark["part"]:
                counted.append((mark["part"]["offset"], synced[-1]))
            await keep(mark, **more)

        job.checkpoint = counting  # type: ignore[method-assign]
        await download(job, link.client)
    assert len(counted) > 3
    assert all(offset <= safe for offset, safe in counted)


async def test_a_reference_that_expires_is_fetched_anew_once(harness: DatacenterHarness, tmp_path: Path) -> None:
    """The message is fetched once for all parts that were refused, and the transfer goes on at its offset."""
    async with with_message(harness) as (dc, link, number):
        job, real, count = job_for(number, tmp_path), link.client._call, 0

        async def expiring(sender: Any, request: Any, *rest: Any, **more: Any) -> Any:
            nonlocal count
            count += type(request).__name__ == "GetFileRequest"
            if count == 1:  # two parts are on their way
                dc.expire_file_references()
                count += 1
            return await real(sender, request, *rest, **more)

        link.client._call = expiring
        await download(job, link.client)
        fetched = dc.stats()["requests"]["channels.getMessages"]
    assert (tmp_path / f"{number}-report.pdf").read_bytes() == CONTENT
    assert fetched == 2


async def test_a_message_that_is_gone_meanwhile_is_told(harness: DatacenterHarness, tmp_path: Path) -> None:
    """Its file cannot be read without a reference; the sentence names the message."""
    async with with_message(harness) as (dc, link, number):
        dc.expire_file_references()
        job, real = job_for(number, tmp_path), link.client.get_messages
        found = await real(CHANNEL, ids=[number])
        found[0].media.document.file_reference = b""

        async def gone(*_: Any, ids: Any) -> Any:
            return found if isinstance(ids, list) else None

        link.client.get_messages = gone
        with pytest.raises(TransferFailed, match=f"message {number}, or its file, is not there any more"):
            await download(job, link.client)


async def test_a_connection_elsewhere_that_is_lost_is_made_again(harness: DatacenterHarness, tmp_path: Path) -> None:
    """A reset of the connection to the file's datacenter costs nothing; one after the other ends the attempt."""
    async with with_message(harness, SandboxFile(size=SIZE, name="report.pdf", seed=7, dc=ELSEWHERE)) as (
        dc,
        link,
        number,
    ):
        await dc.inject(Fault(FaultKind.RESET_AFTER, request=GET, times=1))
        await download(job_for(number, tmp_path), link.client)
        assert (tmp_path / f"{number}-report.pdf").read_bytes() == CONTENT
        await dc.inject(Fault(FaultKind.RESET_BEFORE, request=GET, times=100))
        with pytest.raises(DatacenterLost):
            await download(job_for(number, tmp_path / "other"), link.client)


async def test_a_connection_elsewhere_that_is_lost_is_no_unseen_exception(
    harness: DatacenterHarness, tmp_path: Path
) -> None:
    """Asyncio logs exceptions that nobody has looked at, with a traceback; why such a connection ended is none."""
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(str(context["message"])))
    file = SandboxFile(size=SIZE, name="report.pdf", seed=7, dc=ELSEWHERE)
    async with with_message(harness, file) as (dc, link, number):
        await dc.inject(Fault(FaultKind.RESET_BEFORE, request=GET, times=1))
        await download(job_for(number, tmp_path), link.client)
    gc.collect()
    assert said == []


async def test_several_messages_are_fetched_and_those_without_a_file_counted(
    harness: DatacenterHarness, tmp_path: Path
) -> None:
    """A range goes by ids, the ends included; each file is a result, and a second job fetches none of them again."""
    async with with_message(harness) as (dc, link, first):
        await dc.post(CHANNEL, "no file")
        photo = await dc.send_file(f"@{CHANNEL}", SandboxFile(size=9000, seed=1, photo=True))
        last = await dc.send_file(f"@{CHANNEL}", SandboxFile(size=50_000, seed=2, name="a.bin"))
        data = Download(chat=f"@{CHANNEL}", since=first + 1, until=last, into=str(tmp_path / "{chat}" / "{message}.x"))
        job = TransferJob(data)
        result = await download(job, link.client)
        assert (result["files"], result["bytes"], result["without"]) == (2, 59_000, 1)
        assert {total for _, total in job.reported[:-1]} == {None}  # nobody knows beforehand
        assert job.reported[-1] == (59_000, 59_000)
        assert job.settled == 2
        assert [each["message"] for each in job.results] == [photo, last]
        directory = tmp_path / str(result["chat"])
        assert (directory / f"{photo}.x").read_bytes() == generated(1, 0, 9000)
        again = TransferJob(data)
        asked = _spy(link)
        assert (await download(again, link.client))["there"] == 2
        assert (asked, files_in(directory)) == ([], [f"{photo}.x", f"{last}.x"])


async def test_messages_that_are_named_and_have_no_file_are_told(harness: DatacenterHarness, tmp_path: Path) -> None:
    """Nothing to fetch is no success."""
    async with with_message(harness) as (dc, link, _):
        number = await dc.post(CHANNEL, "no file")
        with pytest.raises(TransferFailed, match="none of the messages"):
            await download(
                TransferJob(Download(chat=f"@{CHANNEL}", messages=[number, 999], into=str(tmp_path))), link.client
            )


async def test_a_file_that_cannot_be_had_does_not_keep_the_others(harness: DatacenterHarness, tmp_path: Path) -> None:
    """Of several, it is a result with its reason, and nothing of it is left over; alone, it fails the job."""
    async with with_message(harness) as (dc, link, first):
        second = await dc.send_file(f"@{CHANNEL}", SandboxFile(size=5000, seed=2, name="a.bin"))
        for data in ({"messages": [first, second]}, {"message": first}):
            await dc.inject(Fault(FaultKind.RPC_ERROR, request=GET, code=400, text="LOCATION_INVALID", times=1))
            link.client._call = _one_at_a_time(link.client._call)
            job = TransferJob(Download(chat=f"@{CHANNEL}", into=str(tmp_path / "media"), **data))
            if "message" in data:
                with pytest.raises(TransferFailed, match="does not have report"):
                    await download(job, link.client)
            else:
                result = await download(job, link.client)
                assert (result["files"], result["failed"]) == (1, 1)
                assert "report.pdf" in job.results[0]["why"]
                assert files_in(tmp_path / "media") == [f"{second}-a.bin"]


async def test_a_size_that_no_file_has_is_told_and_keeps_nobody(harness: DatacenterHarness, tmp_path: Path) -> None:
    """A message that says so is one result of several."""
    async with with_message(harness) as (dc, link, first):
        second = await dc.send_file(f"@{CHANNEL}", SandboxFile(size=5000, seed=2, name="a.bin"))
        found = await link.client.get_messages(CHANNEL, ids=[first, second])
        found[0].media.document.size = -5

        async def hostile(*_: Any, **__: Any) -> Any:
            return found

        link.client.get_messages = hostile
        job = TransferJob(Download(chat=f"@{CHANNEL}", into=str(tmp_path / "media"), messages=[first, second]))
        await download(job, link.client)
    assert "has -5 bytes" in job.results[0]["why"]
    assert files_in(tmp_path / "media") == [f"{second}-a.bin"]


async def test_a_message_that_has_another_file_by_now_leaves_nothing_of_the_old_one(
    harness: DatacenterHarness, tmp_path: Path
) -> None:
    """What an earlier run has written of the old file is deleted, and the new one is fetched from its beginning."""
    async with with_message(harness) as (dc, link, number):
        job = job_for(number, tmp_path / "media")
        await _cut_off(dc, link, job)
        job.kept[-1]["part"]["file"] += 1
        link.client.holds._until.clear()
        await download(job, link.client)
    assert files_in(tmp_path / "media") == [f"{number}-report.pdf"]
    assert (tmp_path / "media" / f"{number}-report.pdf").read_bytes() == CONTENT


async def test_nothing_of_somebody_else_is_overwritten(harness: DatacenterHarness, tmp_path: Path) -> None:
    """A name that another file, a link or a directory has gets a number, also if it is taken meanwhile."""
    async with with_message(harness) as (_, link, number):
        (tmp_path / f"{number}-report.pdf").write_text("mine")
        (tmp_path / f"{number}-report (2).pdf").symlink_to(tmp_path / "nowhere")
        (tmp_path / f"{number}-report (3).pdf").mkdir()
        job = job_for(number, tmp_path)
        real = link.client._call

        async def taking(sender: Any, request: Any, *rest: Any, **more: Any) -> Any:
            if type(request).__name__ == "GetFileRequest":
                (tmp_path / f"{number}-report (4).pdf").write_text("late")
            return await real(sender, request, *rest, **more)

        link.client._call = taking
        await download(job, link.client)
    assert job.results[0]["path"].endswith("report (4) (2).pdf")
    assert Path(job.results[0]["path"]).read_bytes() == CONTENT
    assert (tmp_path / f"{number}-report.pdf").read_text() == "mine"
    assert (tmp_path / f"{number}-report (4).pdf").read_text() == "late"


@pytest.mark.parametrize("named", [True, False], ids=["named", "in a range"])
async def test_a_message_that_is_deleted_between_two_runs_leaves_nothing(
    harness: DatacenterHarness, tmp_path: Path, named: bool
) -> None:
    """What an earlier run has written of its file is deleted, also if no other message has a file."""
    async with with_message(harness) as (dc, link, number):
        ids: dict[str, Any] = {"messages": [number]} if named else {"since": number}
        job = TransferJob(Download(chat=f"@{CHANNEL}", into=str(tmp_path / "media"), **ids))
        await _cut_off(dc, link, job)
        assert len(files_in(tmp_path / "media")) == 1
        link.client.holds._until.clear()
        await dc.delete(f"@{CHANNEL}", [number])
        if named:
            with pytest.raises(TransferFailed, match="none of the messages"):
                await download(job, link.client)
        else:
            assert (await download(job, link.client))["files"] == 0
        assert files_in(tmp_path / "media") == []


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without links"])
async def test_a_kill_between_the_last_byte_and_the_checkpoint_doubles_nothing(
    harness: DatacenterHarness, tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run after a kill at any of these moments finds the one whole file, on file systems without links, too."""
    if not links:
        monkeypatch.setattr(os, "link", _unlinkable)
    async with with_message(harness) as (_, link, number):
        for moment in range(3):
            media = tmp_path / str(moment)
            job = job_for(number, media)
            await download(job, link.client)
            [published] = list(media.iterdir())
            full = next(each for each in reversed(job.kept) if each["part"])
            assert full["part"]["offset"] == SIZE
            hidden = Path(full["part"]["part"])
            if moment == 1 and links:  # linked, and the hidden name is still there
                os.link(published, hidden)
            elif moment == 2:  # not published yet
                published.rename(hidden)
            job.kept, job.results = [full], []
            asked = _spy(link)
            await download(job, link.client)
            assert files_in(media) == [published.name]
            assert asked == []
            assert job.results[0]["sha256"] == DIGEST


def _unlinkable(*_: Any, **__: Any) -> None:
    raise OSError(95, "Operation not supported")


async def test_a_disk_without_room_is_told_before_anything_is_made(
    harness: DatacenterHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the directory and what is missing, and nothing is left there or asked for."""
    monkeypatch.setattr(transfer_files, "RESERVE_BYTES", 1 << 60)
    async with with_message(harness) as (_, link, number):
        asked = _spy(link)
        with pytest.raises(TransferFailed, match=r"MB free, and the rest of report.pdf needs 0.7 MB"):
            await download(job_for(number, tmp_path / "media"), link.client)
        assert (asked, files_in(tmp_path / "media")) == ([], [])


async def test_a_disk_that_fills_up_meanwhile_gets_its_room_back(
    harness: DatacenterHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is deleted, and the next attempt begins anew."""
    real, count = os.pwrite, 0

    def full(descriptor: int, data: Any, offset: int) -> int:
        nonlocal count
        count += 1
        if count == 3:
            raise OSError(28, "No space left on device")
        return real(descriptor, data, offset)

    async with with_message(harness) as (_, link, number):
        job = job_for(number, tmp_path / "media")
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(TransferFailed, match="is full"):
            await download(job, link.client)
        assert files_in(tmp_path / "media") == []
        await download(job, link.client)
    assert (tmp_path / "media" / f"{number}-report.pdf").read_bytes() == CONTENT


async def test_a_hostile_name_stays_in_the_directory(harness: DatacenterHarness, tmp_path: Path) -> None:
    """Paths, directions of writing and controls in a file's name lead nowhere, also through a template."""
    name = "../../etc/\u202egpj.\x00pas\nswd"
    async with with_message(harness, SandboxFile(size=10, seed=1, name=name)) as (_, link, number):
        await download(job_for(number, str(tmp_path / "{name}" / "{name}")), link.client)
        await download(job_for(number, str(tmp_path / "{message}.session")), link.client)
    assert (tmp_path / f"{number}_session").exists()
    assert (tmp_path / "gpj.passwd" / "gpj.passwd").read_bytes() == generated(1, 0, 10)


async def test_nothing_is_put_among_the_engines_own_files(harness: DatacenterHarness, tmp_path: Path) -> None:
    """A directory of the engine, and whatever is below it, is refused with a sentence."""
    guarded = DownloadKind(OwnPlaces.of([], [tmp_path / "data"]))
    async with with_message(harness) as (_, link, number):
        for into in (tmp_path / "data", tmp_path / "data" / "media", tmp_path / "x" / ".." / "data"):
            with pytest.raises(TransferRefused, match="among the engine's own files"):
                await guarded(job_for(number, into), link.client)
    assert not (tmp_path / "data").exists()


async def test_in_a_private_chat_the_job_stays_with_its_account(harness: DatacenterHarness, tmp_path: Path) -> None:
    """Each account has its own numbers there."""
    async with with_message(harness) as (dc, link, _):
        number = await dc.send_file(ME, FILE, sender=OTHER)
        job = TransferJob(Download(chat=f"@user{OTHER[1:]}", message=number, into=str(tmp_path)))
        await download(job, link.client)
    assert job.stays
    assert (tmp_path / f"{number}-report.pdf").read_bytes() == CONTENT


async def test_a_part_that_is_too_short_is_not_taken_for_the_end(harness: DatacenterHarness, tmp_path: Path) -> None:
    """A datacenter that gives less than it promised is told; the file is not published."""
    async with with_message(harness) as (_, link, number):
        job = job_for(number, tmp_path / "media")
        messages = await link.client.get_messages(CHANNEL, ids=[number])
        messages[0].media.document.size = SIZE + 5

        async def lying(*_: Any, **__: Any) -> Any:
            return messages

        link.client.get_messages = lying
        with pytest.raises(TransferFailed, match="and not"):
            await download(job, link.client)
        assert all(name.startswith(".holdfast-") for name in files_in(tmp_path / "media"))


@pytest.mark.parametrize(
    "data",
    [
        {"message": 1, "into": "media"},
        {"message": 1, "into": "/media/{message.__class__}"},
        {"message": 1, "into": "/media/{message!r}"},
        {"message": 1, "into": "/media/{"},
        {"message": 1, "messages": [2], "into": "/media"},
        {"into": "/media"},
        {"message": 0, "into": "/media"},
        {"messages": [], "into": "/media"},
        {"until": 0, "into": "/media"},
        {"since": 2**31, "into": "/media"},
        {"since": 9, "until": 8, "into": "/media"},
    ],
)
def test_data_that_cannot_be_used_are_refused_when_the_job_is_added(data: dict[str, Any]) -> None:
    """A relative path, a template with more than its fields, no message, ids that none has, too many ways to say it."""
    with pytest.raises(ValueError, match=r"\w"):
        Download(chat="@a", **data)


async def _cut_off(dc: Any, link: Any, job: TransferJob) -> None:
    """Run a job until a flood wait ends it in the middle."""
    real, count = link.client._call, 0

    async def limited(sender: Any, request: Any, *rest: Any, **more: Any) -> Any:
        nonlocal count
        if type(request).__name__ == "GetFileRequest":
            count += 1
            if count == 3:
                await dc.inject(Fault(FaultKind.RPC_ERROR, request=GET, code=420, text="FLOOD_WAIT_30", times=1))
        return await real(sender, request, *rest, **more)

    link.client._call = limited
    with pytest.raises(errors.FloodWaitError):
        await download(job, link.client)
    link.client._call = real


def _spy(link: Any) -> list[int]:
    """Return the offsets that are asked for from now on."""
    real, asked = link.client._call, []

    async def noting(sender: Any, request: Any, *rest: Any, **more: Any) -> Any:
        if type(request).__name__ == "GetFileRequest":
            asked.append(request.offset)
        return await real(sender, request, *rest, **more)

    link.client._call = noting
    return asked


def _one_at_a_time(real: Any) -> Any:
    """Return the way of requests with one part of a file on its way at a time."""
    turn = anyio.Lock()

    async def alone(sender: Any, request: Any, *rest: Any, **more: Any) -> Any:
        if type(request).__name__ != "GetFileRequest":
            return await real(sender, request, *rest, **more)
        async with turn:
            return await real(sender, request, *rest, **more)

    return alone
