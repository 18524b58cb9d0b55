"""What a node says of its config to the others."""

from pathlib import Path

from engine.app.node_details import digests_of
from engine.config import load
from tests.engine.config.texts import HEAD, ONE


def test_another_application_is_another_config(tmp_path: Path) -> None:
    """An account that moves would turn up at Telegram as another program with the same login."""
    path, found = tmp_path / "config.yaml", []
    for head in (HEAD, HEAD.replace("777", "778")):
        path.write_text(head + ONE, "utf-8")
        found.append(digests_of(load(path)))
    assert [name for name in found[0] if found[0][name] != found[1][name]] == ["telegram.api_id"]
