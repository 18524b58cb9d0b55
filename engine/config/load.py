"""The config file: ``load`` reads it whole, or says everything that is wrong with it at once."""

from pathlib import Path
from typing import Any

import attrs
from cattrs import BaseValidationError

from engine.config.document import MAX_SIZE, Broken, Document, Problem, Unreadable, read_yaml
from engine.config.rules import rule_problems
from engine.config.structure import converter_for, problems_of
from engine.config.types import Config
from engine.config.values import kind, substitute
from engine.config.wildcards import at_origin, expand


class ConfigError(Exception):
    """The config cannot be used. ``problems``: all that is wrong, a sentence each, which begins with the place."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(path, problems)
        self.path = path
        self.problems = problems

    def __str__(self) -> str:
        return "\n  ".join([f"{self.path} cannot be used; mend this and try again:", *self.problems])


def load(path: Path) -> Config:
    """Return the config in the YAML file ``path``, whose relative paths start at the file's own directory.

    Creates and changes nothing. Raises :class:`ConfigError` with every problem at once.
    """
    folder = path.absolute().parent
    document = _read(path)
    problems = list(document.problems)
    plain = substitute(document.value, (), problems)
    if isinstance(plain, dict):
        faults, origin = expand(plain, folder)
        problems += faults
        config, faults = _structure(plain, folder)
        problems += [at_origin(problem, origin) for problem in (*faults, *rule_problems(plain, folder, origin))]
    else:
        config = None
        problems += _top_level_problem(plain)
    if problems or config is None:
        placed = [attrs.evolve(problem, line=problem.line or document.line(problem.path)) for problem in problems]
        placed.sort(key=lambda problem: problem.line or 0)
        raise ConfigError(path, list(dict.fromkeys(problem.sentence(path.name) for problem in placed)))
    return attrs.evolve(config, path=path)


def _top_level_problem(plain: object) -> list[Problem]:
    if isinstance(plain, Broken):
        return []  # on record already
    what = "the file is empty" if plain is None else f"the top level must be a mapping (key: value), not {kind(plain)}"
    return [Problem((), f"{what}; start with the sections telegram and accounts")]


def _structure(plain: dict[str, Any], folder: Path) -> tuple[Config | None, list[Problem]]:
    converter = converter_for(folder)
    try:
        return converter.structure(plain, Config), []
    except BaseValidationError as error:
        return None, list(problems_of(error))


def _read(path: Path) -> Document:
    problem: Problem
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
        if len(data) <= MAX_SIZE:
            return read_yaml(data.decode("utf-8-sig"))
        problem = Problem((), f"the file is larger than {MAX_SIZE:,} bytes, the most that a config may have; split it")
    except FileNotFoundError:
        problem = Problem((), "there is no such file; give the path of the config, or write one there")
    except IsADirectoryError:
        problem = Problem((), "this is a directory; give the path of the config file in it")
    except OSError as error:
        problem = Problem(
            (), f"the file cannot be read ({error.strerror}); see to its permissions, or give another path"
        )
    except UnicodeDecodeError as error:
        problem = Problem((), "the file is not UTF-8; save it as UTF-8", error.object.count(b"\n", 0, error.start) + 1)
    except ValueError:
        problem = Problem((), "this is no name that a file can have; give the path of the config")
    except Unreadable as error:
        problem = error.problem
    # Raised out here: an error inside `except` would keep the other one, with what it read, as its context.
    raise ConfigError(path, [problem.sentence(path.name)])
