"""A token file is made once, for this user alone, and used only while nobody else can read or change it."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapters.system import TokenUnusable, read_or_make_token


def fault(path: Path) -> str:
    """Return the sentence that says why the file cannot be used."""
    with pytest.raises(TokenUnusable) as caught:
        read_or_make_token(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    """For this user alone, and with nothing left beside it."""
    path = tmp_path / "web.token"
    token = read_or_make_token(path)
    assert len(token) >= 43
    assert read_or_make_token(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert read_or_make_token(tmp_path / "other.token") != token


def test_those_who_make_it_at_once_get_one_token(tmp_path: Path) -> None:
    """The engine and the command that prints the link, say."""
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(read_or_make_token, [tmp_path / "web.token"] * 32))
    assert len(found) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["web.token"]


def test_a_token_of_ones_own_is_read(tmp_path: Path) -> None:
    """Blanks around it are no part of it."""
    path = tmp_path / "web.token"
    path.touch(0o600)
    path.write_text("  a-token-of-my-own_1.~ \n")
    assert read_or_make_token(path) == "a-token-of-my-own_1.~"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o777])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """The token may be known already."""
    path = tmp_path / "web.token"
    token = read_or_make_token(path)
    path.chmod(mode)
    said = fault(path)
    assert f"its mode is {mode:o}" in said
    assert token not in said
    path.chmod(0o400)
    assert read_or_make_token(path) == token


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"short", "16 to 256"),
        (b"two words of it all", "16 to 256"),
        (b"x" * 5000, "16 to 256"),
        (b"<script>alert(1)</script>", "16 to 256"),
        ("ünlesbarünlesbar".encode(), "16 to 256"),
        (b"\xff\x00" * 20, "16 to 256"),
    ],
)
def test_what_is_no_token_is_refused_and_not_quoted(tmp_path: Path, content: bytes, why: str) -> None:
    """The engine does not write over what somebody else may have put there."""
    path = tmp_path / "web.token"
    path.touch(0o600)
    path.write_bytes(content)
    said = fault(path)
    assert why in said
    assert not content.strip() or content.decode("latin-1").strip() not in said
    assert path.read_bytes() == content


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A link to a good file, a directory, a pipe that nobody writes to."""
    real, link, pipe = tmp_path / "real.token", tmp_path / "link.token", tmp_path / "pipe.token"
    read_or_make_token(real)
    link.symlink_to(real)
    os.mkfifo(pipe)
    assert "a link is there" in fault(link)
    assert "a directory is there" in fault(tmp_path)
    assert "a pipe is there" in fault(pipe)
    dangling = tmp_path / "dangling.token"
    dangling.symlink_to(tmp_path / "nowhere")
    assert "a link is there" in fault(dangling)
    assert not (tmp_path / "nowhere").exists()


def test_a_place_where_it_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is missing, or that this user may not write to, or a full disk; nothing is left there."""
    assert "make its directory" in fault(tmp_path / "missing" / "web.token")
    assert "not a directory" in fault(Path("/dev/null/web.token"))
    (tmp_path / "sub").mkdir()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "no space left on device" in fault(tmp_path / "sub" / "web.token")
    assert list((tmp_path / "sub").iterdir()) == []


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Except of root, who can read all anyway."""
    path = tmp_path / "web.token"
    read_or_make_token(path)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner:
        assert "belongs to another user" in fault(path)
    else:
        os.chown(path, 12345, -1)
        assert "belongs to another user" in fault(path)
