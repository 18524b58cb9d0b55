"""The deliberate defects fit the tree, say what they do, and one of them is really found."""

import ast
import re

import pytest

from tests.simulation.planted.planting import DIRECTORY, ROOT, Defect, copied_tree, read_table

DEFECTS = read_table()


def test_the_table_has_every_patch_once() -> None:
    """Each patch has its line, and each line its patch, in the order of their numbers."""
    assert [defect.file.name for defect in DEFECTS] == sorted(path.name for path in DIRECTORY.glob("*.patch"))
    assert [int(defect.patch.partition("-")[0]) for defect in DEFECTS] == list(range(1, len(DEFECTS) + 1))


def test_each_defect_is_found_or_has_a_reason() -> None:
    """The table has a seed and its judge for a defect, or says why there is none."""
    found = [defect.patch for defect in DEFECTS if defect.seed is not None and defect.hours and defect.by]
    missed = [defect.patch for defect in DEFECTS if defect.seed is None and defect.missed]
    assert sorted([*found, *missed]) == [defect.patch for defect in DEFECTS]


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """Return the sources that the patches concern."""
    named = {
        name for defect in DEFECTS for name in re.findall(r"^\+\+\+ b/(\S+)", defect.file.read_text("utf-8"), re.M)
    }
    return {name: (ROOT / name).read_text(encoding="utf-8") for name in named}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.patch)
def test_the_patch_fits_the_tree(defect: Defect, sources: dict[str, str]) -> None:
    """It is small, for one file of the product, finds its place in the present source, and changes what code does."""
    patch = defect.file.read_text(encoding="utf-8")
    (name,) = re.findall(r"^\+\+\+ b/(\S+)", patch, re.M)
    assert name.startswith(("adapters/", "engine/", "states/"))
    source = before = sources[name]
    hunks = re.split(r"^@@.*@@.*\n", patch, flags=re.M)[1:]
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert source.count(old) == 1, f"the patch does not fit {name} any more"
        source = source.replace(old, new)
    changed = [line for line in patch.splitlines() if re.match(r"[+-](?![+-])", line)]
    assert len(changed) <= 20
    assert ast.dump(ast.parse(source)) != ast.dump(ast.parse(before))


def test_a_copy_imports_its_own_packages() -> None:
    """What runs in a patched copy is the copy, wherever the interpreter has the product from."""
    defect = DEFECTS[0]
    with copied_tree(defect.file) as tree:
        tree.check_imports()
        (name,) = re.findall(r"^\+\+\+ b/(\S+)", defect.file.read_text(encoding="utf-8"), re.M)
        assert (tree.path / name).read_text(encoding="utf-8") != (ROOT / name).read_text(encoding="utf-8")
        with pytest.raises(ValueError, match="does not fit the tree any more"):
            tree.apply(defect.file)


CUT = """{"seed": 174, "hours": 0.25, "incidents": [{"at": 180, "kind": "process.power_cut", "seconds": 10}],
"workload": {"jobs": [{"at": 60, "kind": "steps", "seconds": 30, "steps": 3}]}}"""


@pytest.mark.slow
def test_a_planted_defect_is_found() -> None:
    """A power cut shows that a commit returned before it was on the disk; without the defect the story is clean."""
    (defect,) = (each for each in DEFECTS if each.patch == "28-journal-not-synced")
    with copied_tree(defect.file) as tree, copied_tree() as clean:
        assert {judge for judge, _ in tree.verdicts(CUT)} == {"nothing acknowledged is lost"}
        assert clean.verdicts(CUT) == []


LEFT = """{"seed": 1, "hours": 0.2, "incidents": [{"at": 300, "kind": "network.reset", "account": 1}]}"""
FORGOTTEN = """{"seed": 1, "hours": 1.5, "incidents": [{"at": 350, "kind": "network.reset", "account": 1}],
"workload": {"jobs": [{"at": 300, "kind": "steps", "account": 1, "seconds": 30, "steps": 3}]}}"""
REVOKED = """{"seed": 1, "hours": 0.4, "incidents": [
{"at": 300, "kind": "credentials.revoke", "account": 1, "seconds": 900, "value": "SESSION_REVOKED"},
{"at": 301, "kind": "network.reset", "account": 1}]}"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patch", "story", "judge"),
    [
        ("41-closing-leaves-a-task", LEFT, "nothing is left behind"),
        ("42-lost-run-is-forgotten", FORGOTTEN, "jobs come to their end"),
        ("43-dead-key-counts-as-unexpected", REVOKED, "a dead key is not used"),
    ],
)
def test_a_judge_has_what_it_needs_to_condemn(patch: str, story: str, judge: str) -> None:
    """The world sees enough of a real run for the judge of this defect."""
    with copied_tree(DIRECTORY / f"{patch}.patch") as tree:
        assert judge in {each for each, _ in tree.verdicts(story)}
