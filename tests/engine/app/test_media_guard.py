"""Which files a config makes the engine's own."""

from engine.app.job_registry import JobRegistry, own_places
from engine.config import load
from tests.engine.harness import EngineHarness

REST = "storage: {directory: own}\nweb: {listen: 127.0.0.1:0, token_file: secret/token}\n"


def test_the_engines_own_files_are_those_of_its_config(harness: EngineHarness) -> None:
    """Config, sessions, tokens and everything in the data directory; media beside them are not."""
    harness.write("sandbox", "  - {name: A, session: logins/a}", rest=REST)
    config = load(harness.config)
    places = own_places(config)
    for own in ("config.yaml", "logins/a.session", "secret/token", "own/engine.db", "own/backups/x"):
        assert places.covers(harness.directory / own), own
    assert not places.covers(harness.directory / "media" / "film.mp4")
    for kind in ("download", "upload"):
        found = JobRegistry.of(config).kinds.named(kind).function
        assert found.places == places  # type: ignore[attr-defined]


def test_a_config_that_is_read_again_has_the_same_kinds(harness: EngineHarness) -> None:
    """After a reload with another account, no transfer waits for those that run."""
    harness.write("sandbox", "  - {name: A, session: logins/a}", rest=REST)
    before = JobRegistry.of(load(harness.config)).kinds.named("upload")
    harness.write("sandbox", "  - {name: A, session: logins/a}\n  - {name: B, session: logins/b}", rest=REST)
    after = JobRegistry.of(load(harness.config)).kinds.named("upload")
    assert before == after
    assert before.function.places != after.function.places  # type: ignore[attr-defined]
