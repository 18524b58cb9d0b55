"""Other values for keys of a config: read as in the file, with its units and its sentences."""

from pathlib import Path

import pytest

from engine.config.overrides import BadOverride, ConfigVariants

CONFIG = """
telegram: {api_id: 12345, api_hash: 0123456789abcdef0123456789abcdef, datacenter: sandbox}
accounts:
  - {name: A, session: a}
states:
  backoff:
    network: {first: 5s, jitter: 0}
"""


@pytest.fixture
def variants(tmp_path: Path) -> ConfigVariants:
    """Return a config that was read."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    return ConfigVariants(tmp_path / "config.yaml")


def test_a_value_has_the_units_of_the_config(variants: ConfigVariants) -> None:
    """What the file says beside it stays."""
    override = variants.parse("states.backoff.network.cap=1m30s")
    network = variants.changed([(override, override.values[0])]).policy.backoff.network
    assert (network.cap, network.first, network.jitter) == (90, 5, 0)


def test_nothing_changed_is_the_config(variants: ConfigVariants) -> None:
    """The config as it is has its own values."""
    assert variants.changed([]).policy.backoff.network.first == 5


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("states.backoff.network.first=[1s, 2s,5s]", ("1s", "2s", "5s")),
        ("states.timeout.patience=[5s,10s]", (["5s", "10s"],)),
        ("states.timeout.patience=[[5s],[10s,20s]]", (["5s"], ["10s", "20s"])),
        ("fleet.connects_at_once=[8,16]", (8, 16)),
        ("fleet.stagger = auto", ("auto",)),
    ],
)
def test_a_list_is_several_values_unless_the_key_has_a_list(
    variants: ConfigVariants, text: str, values: tuple[object, ...]
) -> None:
    """A patience is a list by itself; a list of lists is several of them."""
    assert variants.parse(text).values == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("states.backoff.network.frist=2s", "states.backoff.network.frist: unknown key; did you mean 'first'?"),
        ("stats.backoff.network.first=2s", "stats.backoff.network.first: unknown key; did you mean 'states'?"),
        ("telegram.api_id=5", "telegram.api_id: no outage depends on this; set a key of states or fleet"),
        ("states.backoff.network.first", "write KEY=VALUE"),
        ("states.backoff.network.first=", "write KEY=VALUE"),
        ("=2s", "write KEY=VALUE"),
        ("", "write KEY=VALUE"),
        ("states=2s", "name one key"),
        ("states..first=2s", "name one key"),
        ("states.backoff.network.jitter=1.5", "must be at least 0 and below 1"),
        ("states.backoff.network.first.x=2s", "is one value, and has no keys below it"),
        ("fleet.connects_at_once=many", "must be a whole number"),
        ("states.backoff.network.tries=[1,x]", "must be a whole number"),
        ("states.backoff.network.first=[", "this is not YAML"),
        ("states.timeout.patience=2s\nfleet: {}", "write one value"),
        ("states.timeout.patience=" + "9" * 2000, "at most 1000 characters"),
    ],
)
def test_a_mistake_is_one_sentence(variants: ConfigVariants, text: str, said: str) -> None:
    """It names the key and, if that is unknown, the nearest."""
    with pytest.raises(BadOverride) as caught:
        variants.parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["2x", "500s", "[]", "-1"])
def test_values_that_do_not_fit_are_found_when_they_are_put_together(variants: ConfigVariants, value: str) -> None:
    """``first`` must not be above ``cap``, which another setting may move."""
    override = variants.parse(f"states.backoff.network.first={value}")
    with pytest.raises(BadOverride, match=r"states\.backoff\.network"):
        variants.changed([(override, override.values[0])])
