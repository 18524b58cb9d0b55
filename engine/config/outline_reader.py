"""How the sections of a config's outline are read; ``structure`` adds the others."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.outline import AccountConfig, DatacenterConfig, Outline, SandboxConfig, Storage, Telegram
from engine.config.reader import Reader
from engine.config.values import (
    describe,
    to_duration,
    to_int,
    to_optional_text,
    to_path,
    to_phone,
    to_public_key,
    to_text,
)

if TYPE_CHECKING:  # most accounts have none
    from engine.config.proxies import ProxyConfig


def outline_reader(folder: Path, to_session: Callable[[Any], Path]) -> Reader:
    """Return a reader of an ``Outline``; relative paths start at ``folder``."""
    reader = Reader()
    reader.add(str, to_text)
    reader.add(int, to_int)
    reader.add(float, to_duration)  # fields that are not durations are named where they are
    reader.add_section(Outline, with_storage)
    reader.add_section(Storage, _fill_directory, directory=lambda value: to_path(value, folder))
    reader.add_section(Telegram, datacenter=partial(_to_datacenter, reader))
    reader.add_section(DatacenterConfig, public_key=lambda value: to_public_key(value, folder))
    proxy = partial(_to_proxies, reader)
    reader.add_section(AccountConfig, session=to_session, phone=to_phone, bot_token=to_optional_text, proxy=proxy)
    return reader


def with_storage(given: dict[str, Any]) -> dict[str, Any]:
    """Return a config with a section ``storage``, whose default is relative to the file."""
    return {"storage": {}} | given


def _fill_directory(storage: dict[str, Any]) -> dict[str, Any]:
    return {"directory": str(Storage().directory)} | storage


def _to_datacenter(reader: Reader, value: Any) -> DatacenterConfig | SandboxConfig | None:
    match value:
        case None:
            return None
        case "sandbox":
            return SandboxConfig()
        case dict():
            return reader.read(value, DatacenterConfig)
        case _:
            raise ValueError(
                f"must be sandbox, or a mapping {{id, host, port, public_key}}, or left out, not {describe(value)}"
            )


def _to_proxies(reader: Reader, value: Any) -> "tuple[ProxyConfig | None, ...]":
    """Return the proxies of an account: none, one, or a list that is tried in order."""
    if value is None:
        return ()
    from engine.config.proxies import ProxyConfig, to_proxy  # noqa: PLC0415 - most accounts have none

    reader.add(ProxyConfig, to_proxy)
    match value:
        case []:
            raise ValueError("must have at least one proxy in its list, or be left out")
        case list():
            return tuple(reader.read(value, tuple[ProxyConfig, ...]))
        case _:
            return (to_proxy(value),)
