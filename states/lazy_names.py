"""The names of a package, each imported from its module when it is first asked for.

It stands at the bottom because packages of all layers use it, ``states`` itself among them. ``engine`` does the same by
itself: importing it imports nothing else.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package; ``homes`` are its modules, each with the names that it has.

    The function raises ``AttributeError`` for a name that no module has.
    """

    def find(name: str) -> Any:
        for home, names in homes.items():
            if name in names:
                value = getattr(import_module(home), name)
                setattr(sys.modules[package], name, value)
                return value
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
