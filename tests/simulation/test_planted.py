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
