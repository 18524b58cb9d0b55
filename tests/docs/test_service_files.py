"""What is under ``deploy/`` and on its page is what service managers and the real command line understand."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cyclopts import CycloptsError

from engine.cli import app
from engine.cli.plain_line import plain_call
from engine.console.safe_text import json_text
from engine.console.status import EngineInfo, as_data
from states.incident import IncidentKind
from states.snapshot import Action
from tests.engine.harness import ROOT
from tests.timeouts import TIMEOUT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICE = (DEPLOY / "systemd" / "holdfast.service").read_text("utf-8")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")


def settings(unit: str) -> dict[str, list[str]]:
    """Return what a unit sets, by name; a name may come again."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def called() -> Iterator[str]:
    """Yield each command line of Holdfast's in the files."""
    for unit in UNITS:
        yield from re.findall(r"/opt/holdfast/bin/holdfast (.*?)(?:'|$)", unit.read_text("utf-8"), re.MULTILINE)
    yield from re.findall(r"holdfast (status .*?)\)\"", DOCKERFILE)
    words = re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", DOCKERFILE, re.MULTILINE)
    entry, command = (json.loads(each) for each in words)
    assert entry == ["holdfast"]
    yield shlex.join(command)


def shown() -> Iterator[str]:
    """Yield each command line of Holdfast's on the page for operators, in blocks and in the text."""
    blocks = re.findall(r"```sh\n(.*?)```", OPERATIONS, re.DOTALL)
    text = re.sub(r"```.*?```", "", OPERATIONS, flags=re.DOTALL)
    codes = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`]+)`", text)
    for code in codes:
        for part in re.split(r" && ", re.sub(r"\s+#.*$", "", code)):
            match = re.match(
                r"(?:uv run python -m engine|as-holdfast|in-holdfast|.* exec holdfast holdfast) (.+)", part
            )
            if match and not match[1].startswith("…"):
                yield match[1]


def understood(line: str) -> bool:
    """Return whether the real command line can read a line, option by option; nothing of it is done."""
    words = [re.sub(r"^(?:NUMBER|KIND)$", "1", word) for word in shlex.split(line)]
    if plain_call(words) is not None:
        return True
    try:
        app.parse_args(words, print_error=False, exit_on_error=False)
    except CycloptsError:
        return False
    return True


@pytest.mark.parametrize("line", [*called(), *sorted(set(shown()))])
def test_a_command_in_it_is_one(line: str) -> None:
    """The real command line reads it, option by option."""
    assert understood(line)


def test_a_command_that_is_none_is_noticed() -> None:
    """A word or an option that there is not, or a value that does not fit."""
    for line in ("statsu config.yaml", "status config.yaml --wach", "log config.yaml -n x", "incidents acknowledge 1"):
        assert not understood(line), line


def test_the_commands_were_found() -> None:
    """The patterns above find what they are to find."""
    assert {shlex.split(line)[0] for line in called()} == {"run", "reload", "backup", "status"}
    found = {shlex.split(line)[0] for line in shown()}
    assert found >= {
        "account", "alerts", "backup", "doctor", "incidents", "jobs", "log", "login", "pause", "reload", "restore",
        "resume", "retry", "session", "status", "whatif",
    }  # fmt: skip


def test_the_shell_reads_the_blocks_of_the_page() -> None:
    """Each of them is one that can be pasted."""
    for block in re.findall(r"```sh\n(.*?)```", OPERATIONS, re.DOTALL):
        subprocess.run(["/bin/sh", "-n"], input=block, text=True, check=True, timeout=TIMEOUT)


def test_every_kind_of_incident_is_in_the_runbook() -> None:
    """Once, in the law's order, each with what to look at and what to do; so is every action."""
    runbook = OPERATIONS.split("\n## Runbook\n")[1]
    sections = re.split(r"^### `(\w+)` \{ #[a-z-]+ \}$", runbook, flags=re.MULTILINE)[1:]
    assert sections[::2] == list(IncidentKind)
    for kind, text in zip(sections[::2], sections[1::2], strict=True):
        if kind == IncidentKind.NEEDS_PERSON:
            assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(Action)
        else:
            assert "\n- Look: " in text, kind
            assert "\n- Do: " in text, kind


def test_no_section_of_the_page_is_there_twice() -> None:
    """Headings are told apart, and links within the page lead to one of them."""
    headings = re.findall(
        r"^#+ (.*?)(?: \{ #([a-z-]+) \})?$", re.sub(r"```.*?```", "", OPERATIONS, flags=re.DOTALL), re.M
    )
    anchors = [given or re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title, given in headings]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\(#([^)]+)\)", OPERATIONS)) <= set(anchors)
    for page in (ROOT / "docs").glob("*.md"):
        links = re.findall(r"\]\(operations\.md#([^)]+)\)", page.read_text("utf-8"))
        assert set(links) <= set(anchors), page.name


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_understands_a_unit(unit: Path, tmp_path: Path) -> None:
    """``systemd-analyze verify`` finds nothing to say of it; programs that are not here have a stand-in."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze on this machine")
    for each in UNITS:
        text = each.read_text("utf-8")
        text = re.sub(r"^User=.*\n|^Group=.*\n", "", text, flags=re.MULTILINE)
        text = re.sub(r"/opt/holdfast/bin/holdfast|/usr/bin/find", "/bin/true", text)
        (tmp_path / each.name).write_text(text, "utf-8")
    try:
        done = subprocess.run(
            [analyze, "verify", "--man=no", "--recursive-errors=no", str(tmp_path / unit.name)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("systemd-analyze gives no answer here")
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert said == []
    if done.returncode != 0 and not said:
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr.strip()[:200]}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Type", "notify"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("CapabilityBoundingSet", ""),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
        ("RestartPreventExitStatus", "2 3"),
        ("LimitCORE", "0"),
    ],
)
def test_the_service_is_held_tight(name: str, value: str) -> None:
    """It writes to its own directory alone, gains no rights, and does not start again what no start mends."""
    assert settings(SERVICE)[name] == [value]


def test_the_service_stops_later_than_the_engine() -> None:
    """Nobody kills an engine that still closes its accounts: the grace is 15 s."""
    assert settings(SERVICE)["TimeoutStopSec"] == ["45s"]
    assert COMPOSE["services"]["holdfast"]["stop_grace_period"] == "45s"


def test_the_image_is_small_and_not_roots() -> None:
    """It is built in two stages, has a user of its own, one volume, and a health check."""
    assert len(re.findall(r"^FROM ", DOCKERFILE, re.MULTILINE)) == 2
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.findall(r"^VOLUME (.*)$", last, re.MULTILINE) == ["/data"]
    assert "HEALTHCHECK" in last
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split())


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (EngineInfo(running=True, pid=1, since=1.0), 0),
        (EngineInfo(running=True, pid=1, since=1.0, hangs=True), 1),
        (EngineInfo(running=False), 1),
    ],
)
def test_the_health_check_counts_a_missing_engine_and_one_that_hangs(info: EngineInfo, expected: int) -> None:
    """Its shell line ends with 1 for what ``status --json`` says of these two, and with 0 for the rest."""
    [check] = re.findall(r"^    CMD (case .*)$", DOCKERFILE, re.MULTILINE)
    said = shlex.quote(json_text(as_data(info, {})))
    for code in (0, 1, 2, 3):
        script = f"holdfast() {{ echo {said}; return {code}; }}; {check}"
        assert subprocess.run(["/bin/sh", "-c", script], check=False, timeout=TIMEOUT).returncode == expected


def test_the_containers_have_no_more_than_they_need() -> None:
    """A read-only root, no capabilities, ports on loopback alone, and files that are there."""
    for name, service in COMPOSE["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), volume
    engine = COMPOSE["services"]["holdfast"]
    assert engine["read_only"] is True
    assert engine["volumes"] == ["data:/data"]
    assert engine["ulimits"]["core"] == 0
    assert (DEPLOY / engine["build"]["context"]).resolve() == ROOT
    assert (ROOT / engine["build"]["dockerfile"]).exists()


def test_the_containers_find_each_other() -> None:
    """Prometheus asks the engine, and Grafana asks Prometheus, by the names and ports of the compose file."""
    services = COMPOSE["services"]
    ports = {name: {port.split(":")[-1] for port in service["ports"]} for name, service in services.items()}
    scrapes = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text("utf-8"))["scrape_configs"]
    targets = [target for scrape in scrapes for each in scrape["static_configs"] for target in each["targets"]]
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text("utf-8"))
    urls = [source["url"].removeprefix("http://") for source in sources["datasources"]]
    assert len(targets) == len(urls) == 1
    for address, asked in ((targets[0], "holdfast"), (urls[0], "prometheus")):
        name, port = address.split(":")
        assert (name, port in ports[name]) == (asked, True)
    assert "web: {listen: 0.0.0.0:8080}" in (DEPLOY / "compose.yaml").read_text("utf-8")
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/holdfast.yaml").read_text("utf-8"))[
        "providers"
    ]
    assert f"./grafana:{provider['options']['path']}:ro" in services["grafana"]["volumes"]


def test_prometheus_understands_its_files() -> None:
    """Its own promtool finds nothing wrong with the config and the rules, where there is one."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool on this machine (Debian has it in the package prometheus)")
    config = str(DEPLOY / "prometheus" / "prometheus.yaml")
    done = subprocess.run(
        [promtool, "check", "config", config], check=False, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    assert "rules found" in done.stdout


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.yaml")), ids=lambda path: path.name)
def test_a_yaml_file_can_be_read(path: Path) -> None:
    """It is YAML, with one mapping in it."""
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


@pytest.mark.slow
def test_the_image_builds_and_its_command_runs() -> None:
    """Where there is Docker with a daemon and the base image: it is built, and says its version as that user."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, check=False, timeout=TIMEOUT).returncode:
        pytest.skip("there is no Docker daemon on this machine")
    build = [docker, "build", "-f", str(DEPLOY / "Dockerfile"), "-t", "holdfast-test", str(ROOT)]
    made = subprocess.run(build, capture_output=True, text=True, check=False, timeout=1200)
    if made.returncode and re.search("pull|resolve|registry|timeout|network", made.stderr, re.IGNORECASE):
        pytest.skip("the base image cannot be fetched here")
    assert made.returncode == 0, made.stderr
    run = [docker, "run", "--rm", "--read-only", "--cap-drop=ALL", "holdfast-test", "--version"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("holdfast "), done.stderr
