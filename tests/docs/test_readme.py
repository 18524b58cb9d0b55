"""The README is short, its links lead somewhere, and its program runs."""

import re
import sys
from pathlib import Path

import anyio

from adapters.sandbox import Sandbox
from tests.engine.harness import COMPLAINTS, ROOT, EngineHarness
from tests.timeouts import TIMEOUT

README = ROOT / "README.md"
MAX_LINES = 150
PHONE = "+9996620001"
COMMANDS = (
    "pip install uv && uv run python -m engine run config.yaml --for 1m",
    "pip install uv && uv run pytest",
)


def test_the_readme_is_short() -> None:
    """It has at most 150 lines: the rest is in the documents."""
    assert len(README.read_text("utf-8").splitlines()) <= MAX_LINES


def test_the_two_commands_are_there() -> None:
    """Each stands in a block of its own, to be copied."""
    for command in COMMANDS:
        assert f"```sh\n{command}\n```" in README.read_text("utf-8")


def test_the_links_lead_somewhere() -> None:
    """Every file that the README and the other documents of the root link to exists, and so does every heading."""
    for page in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "examples/README.md"):
        text = (ROOT / page).read_text("utf-8")
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
        for link in links:
            name, _, heading = link.partition("#")
            target = (ROOT / page).parent / name
            assert target.exists(), f"{page}: {link}"
            assert not heading or heading in headings(target), f"{page}: {link}"


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    lines = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in lines}


async def test_the_program_runs(tmp_path: Path) -> None:
    """The README's program says whose account it is, sends a message once, and ends with 0."""
    [program] = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    harness = EngineHarness(tmp_path)
    (tmp_path / "program.py").write_text(program, "utf-8")
    async with Sandbox() as dc:
        harness.at(dc, PHONE)
        with anyio.fail_after(TIMEOUT):
            done = await anyio.run_process(
                [sys.executable, "-W", "error", "program.py"],
                cwd=tmp_path,
                env=harness.environment,
                check=False,
            )
        said = done.stderr.decode()
        assert done.returncode == 0, said
        assert not COMPLAINTS.search(said), said
        assert done.stdout.decode().splitlines() == [f"User {PHONE[1:]}", "done"]
        assert [message.text for message in dc.messages(PHONE)] == ["Hello"]
