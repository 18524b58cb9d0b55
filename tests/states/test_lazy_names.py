"""Packages whose names are imported when they are first asked for."""

from importlib import import_module

import pytest

PACKAGES = ("adapters.session", "adapters.sqlite", "adapters.system", "engine", "engine.control", "states")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_found_and_no_other(package: str) -> None:
    """A name of ``__all__`` without a home, or with a wrong one, would be missed only by who imports it."""
    module = import_module(package)
    assert {name for name in module.__all__ if getattr(module, name, None) is None} == set()
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing
