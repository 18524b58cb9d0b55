"""Transfers of files: the engine's jobs beside Telethon's own calls, in one run, as ratios.

    uv run python -m tests.bench.media [--megabytes N] [--rounds N] [--latency S]

The datacenter is another process, on loopback; its answers to ``upload.*`` come at once, and then so much later, as
over a network. Each contender fetches one file and sends one. The job makes its checkpoints in ``engine.db`` and syncs
its file; Telethon does neither. The order of the contenders changes from round to round; a ratio is of the same round.
"""

import argparse
import logging
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

import anyio
from attrs import frozen
from telethon import TelegramClient
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession, StringSession

from adapters.sandbox import Fault, FaultKind, SandboxFile, SandboxProcess
from engine import Engine
from tests.bench.table import Table, Target, add_option, hand_over

CHANNEL = "bench_files"
PHONES = ("+9996620001", "+9996620002")
JOB, BARE = "the engine's job", "Telethon's own call"
WAYS = ("download", "upload")


@frozen
class Taken:
    """What one transfer took, in seconds."""

    wall: float
    cpu: float


Work = Callable[[Path], Awaitable[None]]
Measured = Mapping[tuple[str, str, str], list[Taken]]
"""By way, latency and contender."""


async def run(megabytes: int, rounds: int, latency: float) -> tuple[Measured, float]:
    """Measure everything; return it, with the most memory that the process had (MB)."""
    found: defaultdict[tuple[str, str, str], list[Taken]] = defaultdict(list)
    size = megabytes * 1_000_000
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-media-")))
        sandbox = await stack.enter_async_context(SandboxProcess.start(directory))
        await sandbox.create_channel(CHANNEL, "Files", members=PHONES, admins=PHONES)
        number = await sandbox.send_file(f"@{CHANNEL}", SandboxFile(size=size, name="film", seed=1))
        source = directory / "source"
        source.write_bytes(bytes(1024) * (size // 1024))
        engine = await stack.enter_async_context(Engine.from_config(await _config(sandbox, directory)))
        await engine.account("Account 1").ready()
        session = StringSession()
        session.set_dc(sandbox.dc_id, "127.0.0.1", sandbox.port)
        session.auth_key = AuthKey(await sandbox.authorize(PHONES[1]))
        client = TelegramClient(session, 1, "0" * 32)
        await client.connect()
        stack.push_async_callback(client.disconnect)
        contenders = _contenders(engine, client, number, source)
        for delay, called in ((0.0, "at once"), (latency, f"after {latency * 1000:.0f} ms")):
            await sandbox.clear()
            if delay:
                await sandbox.inject(Fault(FaultKind.SLOW, request="upload.*", seconds=delay))
            for turn in range(rounds):
                for way in WAYS:
                    for name in (JOB, BARE) if turn % 2 else (BARE, JOB):
                        into = directory / f"{way}-{turn}-{delay}-{name[:3]}"
                        into.mkdir()
                        found[way, called, name].append(await _timed(contenders[way, name], into))
                        _check(way, into, size)
    return found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _contenders(engine: Engine, client: Any, number: int, source: Path) -> dict[tuple[str, str], Work]:
    async def job(kind: str, data: dict[str, Any]) -> None:
        done = await engine.finished(await engine.add_job(kind, {"chat": f"@{CHANNEL}", **data}))
        assert done.state.value == "done", done.detail

    async def job_download(into: Path) -> None:
        await job("download", {"message": number, "into": str(into)})

    async def job_upload(_: Path) -> None:
        await job("upload", {"path": str(source)})

    async def bare_download(into: Path) -> None:
        message = await client.get_messages(CHANNEL, ids=number)
        await client.download_media(message, file=str(into / "film"))

    async def bare_upload(_: Path) -> None:
        await client.send_file(CHANNEL, str(source), force_document=True)

    return {
        ("download", JOB): job_download,
        ("upload", JOB): job_upload,
        ("download", BARE): bare_download,
        ("upload", BARE): bare_upload,
    }


async def _timed(work: Work, into: Path) -> Taken:
    wall, cpu = time.perf_counter(), time.process_time()
    await work(into)
    return Taken(time.perf_counter() - wall, time.process_time() - cpu)


def _check(way: str, into: Path, size: int) -> None:
    """Raise ``AssertionError`` unless a download is there, whole; delete it."""
    there = list(into.iterdir())
    assert [each.stat().st_size for each in there] == ([size] if way == "download" else [])
    for each in there:
        each.unlink()


async def _config(sandbox: SandboxProcess, directory: Path) -> Path:
    session = SQLiteSession(str(directory / "account1.session"))
    session.set_dc(sandbox.dc_id, "127.0.0.1", sandbox.port)
    session.auth_key = AuthKey(await sandbox.authorize(PHONES[0]))
    session.save()
    session.close()
    key, config = directory / "key.pem", directory / "config.yaml"
    key.write_text(sandbox.public_key)
    config.write_text(
        f"telegram: {{api_id: 1, api_hash: {'0a' * 16}, datacenter: {{id: {sandbox.dc_id}, host: 127.0.0.1, "
        f"port: {sandbox.port}, public_key: key.pem}}}}\n"
        "storage: {directory: engine-data}\naccounts: [{name: Account 1, session: account1}]\n"
    )
    return config


def tables(found: Measured, megabytes: int, memory: float) -> list[Table]:
    """Return a table of what was measured, with its targets."""
    rows, targets = [], []
    for way, called in dict.fromkeys((way, called) for way, called, _ in found):
        pairs = list(zip(found[way, called, JOB], found[way, called, BARE], strict=True))
        faster = median(bare.wall / job.wall for job, bare in pairs)
        dearer = median(job.cpu / bare.cpu for job, bare in pairs)
        for name, ratios in ((JOB, [f"{faster:.2f} ×", f"{dearer:.2f} ×"]), (BARE, ["1", "1"])):
            taken = found[way, called, name]
            speed = megabytes / median(each.wall for each in taken)
            cpu = median(each.cpu for each in taken) / megabytes * 1000
            rows.append([f"{way}, answers {called}: {name}", f"{speed:.1f}", ratios[0], f"{cpu:.1f}", ratios[1]])
        least = None if called == "at once" else 1.5
        targets.append(Target(f"{way}, answers {called}: speed", faster, least=least, against=BARE))
        targets.append(Target(f"{way}, answers {called}: CPU", dearer, most=1.5, against=BARE))
    targets.append(Target("memory of the process, at most", memory, unit="MB"))
    head = ["", "MB/s", "ratio", "CPU ms/MB", "ratio"]
    return [Table(f"One file of {megabytes} MB", head, rows, targets)]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    add_option(parser)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found, memory = anyio.run(run, options.megabytes, options.rounds, options.latency)
    [table] = tables(found, options.megabytes, memory)
    hand_over(options.results, table.targets)
    print("\n".join(table.lines()))
    return 0 if all(target.kept for target in table.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
