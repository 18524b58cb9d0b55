"""Deliberate defects as patches, copies of the tree in which they are planted, and the search for who finds one.

A story is condemned only if it is clean in a copy without the patch: what a judge says of both is no finding.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Final

from attrs import frozen

from tests.simulation.children import CRASHED, NO_ANSWER
from tests.simulation.draw import draw
from tests.simulation.outcome import Outcome

ROOT: Final = Path(__file__).resolve().parents[3]
DIRECTORY: Final = Path(__file__).parent
TABLE: Final = DIRECTORY / "defects.toml"
RUN_TIMEOUT: Final = 600.0
"""Seconds of real time that a run may take."""
PACKAGES: Final = ("adapters", "engine", "states", "tests.simulation")


@frozen(kw_only=True)
class Defect:
    """One deliberate defect, as the table has it."""

    patch: str
    """The patch's file name without its ending, which begins with the defect's number."""
    part: str
    wrong: str
    """What is wrong, and how that comes about."""
    unit_tests: str
    """A test of the suite that fails with it, or which one was written because none did."""
    seed: int | None = None
    """A seed from 1 to 200 whose story finds it; None if none is known. Not all of those before it were run."""
    hours: float | None = None
    """How long that story is."""
    by: str = ""
    """The judge that condemns it."""
    missed: str = ""
    """Why it is not found, if it is not."""

    @property
    def file(self) -> Path:
        """The patch."""
        return DIRECTORY / f"{self.patch}.patch"


@frozen
class Finding:
    """A judge has condemned a run of a tree with a defect."""

    seed: int
    seeds: int
    """How many seeds had been run by then."""
    judge: str
    sentence: str


@frozen
class PlantedTree:
    """A copy of the committed tree."""

    path: Path

    def apply(self, patch: Path) -> None:
        """Apply a patch. Raises ``ValueError`` if it does not fit the tree any more."""
        environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(self.path.parent)}  # the copy is in no repository
        done = subprocess.run(
            ["git", "apply", str(patch)], cwd=self.path, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ValueError(f"{patch.name} does not fit the tree any more; make it anew: {done.stderr}")

    def python(
        self, *arguments: str, text: str = "", timeout: float = RUN_TIMEOUT
    ) -> "subprocess.CompletedProcess[str]":
        """Run this interpreter on the copy's packages."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.path,
            env={**environment, "PYTHONPATH": str(self.path), "PYTHONHASHSEED": "0"},
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def check_imports(self) -> None:
        """Raise ``RuntimeError`` unless the copy's own packages are those that are imported there."""
        asked = f"import importlib; [print(list(importlib.import_module(n).__path__)[0]) for n in {PACKAGES!r}]"
        done = self.python("-c", asked)
        found = done.stdout.split()
        if (
            done.returncode
            or len(found) != len(PACKAGES)
            or not all(each.startswith(f"{self.path}/") for each in found)
        ):
            raise RuntimeError(f"the copy in {self.path} imports other packages than its own: {found} {done.stderr}")

    def verdicts(self, story: str) -> list[tuple[str, str]]:
        """Run a story; return what judges and sentences condemn it. A run that does not come to an end is condemned."""
        try:
            done = self.python("-m", "tests.simulation", "--child", text=story)
        except subprocess.TimeoutExpired:
            return [(NO_ANSWER, f"no answer within {RUN_TIMEOUT:g} s")]
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            return [(CRASHED, lines[-1] if lines else f"the run ended with exit code {done.returncode}")]
        return [(verdict.judge, verdict.what) for verdict in Outcome.load(done.stdout).verdicts]


@contextmanager
def copied_tree(patch: Path | None = None) -> Iterator[PlantedTree]:
    """Copy the committed tree into a directory of its own, apply a patch to it, and yield it."""
    packed = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="holdfast-planted-") as directory:
        tree = PlantedTree(Path(directory).resolve())
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(tree.path, filter="data")
        if patch is not None:
            tree.apply(patch)
        yield tree


def read_table() -> list[Defect]:
    """Return all defects, by number."""
    return [Defect(**each) for each in tomllib.loads(TABLE.read_text(encoding="utf-8"))["defect"]]


def drawn_story(seed: int, hours: float) -> str:
    """Return the story of a seed, as JSON."""
    return draw(seed, hours).dump()


def find(
    tree: PlantedTree, clean: PlantedTree, *, first: int, seeds: int, hours: float, at_once: int = 1
) -> Finding | None:
    """Run stories in a tree with a defect until a judge condemns one that is clean without it."""

    def examine(seed: int) -> tuple[str, str] | None:
        story = drawn_story(seed, hours)
        condemned = tree.verdicts(story)
        also = {judge for judge, _ in clean.verdicts(story)} if condemned else set()
        return next((each for each in condemned if each[0] not in also), None)

    for start in range(first, first + seeds, at_once):
        batch = range(start, min(start + at_once, first + seeds))
        with ThreadPoolExecutor(at_once) as pool:
            for seed, verdict in zip(batch, pool.map(examine, batch), strict=True):
                if verdict is not None:
                    return Finding(seed, seed - first + 1, *verdict)
    return None
