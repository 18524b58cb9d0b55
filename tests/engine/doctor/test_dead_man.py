"""``doctor`` and the timer that ends a node at the end of its lease."""

import os
from pathlib import Path

import pytest

from engine.config import load
from engine.doctor import dead_man
from engine.doctor.findings import Finding
from tests.engine.config.texts import HEAD, ONE


def findings(folder: Path, storage: str) -> list[Finding]:
    path = folder / "config.yaml"
    path.write_text(f"{HEAD}{ONE}{storage}", "utf-8")
    return list(dead_man.check(load(path)))


def test_only_a_config_with_a_database_needs_the_timer(tmp_path: Path) -> None:
    """An engine that shares its accounts with nobody hears nothing of it."""
    assert findings(tmp_path, "") == []
    (found,) = findings(tmp_path, "storage: {database: 'postgresql://h/d'}\n")
    assert found.ok
    assert "ends a node at the end of its lease" in found.text


def test_process_one_of_a_container_is_advised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``doctor`` may be it while ``run`` is not, so nothing fails."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    (found,) = findings(tmp_path, "storage: {database: 'postgresql://h/d'}\n")
    assert found.ok is None
    assert "--init" in found.text
