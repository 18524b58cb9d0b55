"""A file that the operator names for what a command makes."""

from pathlib import Path

import pytest

from tests.engine.commands import runs

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef}
accounts:
  - {name: News, session: one}
"""


@pytest.mark.parametrize("words", [("diagram", "-o"), ("status", "config.yaml", "--svg")])
def test_a_full_disk_is_told_with_the_files_name(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a write names no file by itself."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    run = runs(*words, capsys=capsys, within=tmp_path, monkeypatch=monkeypatch)
    assert run("/dev/full") == (1, "", "/dev/full: no space left on device; free some space\n")
