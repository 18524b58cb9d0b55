"""``session backup`` and ``session restore``."""

import fnmatch
import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from adapters.session import OwnerLock
from adapters.session.backup import Backup, back_up, backups_of, last_good, put_in_place
from adapters.sqlite import StorageError
from engine import layout
from engine.cli.common import EXIT_BAD_INPUT, EXIT_FAILED, AsJson, ConfigPath, fail, told
from engine.config import Account, Config, load, nearest

app = App(name="session", help="Backups of session files.")


@app.command
def backup(
    config: ConfigPath = Path("config.yaml"),
    account: Annotated[str | None, Parameter(help="Only accounts whose name fits this pattern.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Copy session files into the backups, also while the engine runs; the seven newest of each are kept.

    Exit code 0 if all are copied, 1 if one could not be, 2 for an unknown account.
    """
    with told():
        settings = load(config)
        accounts = [one for one in settings.accounts if account is None or fnmatch.fnmatchcase(one.name, account)]
        if not accounts:
            names = [one.name for one in settings.accounts]
            fail(EXIT_BAD_INPUT, f"no account is named like {account!r}; {nearest(account or '', names)}")
        failed = False
        for one in accounts:
            try:
                path = back_up(one.session, _directory(settings), name=one.name)
            except StorageError as exc:
                failed = True
                _say(as_json, {"account": one.name, "error": str(exc)}, f"❌ {one.name}: {exc}")
            else:
                _say(as_json, {"account": one.name, "backup": str(path)}, f"✅ {one.name}: {path}")
        raise SystemExit(EXIT_FAILED if failed else 0)


@app.command
def restore(
    config: ConfigPath,
    account: Annotated[str, Parameter(help="An account's name.")],
    *,
    source: Annotated[
        Path | None, Parameter(name="--from", help="A backup, or any session file; the last good backup if left out.")
    ] = None,
    show: Annotated[bool, Parameter(name="--list", negative="", help="Only list the backups.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of an account's session file; what is there now is backed up, or set aside if damaged.

    Exit code 0 if it is done, 1 if it could not be done, 2 for an unknown account.
    """
    with told():
        settings = load(config)
        one = _account(settings, account)
        found = backups_of(_directory(settings), one.name)
        if show:
            for copy in found:
                _say(
                    as_json, _data(copy), f"{'✅' if copy.good else '❌'} {copy.at:%Y-%m-%d %H:%M:%S} UTC  {copy.path}"
                )
            return
        chosen = source or getattr(last_good(_directory(settings), one.name), "path", None)
        if chosen is None:
            fail(EXIT_FAILED, f"{one.name} has no good backup in {_directory(settings)}; log in again")
        if not chosen.exists():
            fail(EXIT_BAD_INPUT, f"{chosen}: there is no such file; see: python -m engine session restore --list")
        _put(settings, one, chosen, as_json)


def _put(settings: Config, one: Account, chosen: Path, as_json: bool) -> None:
    one.session.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = OwnerLock(one.session)
    lock.acquire()
    try:
        kept = _keep(settings, one)
        put_in_place(chosen, one.session)
    finally:
        lock.release()
    text = f"✅ {one.name}: {one.session} has the content of {chosen}"
    text += f"; what was there is in {kept}" if kept else ""
    _say(as_json, {"account": one.name, "restored": str(chosen), "kept": str(kept) if kept else None}, text)


def _keep(settings: Config, one: Account) -> Path | None:
    """Back up what is there now, if it is worth it: a damaged file is set aside when it is replaced."""
    try:
        return back_up(one.session, _directory(settings), name=one.name) if one.session.exists() else None
    except StorageError:
        return None


def _account(settings: Config, name: str) -> Account:
    for one in settings.accounts:
        if one.name == name:
            return one
    fail(EXIT_BAD_INPUT, f"there is no account {name!r}; {nearest(name, [one.name for one in settings.accounts])}")


def _directory(settings: Config) -> Path:
    return settings.storage.directory / layout.BACKUPS


def _data(copy: Backup) -> dict[str, Any]:
    return {"path": str(copy.path), "at": copy.at.isoformat(), "size": copy.size, "good": copy.good}


def _say(as_json: bool, data: dict[str, Any], text: str) -> None:
    print(json.dumps(data, ensure_ascii=False) if as_json else text)
