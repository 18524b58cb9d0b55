"""What is under ``deploy/`` is what the service managers and the real command line understand."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from engine.cli.commands import COMMANDS
from engine.cli.plain_line import plain_call
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
    yield from re.findall(r"CMD holdfast (.*?) >", DOCKERFILE)
    words = re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", DOCKERFILE, re.MULTILINE)
    entry, command = (json.loads(each) for each in words)
    assert entry == ["holdfast"]
    yield shlex.join(command)


@pytest.mark.parametrize("line", called())
def test_a_command_in_it_is_one(line: str) -> None:
    """The real command line reads it, option by option."""
    words = shlex.split(line)
    if words[0] == "reload" and "reload" not in COMMANDS:
        pytest.skip("this version has no command reload")
    assert plain_call(words) is not None


def test_the_commands_were_found() -> None:
    """The patterns above find what they are to find."""
    assert {shlex.split(line)[0] for line in called()} == {"run", "reload", "backup", "status"}


def test_the_pages_name_commands_that_there_are() -> None:
    """Each command in the runbook is one, with its options."""
    lines = re.findall(r"(?:-m engine|holdfast) ((?:[a-z]+ )+config\.yaml[^`\n|#;)]*)", OPERATIONS)
    assert len(lines) > 20
    known = set(COMMANDS)
    for line in lines:
        words = shlex.split(line.replace("…", ""))
        if words[0] in known:
            assert plain_call([re.sub(r"^[A-Z]+$", "1", word) for word in words]) is not None, line


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


def test_the_health_check_counts_a_missing_engine_alone() -> None:
    """Its shell line ends with 1 for the exit code 3 of ``status``, and with 0 for all others."""
    [check] = re.findall(r"^    CMD (holdfast status .*)$", DOCKERFILE, re.MULTILINE)
    for code, expected in ((0, 0), (1, 0), (2, 0), (3, 1)):
        script = f"holdfast() {{ return {code}; }}; {check}"
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
    assert (DEPLOY / engine["build"]["context"]).resolve() == ROOT
    assert (ROOT / engine["build"]["dockerfile"]).exists()


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
