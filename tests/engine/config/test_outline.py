"""What only reads a config sees the same accounts and files as the engine, and is refused for the same mistakes."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.file_names import misplaced_secret, name_problem, pasted_secret
from engine.config import ConfigError, load, load_outline
from engine.config.outline import read_outline
from engine.config.values import SessionPaths
from tests.engine.config.texts import API_HASH, BOT_TOKEN

RANDOM = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ" * 16
"""A text that has the look of a login."""
NAMES = st.sampled_from(
    (
        "A", "a", "Account 1", "Новости 📰", "x" * 64, "x" * 65, " A", "A ", "", "a\tb", API_HASH, BOT_TOKEN,
        RANDOM[:60], "u:p@h", "a:b", "http://x", RANDOM[:31], RANDOM[:40], "0" * 31, "0" * 32, "0" * 34, 7, None, True,
        ["A"],
    )
)  # fmt: skip
SESSIONS = st.sampled_from(
    (
        "a", "b", "a.session", "./a", "d/a", "d/../a", "D/a", "e/a", "d//a", "d/", "../x/a", "/", "/a", "/tmp/a", "~/a",
        "~nobody-x/a", "a b", " a", "a ", "", ".", "..", "...", ".a", ".session", "a.b", "a..session", "link", "loop",
        "dir", "copy", "é", "x*", "x" * 31, "x" * 32, "y" * 212, "y" * 213, "z/" * 60 + "a", API_HASH, f"d/{API_HASH}",
        BOT_TOKEN, RANDOM[:48], f"d/{RANDOM}", "a\0b", "a?", "[a]", "a:b", "u:p@h", 7, None, False, ["a"],
    )
)  # fmt: skip
ACCOUNT = st.fixed_dictionaries(
    {"name": NAMES, "session": SESSIONS},
    optional={
        "phone": st.sampled_from(["+9996620001", "x", "", 7, None]),
        "bot_token": st.sampled_from([BOT_TOKEN, None]),
    },
)
TELEGRAM = st.fixed_dictionaries(
    {},
    optional={
        "api_id": st.sampled_from([777, 0, 2**31 - 1, 2**31, "777", 1.0, True, None]),
        "api_hash": st.sampled_from([API_HASH, API_HASH.upper(), API_HASH[1:], 7, None]),
        "datacenter": st.sampled_from([None, "sandbox", "other", {}]),
    },
)
STORAGE = st.sampled_from([{}, None, [], {"directory": "data"}, {"directory": "d/.."}, {"directory": RANDOM}])
STORAGE |= st.sampled_from([{"directory": 7}, {"directory": ""}, {"keep": "90d"}, {"keep": 0}, {"dir": "x"}])
GOOD = {"api_id": 777, "api_hash": API_HASH}
CONFIGS = st.fixed_dictionaries(
    {
        "telegram": st.just(GOOD) | TELEGRAM,
        "accounts": st.lists(ACCOUNT, max_size=3) | st.sampled_from([None, {}, "x"]),
    },
    optional={"storage": STORAGE, "fleet": st.sampled_from([{}, {"stagger": "auto"}, {"stagger": "x"}])},
)


def written(folder: Path, config: object) -> Path:
    """Write a config."""
    path = folder / "config.yaml"
    path.write_text(json.dumps(config), "utf-8")
    return path


def compare(path: Path) -> None:
    """Read a config both ways."""
    try:
        whole = load(path)
    except ConfigError as exc:
        expected: object = exc.problems
    else:
        expected = (whole.path, whole.storage.directory, tuple(account.name for account in whole.accounts))
    try:
        outline = load_outline(path)
    except ConfigError as exc:
        found: object = exc.problems
    else:
        found = (outline.path, outline.directory, outline.names)
    assert found == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with session files, links, a link to a directory, and one file under two names."""
    folder = tmp_path_factory.mktemp("outline")
    (folder / "d").mkdir()
    (folder / "dir.session").mkdir()
    (folder / "D").symlink_to("d")
    (folder / "a.session").write_bytes(b"")
    (folder / "copy.session").hardlink_to(folder / "a.session")
    (folder / "link.session").symlink_to("a.session")
    (folder / "loop.session").symlink_to("loop.session")
    (folder / "x1.session").write_bytes(b"")
    return folder


@given(CONFIGS)
def test_the_outline_is_that_of_the_whole_config(folder: Path, config: object) -> None:
    """Whatever is written there, both readings give the same, or say the same."""
    compare(written(folder, config))


@given(st.lists(ACCOUNT, min_size=1, max_size=3))
def test_names_and_sessions_are_judged_alike(folder: Path, accounts: list[object]) -> None:
    """Names and session files that are wrong, odd, equal or linked are refused by both readings, or by none."""
    compare(written(folder, {"telegram": GOOD, "accounts": accounts}))


def test_a_plain_config_is_not_read_as_a_whole(tmp_path: Path) -> None:
    """A plain config of thousands of accounts has an outline of its own."""
    accounts = [{"name": f"Account {n}", "session": f"sessions/{n}", "phone": "+9996620001"} for n in range(2000)]
    found = read_outline({"telegram": GOOD, "accounts": accounts}, tmp_path / "config.yaml", SessionPaths(tmp_path))
    assert found.names[1999] == "Account 1999"


@pytest.mark.parametrize("directory", ["/tmp/" + RANDOM[:44], "/" + RANDOM[:47], "/srv/My Files" + RANDOM[:40]])
def test_a_directory_that_looks_random_is_judged_with_each_name(tmp_path: Path, directory: str) -> None:
    """A directory whose name could be a part of a login is judged as before."""
    accounts = [{"name": "A", "session": f"{directory}/Ab1cD2eF3g"}]
    compare(written(tmp_path, {"telegram": GOOD, "accounts": accounts}))


@given(st.text(max_size=60) | st.text("aB3:/@.=+_- ", max_size=60))
def test_a_harmless_text_is_no_secret(text: str) -> None:
    """What is passed over quickly is what no rule of secrets finds anything in."""
    for each in (text, RANDOM[: len(text)], text + "0" * 32):
        quick = len(each) < 32 and ":" not in each
        if quick:
            assert (misplaced_secret(each), pasted_secret(each)) == (None, None)
    assert name_problem("a" * 220) is None
    assert name_problem("a" * 221) is not None
    assert name_problem("é" * 111) is not None
