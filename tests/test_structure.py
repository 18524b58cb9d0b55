"""The structure of the source: what the linters cannot say of it, and that they notice what they are there for."""

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.timeouts import TIMEOUT

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("adapters", "engine", "states")
SAME_NAME: dict[str, str] = {
    "Closed": "what a link and an incident are at their ends; each is one of its law's words, and no module has both",
    "Elapsed": "what a machine of states is told by its timer, and the law of incidents by its own; likewise",
}
"""Class names that may exist more than once, each with the reason."""
ESCAPES = {
    "engine/fleet/escape.py": "from adapters.sqlite import JournalWriter",
    "engine/console/escape.py": "from engine.app.run import run",
    "engine/attic/__init__.py": "",
    "adapters/system/escape.py": "from engine.paths import DATABASE",
    "states/escape.py": "from adapters.system import SystemClock",
    "adapters/sandbox/store/escape.py": "from adapters.sandbox.server.hub import Hub",
}
"""A new file that breaks the layers, and what is in it."""


def classes() -> dict[str, list[str]]:
    """Return the files of each class name, for classes at any depth."""
    found = defaultdict[str, list[str]](list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in re.findall(r"^ *class (\w+)[(:]", path.read_text(encoding="utf-8"), re.MULTILINE):
                found[name].append(path.relative_to(ROOT).as_posix())
    return found


def test_no_class_name_exists_twice() -> None:
    """A name leads a reader to one class, so it exists once in all packages."""
    twice = {name: paths for name, paths in classes().items() if len(paths) > 1}
    assert {name: paths for name, paths in twice.items() if name not in SAME_NAME} == {}
    assert set(SAME_NAME) <= set(twice), "an exception that is not needed any more"


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the import linter on a tree."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the packages, with the contracts."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_a_new_file_that_breaks_the_layers_is_noticed(tree: Path) -> None:
    """The contracts name packages, so files that were not there when they were written are held to them as well."""
    for path, text in ESCAPES.items():
        file = tree / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
    done = lint(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    names = [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in ESCAPES]
    assert [name for name in names if name not in done.stdout] == []


def test_the_packages_keep_the_layers(tree: Path) -> None:
    """The linter is content with the copy as it is, so what it finds in the other tests is what they put there."""
    done = lint(tree)
    assert done.returncode == 0, done.stdout + done.stderr
