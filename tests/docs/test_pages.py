"""The pages of the site: each is in its navigation, and the commands are all described."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclopts import App

import engine
from adapters.sandbox import FaultKind
from engine.cli import app
from engine.config import load
from tests.engine.harness import ROOT
from tools import page_picture
from tools.pictures import PICTURE, drawn

COMMANDS = (ROOT / "docs" / "commands.md").read_text("utf-8")


def commands(of: App, path: str = "") -> Iterator[tuple[str, App]]:
    """Yield each command that does something, with its words."""
    for name in of:
        if name.startswith("-"):
            continue
        inner, words = of[name], f"{path} {name}".strip()
        if inner.default_command is not None:
            yield words, inner
        yield from commands(inner, words)


ALL = dict(commands(app))


@pytest.mark.parametrize("words", ALL)
def test_a_command_and_its_options_are_described(words: str) -> None:
    """Each command has a heading, and each of its options is named below it."""
    assert f"\n## {words}\n" in COMMANDS
    text = COMMANDS.split(f"\n## {words}\n")[1].split("\n## ")[0]
    for argument in ALL[words].assemble_argument_collection():
        options = [name for name in argument.names if name.startswith("-")]
        if argument.field_info.is_keyword_only:
            assert any(name in text for name in options), f"{words}: {options}"


def test_every_fault_is_in_the_table() -> None:
    """The sandbox's page describes each fault, and the README counts them right."""
    text = (ROOT / "docs" / "sandbox.md").read_text("utf-8").split("## The faults")[1]
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(FaultKind)
    assert f"{len(FaultKind)} faults" in (ROOT / "README.md").read_text("utf-8")


def test_every_public_name_is_in_the_reference() -> None:
    """What ``engine`` gives to programs is on the page of the API, and nothing else of ``engine``."""
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    assert sorted(re.findall(r"^::: engine\.(\w+)$", text, re.MULTILINE)) == sorted(engine.__all__)


def pages(nav: list[Any]) -> Iterator[str]:
    """Yield the pages of a navigation."""
    for entry in nav:
        for target in entry.values():
            if isinstance(target, str):
                yield target
            else:
                yield from pages(target)


def test_every_page_is_in_the_navigation() -> None:
    """The navigation names each page once, and no page that does not exist."""
    config = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    there = sorted(page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md"))
    assert sorted(pages(config["project"]["nav"])) == there


def test_nothing_is_loaded_from_elsewhere() -> None:
    """Neither the site's settings nor its pictures name a server to load something from."""
    config = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    assert config["project"]["theme"]["font"] is False
    for picture in (ROOT / "docs" / "images").glob("*.svg"):
        assert not re.search(r"""(?:href|src)=["']http|url\(["']?http""", picture.read_text("utf-8")), picture.name


def test_the_picture_of_the_live_table_is_not_stale() -> None:
    """It is what the code that draws the table on a terminal would draw now."""
    assert drawn() == PICTURE.read_text("utf-8"), "run: python -m tools.pictures"


def test_the_picture_of_the_page_of_verify_is_not_stale() -> None:
    """It was taken of the page as it is now."""
    assert page_picture.is_current(), "run where a Chromium is: python -m tools.pictures"


@pytest.mark.parametrize("page", ["README.md", "docs/configuration.md"])
def test_the_config_for_telegram_itself_is_valid(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first config that a page shows can be loaded, and goes to Telegram with each account that it names."""
    [config, *_] = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    monkeypatch.setenv("API_HASH", "0" * 32)
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported" / "news.session").touch()
    (tmp_path / "config.yaml").write_text(config, "utf-8")
    loaded = load(tmp_path / "config.yaml")
    assert loaded.telegram.datacenter is None
    assert [account.name for account in loaded.accounts] == ["Account 1", "news"]


@pytest.mark.parametrize(
    ("page", "first"),
    [("docs/logging.md", "logging:"), ("docs/jobs.md", "work:\n  per_account"), ("docs/sandbox.md", "sandbox:")],
)
def test_a_section_that_a_page_shows_is_valid(page: str, first: str, tmp_path: Path) -> None:
    """Put into the config that comes with Holdfast in place of its own, it can be loaded."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    shown = [yaml.safe_load(block) for block in blocks if block.startswith(first)]
    assert shown
    document = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    for section in shown:
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(document | section), "utf-8")
        load(tmp_path / "config.yaml")
