"""What commands say of ``storage.database``."""

from pathlib import Path

import pytest

from engine.cli.run import run


def test_run_refuses_a_database_that_it_cannot_use_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An engine that would keep everything in files says so in place of doing it, and shows no password."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "telegram: {api_id: 1, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}\n"
        "accounts: [{name: A, session: a}]\nstorage: {database: 'postgresql://u:secret@127.0.0.1:1/holdfast'}\n"
    )
    with pytest.raises(SystemExit) as ended:
        run(config)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "storage.database: this version cannot run on PostgreSQL yet; leave the key out" in said
    assert "secret" not in said
    assert not (tmp_path / "data").exists()
