"""Sessions that are links, as secrets are mounted and shared."""

from pathlib import Path

from engine.config.values import to_session


def test_a_link_to_a_file_of_another_name_is_opened_by_the_link(tmp_path: Path) -> None:
    """Telethon opens it, too; the directory is the real one, so that one file has one path."""
    (tmp_path / "real").mkdir()
    (tmp_path / "blob").touch()
    (tmp_path / "real" / "a.session").symlink_to(tmp_path / "blob")
    (tmp_path / "way").symlink_to(tmp_path / "real")
    assert to_session("way/a", tmp_path) == tmp_path.resolve() / "real" / "a.session"


def test_a_link_to_a_session_is_that_session(tmp_path: Path) -> None:
    """So that two accounts cannot name one file in two ways."""
    (tmp_path / "b.session").touch()
    (tmp_path / "a.session").symlink_to(tmp_path / "b.session")
    assert to_session("a", tmp_path) == tmp_path.resolve() / "b.session"
