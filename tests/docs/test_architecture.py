"""ARCHITECTURE.md and the documents like it lead to files that exist."""

import re

import pytest

from tests.engine.harness import ROOT


def read(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text("utf-8")


TEXT = read("ARCHITECTURE.md")
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/how-it-works.md", "docs/development.md")
PATHS = [
    (page, path)
    for page in PAGES
    for path in sorted(set(re.findall(r"`((?:states|adapters|engine|tools|tests|docs|examples)/[\w/.]*)`", read(page))))
]
MAX_WORDS = 1500
MAX_GLOSSARY = 20


@pytest.mark.parametrize(("page", "path"), PATHS)
def test_a_path_exists(page: str, path: str) -> None:
    """Each file and folder that a page names is there."""
    assert (ROOT / path).exists(), page


def test_a_file_of_the_table_exists() -> None:
    """In the table, the files that stand beside a folder are in that folder."""
    rows = re.findall(r"^\| ((?:`[\w/]+/`(?:, )?)+) \| (.*) \|$", TEXT, re.MULTILINE)
    assert len(rows) > 10
    for folders, what in rows:
        [first, *_] = re.findall(r"`([\w/]+/)`", folders)
        for name in re.findall(r"`(\w+\.py)`", what):
            assert (ROOT / first / name).exists(), f"{first}{name}"


def test_a_function_exists() -> None:
    """Where a function is named beside a file, it is in that file."""
    named = re.findall(r"`([\w/]+\.py)` \(`(\w+)`\)", TEXT)
    assert len(named) > 5
    for file, function in named:
        assert f"def {function}(" in read(file), f"{file}: {function}"


def test_it_stays_two_pages() -> None:
    """It is meant to be read at once, and its glossary has at most twenty words."""
    assert len(TEXT.split()) <= MAX_WORDS
    glossary = TEXT.split("## Glossary")[1]
    assert len(re.findall(r"^\| ", glossary, re.MULTILINE)) - 2 <= MAX_GLOSSARY
