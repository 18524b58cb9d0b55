"""``backup`` and ``restore``: everything that an engine needs, in one file."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from engine import paths
from engine.cli.common import (
    DEFAULT_CONFIG,
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    AsJson,
    fail,
    is_config,
    reporting_errors,
    say,
)
from engine.cli.declared import Parameter
from engine.config import Config, ConfigError, DatacenterConfig, SandboxConfig, load
from engine.console.format import date_and_time, iso
from engine.console.safe_text import json_text
from engine.console.shell import engine_command

if TYPE_CHECKING:
    from adapters.archive.manifest import ArchiveMember, Manifest
    from adapters.archive.pack import Source
    from adapters.archive.restore import Restored

SANDBOX_FILES = ("sandbox.db", "dc.pem", "dc.pub.pem")
ConfigAndFile = Annotated[
    str,
    Parameter(name="[CONFIG] FILE", negative="", help="The config file (config.yaml), and the path of the archive."),
]


def backup(*words: ConfigAndFile, as_json: AsJson = False) -> None:
    """Copy config, engine.db and all session files into one new archive, even while the engine runs.

    It is as private as the logins in it. Sessions that nobody has logged in are left out; so is one that cannot be
    copied, which is said.

    Exit code 0 if it is done, 1 if it could not be done or lacks a session, 2 for a bad config.
    """
    with reporting_errors():
        path, target = _config_and_file(words)
        settings = load(path)
        os.umask(0o077)
        from adapters.archive.pack import pack  # noqa: PLC0415 - what reads command lines needs none of it
        from engine.cli.version import version_line  # noqa: PLC0415

        packed = pack(list(_sources(settings)), target, program=version_line())
        found = packed.manifest
        if settings.storage.database is not None:
            print(
                "⚠️ What nodes share is in the database, and not in the archive: sessions, journal and jobs. Back it up "
                "with PostgreSQL's pg_dump",
                file=sys.stderr,
            )
        if as_json:
            print(json_text({"archive": str(packed.path), "size": packed.size, **_as_json(found)}))
        else:
            say(f"✅ {packed.path}: {_summary(found)}; {_bytes(packed.size)}")
            for one in found.left_out:
                say(f"{'➖' if one.expected else '❌'} {one.account} is not in it: {one.why}")
        raise SystemExit(0 if all(one.expected for one in found.left_out) else EXIT_FAILED)


def restore(
    *words: ConfigAndFile,
    show: Annotated[bool, Parameter(name="--list", negative="", help="Only list what is in the archive.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put everything that is in an archive in its place, seen from the path of the config.

    All of it is checked before anything is replaced, and what was there is kept under another name. If it was
    interrupted, give it again. The engine must not run.

    Exit code 0 if it is done, 1 if it could not be done, 2 for a bad command line, 3 if something uses the data.
    """
    with reporting_errors():
        config, archive = _config_and_file(words)
        if show:
            from adapters.archive.unpack import read_manifest  # noqa: PLC0415 - as above

            _print_list(read_manifest(archive), as_json)
            return
        os.umask(0o077)
        from adapters.archive.restore import restore as put_back  # noqa: PLC0415 - as above
        from adapters.system import raise_limit  # noqa: PLC0415

        trusted, locks = _named_by(config)
        raise_limit(len(trusted))  # a lock on each session
        _print_restored(config, put_back(archive, config, trusted=trusted, locks=locks), as_json)


def _config_and_file(words: Sequence[str]) -> tuple[Path, Path]:
    """Return what ``[CONFIG] FILE`` says."""
    if not words or (len(words) == 1 and is_config(words[0])):
        fail(EXIT_BAD_INPUT, "name an archive, after the config if that is not config.yaml")
    if len(words) > 2:
        fail(EXIT_BAD_INPUT, f"{len(words)} words are too many; put a path with spaces in quotes")
    return Path(words[0]) if len(words) == 2 else DEFAULT_CONFIG, Path(words[-1])


def _sources(settings: Config) -> "Iterator[Source]":
    """Yield the files that belong into an archive of this config."""
    from adapters.archive.manifest import Role  # noqa: PLC0415 - as above
    from adapters.archive.pack import PlaceOf, Source, sources_of_sessions  # noqa: PLC0415

    place = PlaceOf(Path(os.path.realpath(settings.path.absolute().parent)))
    directory = settings.storage.directory
    yield Source(role=Role.CONFIG, path=settings.path, name="config.yaml", place="")
    rows = settings.storage.database is not None  # then a file is one that was taken out
    files = [(one.name, one.session) for one in settings.accounts if not rows or os.path.lexists(one.session)]
    yield from sources_of_sessions(files, place)
    database = directory / paths.DATABASE
    yield Source(role=Role.DATABASE, path=database, name="engine.db", place=place(database))
    if (key := _public_key(settings)) is not None:
        yield Source(role=Role.PUBLIC_KEY, path=key, name="datacenter.pem", place=place(key))
    for path in _sandbox_files(settings):
        if path.exists():
            yield Source(role=Role.SANDBOX, path=path, name=f"sandbox/{path.name}", place=place(path))


def _sandbox_files(settings: Config) -> list[Path]:
    if not isinstance(settings.telegram.datacenter, SandboxConfig):
        return []
    return [settings.storage.directory / paths.SANDBOX / name for name in SANDBOX_FILES]


def _public_key(settings: Config) -> Path | None:
    """Return the file with a datacenter's key; the config itself has only what is in it."""
    if not isinstance(settings.telegram.datacenter, DatacenterConfig):
        return None
    from engine.config.load import read_plain  # noqa: PLC0415 - for another datacenter alone
    from engine.config.values import to_path  # noqa: PLC0415

    plain: dict[str, Any] = read_plain(settings.path)
    return to_path(plain["telegram"]["datacenter"]["public_key"], settings.path.absolute().parent)


def _named_by(config: Path) -> tuple[list[Path], list[Path]]:
    """Return the files that the config on this machine names, and its engine's lock; none if it cannot be read."""
    try:
        settings = load(config)
    except ConfigError:
        return [], []
    files = [one.session for one in settings.accounts]
    files += [settings.storage.directory / paths.DATABASE, *_sandbox_files(settings)]
    if (key := _public_key(settings)) is not None:
        files.append(key)
    return files, [settings.storage.directory / paths.LOCK]


# --- what is printed -------------------------------------------------------------------------------------------------


def _print_list(found: "Manifest", as_json: bool) -> None:
    if as_json:
        print(json_text(_as_json(found)))
        return
    say(f"made {date_and_time(found.made)} by {found.program}: {_summary(found)}")
    for member in found.members:
        account = f"  {member.account}" if member.account else ""
        say(f"{_bytes(member.size):>9}  {member.name}  {member.place or 'the config'}{account}")
    for one in found.left_out:
        say(f"    not in it: {one.account}: {one.why}")


def _print_restored(config: Path, done: "Restored", as_json: bool) -> None:
    doctor = engine_command("doctor", config)
    if as_json:
        files = [
            {"place": str(each.target.path), "aside": each.aside and str(each.aside), "replaced": True}
            for each in done.placed
        ]
        files += [{"place": str(each.path), "aside": None, "replaced": False} for each in done.same]
        print(json_text({"files": files, "jobs_waiting": done.waiting_jobs, **_as_json(done.manifest)}))
        return
    for each in done.placed:
        aside = f"; what was there is in {each.aside}" if each.aside else ""
        say(f"✅ {each.target.path}{aside}")
    for target in done.same:
        say(f"✅ {target.path} was so already")
    if done.waiting_jobs:
        jobs = engine_command("jobs list", config, options=["--state", "queued"])
        count = "1 job" if done.waiting_jobs == 1 else f"{done.waiting_jobs:,} jobs"
        say(
            f"{count} waited when the backup was made. What was done since would be done again: look at the jobs "
            f"before the engine starts ({jobs}), and cancel what must not happen twice"
        )
    say(f"Everything of {date_and_time(done.manifest.made)} is in its place. Next: {doctor}")


def _summary(found: "Manifest") -> str:
    """Return in words what is in an archive."""
    sessions = sum(member.role == "session" for member in found.members)
    words = ["config"]
    words += [f"engine.db ({_bytes(member.size)})" for member in found.members if member.role == "database"]
    words.append(f"{sessions:,} session{'s' if sessions != 1 else ''}")
    if any(member.role == "sandbox" for member in found.members):
        words.append("the sandbox")
    return ", ".join(words)


def _as_json(found: "Manifest") -> dict[str, Any]:
    return {
        "made": iso(found.made),
        "program": found.program,
        "schema": found.schema,
        "members": [_member_as_json(member) for member in found.members],
        "left_out": [{"account": one.account, "why": one.why, "expected": one.expected} for one in found.left_out],
    }


def _member_as_json(member: "ArchiveMember") -> dict[str, Any]:
    return {
        "name": member.name,
        "role": member.role.value,
        "account": member.account or None,
        "place": member.place,
        "size": member.size,
        "sha256": member.sha256,
    }


def _bytes(size: int) -> str:
    """Return a size for people."""
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} B"
