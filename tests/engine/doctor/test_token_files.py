"""``doctor`` and the token files of the page: whether they can be used, with nothing made and nothing told of them."""

from pathlib import Path

from engine.config import load
from engine.doctor import web
from tests.engine.config.texts import HEAD, ONE

TOKEN = "a-token-that-nobody-is-told-0123456789"


def findings(folder: Path, section: str) -> list[tuple[bool | None, str]]:
    path = folder / "config.yaml"
    path.write_text(f"{HEAD}{ONE}{section}", "utf-8")
    return [(each.ok, str(each)) for each in web.check(load(path))]


def test_a_file_that_is_not_there_yet_is_well_and_is_not_made(tmp_path: Path) -> None:
    """The next run makes it; ``doctor`` changes nothing. Without a page there is nothing to say."""
    ((well, said),) = findings(tmp_path, "web: {listen: 127.0.0.1:0, token_file: t}\n")
    assert (well, "is made by the next run" in said) == (True, True)
    assert not (tmp_path / "t").exists()
    assert findings(tmp_path, "") == []


def test_a_file_that_others_may_read_is_wrong(tmp_path: Path) -> None:
    """The sentence has the path and what to do, and never the token."""
    token = tmp_path / "t"
    token.write_text(TOKEN)
    token.chmod(0o644)
    ((well, said),) = findings(tmp_path, "web: {listen: 127.0.0.1:0, token_file: t}\n")
    assert (well, "chmod 600" in said, str(token) in said, TOKEN in said) == (False, True, True, False)
    token.chmod(0o600)
    ((well, said),) = findings(tmp_path, "web: {listen: 127.0.0.1:0, token_file: t}\n")
    assert (well, "can be used" in said, TOKEN in said) == (True, True, False)


def test_a_file_that_cannot_be_read_is_wrong(tmp_path: Path) -> None:
    """A directory in its place is one sentence, too."""
    (tmp_path / "t").mkdir()
    ((well, said),) = findings(tmp_path, "web: {listen: 127.0.0.1:0, token_file: t}\n")
    assert (well, "the token cannot be read" in said) == (False, True), said
