"""The section ``work``: the operator's modules, and how fast jobs may go."""

import re
from typing import Any, Final

from attrs import field, frozen

from adapters.file_names import pasted_secret
from states.pace import Hours, WorkPolicy

_HOURS: Final = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9]) ?[-–] ?([01]?[0-9]|2[0-4]):([0-5][0-9])")

_MODULE: Final = re.compile(r"[^\x00-\x1f]+\.py|[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def to_hours(value: Any) -> Hours | None:
    """Return the hours that a text such as ``09:00-18:00`` means. Raises ``ValueError`` with a sentence."""
    if value is None:
        return None
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        opens, closes = (int(match[n]) * 60 + int(match[n + 1]) for n in (1, 3))
        if max(opens, closes) <= 24 * 60 and opens % (24 * 60) != closes % (24 * 60):
            return Hours(opens % (24 * 60), closes % (24 * 60))
    raise ValueError('must be two different times of a day, such as "09:00-18:00", in quotes')


def _is_module(_: Any, attribute: Any, value: str) -> None:
    if not _MODULE.fullmatch(value) or pasted_secret(value.removesuffix(".py")) is not None:
        raise ValueError(f"{attribute.name} must be a file such as my_work.py, or a module such as my_package.work")


@frozen(kw_only=True)
class Module:
    """One of the operator's modules. Its handlers and background tasks are for ``accounts``: names, or patterns."""

    module: str = field(validator=_is_module)
    """A file beside the config, such as ``my_work.py``, or a module that Python can import, such as
    ``my_package.work``."""
    accounts: tuple[str, ...] = ("*",)
    """The accounts that the module's handlers and ``while_healthy`` functions are for: a name, a pattern such as
    ``News *``, or a list of these. Its kinds of jobs are for every account."""


@frozen(kw_only=True)
class WorkSection(WorkPolicy):
    """The modules that bring work, and how work may run."""

    modules: tuple[Module, ...] = ()
    """Modules with job kinds, handlers and ``while_healthy`` functions. An entry may be the module's name alone."""
