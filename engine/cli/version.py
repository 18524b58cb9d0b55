"""The version that ``--version`` prints."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DISTRIBUTION = "holdfast-telegram"
"""What pip calls the project."""
PROJECT_FILE = Path(__file__).parents[2] / "pyproject.toml"
"""In a checkout, where the version is written."""


def version_line() -> str:
    """Return the installed version, or that of the checkout when the project runs without being installed."""
    try:
        return f"holdfast {version(DISTRIBUTION)}"
    except PackageNotFoundError:
        return f"holdfast {_of_checkout(PROJECT_FILE)}"


def _of_checkout(project_file: Path) -> str:
    """Return the version that a project file names; ``unknown`` if it cannot be read, or is another project's."""
    try:
        project = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
        return str(project["version"]) if project["name"] == DISTRIBUTION else "unknown"
    except (OSError, ValueError, KeyError):
        return "unknown"
