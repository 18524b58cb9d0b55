"""Imports the user's modules that a config names, and collects their declared functions."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from attrs import define, field, frozen

from engine.work.decorators import BackgroundTaskDeclaration, HandlerDeclaration, JobKindDeclaration, declarations_of
from engine.work.kinds import Function, JobKind


class BadModule(Exception):
    """A module cannot be used; the text says which, where and why."""


@frozen
class AccountFunction:
    """A handler or background task, for the accounts that the names or patterns ``accounts`` mean."""

    function: Any
    accounts: tuple[str, ...]
    event: Any = None
    """What a handler handles; None for a background task."""


@frozen
class ModuleContents:
    """The declared functions of all modules."""

    kinds: list[JobKind] = field(factory=list)
    handlers: list[AccountFunction] = field(factory=list)
    background_tasks: list[AccountFunction] = field(factory=list)
    sources: dict[str, tuple[str, str]] = field(factory=dict)
    """The file of each module of the user's, by its name in ``sys.modules``, and the fingerprint of the code in it."""

    def changed(self) -> list[str]:
        """Return the names of the files that have other code by now, or none. Blocks."""
        return sorted(Path(path).name for path, code in self.sources.values() if _fingerprint(path) != code)


def load_modules(modules: Iterable[tuple[str, Sequence[str]]], folder: Path) -> ModuleContents:
    """Import modules, each for the accounts that its patterns mean, and return their declared functions.

    A name that ends in ``.py`` is a file, relative to ``folder``; any other is a dotted name. The modules may import
    others from ``folder``. Raises ``BadModule``.
    """
    found = ModuleContents()
    homes: dict[str, tuple[str, Any]] = {}
    known = set(sys.modules)
    for name, accounts in modules:
        module = _import(name, folder)
        found.sources.update(_sources({module.__name__: module}))
        for function in _functions(module):
            for declaration in declarations_of(function):
                if not inspect.iscoroutinefunction(function):
                    raise BadModule(f"{name}: {function.__name__} must be async: async def {function.__name__}(…)")
                match declaration:
                    case JobKindDeclaration(kind, data):
                        home, first = homes.setdefault(kind, (name, function))
                        if first is not function:
                            raise BadModule(f"{name}: the kind {kind!r} is in {home} already; rename one of them")
                        found.kinds.append(_kind(name, kind, function, data))
                    case HandlerDeclaration(event):
                        found.handlers.append(AccountFunction(function, tuple(accounts), event))
                    case BackgroundTaskDeclaration():
                        found.background_tasks.append(AccountFunction(function, tuple(accounts)))
    beside = {name: module for name, module in list(sys.modules.items()) if name not in known}
    found.sources.update(
        {name: source for name, source in _sources(beside).items() if _is_in(source[0], folder.resolve())}
    )
    return found


@define(eq=False)
class FreshImport:
    """Lets ``load_modules`` in the block import again what was loaded before, and what these modules brought with them.

    If the block fails, is a ``trial``, or is given up, all is as it was afterwards: nothing stays of what it has
    imported of the user's own, and what is imported next is the code from before.
    """

    loaded: ModuleContents
    folder: Path
    trial: bool = False
    _before: dict[str, ModuleType] = field(factory=dict, init=False)
    _known: frozenset[str] = field(default=frozenset(), init=False)
    _given_up: bool = field(default=False, init=False)
    _writes_bytecode: bool = field(default=True, init=False)

    def __enter__(self) -> None:
        self._writes_bytecode = not sys.dont_write_bytecode
        sys.dont_write_bytecode = True  # it would be taken for the code of a change within the same second
        for path, _ in self.loaded.sources.values():
            for each, module in list(sys.modules.items()):
                if getattr(module, "__file__", None) == path:  # another module may have the same name
                    self._before[each] = sys.modules.pop(each)
            with suppress(OSError, NotImplementedError):  # as above, from the import before
                Path(importlib.util.cache_from_source(path)).unlink()
        self._known = frozenset(sys.modules)
        importlib.invalidate_caches()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.dont_write_bytecode = not self._writes_bytecode
        if kind is not None or self.trial or self._given_up:
            self._undo()

    def give_up(self) -> None:
        """Have all as it was, from another thread: an import does not end, or ends when nobody waits for it."""
        self._given_up = True
        sys.dont_write_bytecode = not self._writes_bytecode
        self._undo()

    def _undo(self) -> None:
        folder = self.folder.resolve()
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if name not in self._known and path and _is_in(path, folder):
                sys.modules.pop(name, None)
        sys.modules.update(self._before)


def _sources(modules: Mapping[str, ModuleType]) -> dict[str, tuple[str, str]]:
    """Return the files of modules, and the fingerprints of their code."""
    paths = {name: getattr(module, "__file__", None) for name, module in modules.items()}
    return {name: (path, _fingerprint(path)) for name, path in paths.items() if path and path.endswith(".py")}


def _fingerprint(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def _is_in(path: str, folder: Path) -> bool:
    """Return whether a file is the user's own: beside the config, and not installed there."""
    found = Path(path).resolve()
    return found.is_relative_to(folder) and "site-packages" not in found.parts


def _kind(module: str, name: str, function: Function, data: Any) -> JobKind:
    if data is not None and not hasattr(data, "__attrs_attrs__"):
        raise BadModule(f"{module}: the data of the kind {name!r} must be an attrs class, not {data!r:.60}")
    return JobKind(name, function, data)


def _functions(module: ModuleType) -> list[Any]:
    """Return the declared functions that a module defines or imports, in order and without repetition."""
    return list({id(value): value for value in vars(module).values() if declarations_of(value)}.values())


def _import(name: str, folder: Path) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        return _from_file(folder / name) if name.endswith(".py") else importlib.import_module(name)
    except BaseException as exc:
        if not isinstance(exc, Exception | SystemExit) and threading.current_thread() is threading.main_thread():
            raise  # a person has pressed Ctrl+C
        raise BadModule(f"{name} cannot be imported: {_where(exc)}{_why(exc)}; mend it, and try again") from exc


def _from_file(path: Path) -> ModuleType:
    path = path.resolve()
    for module in list(sys.modules.values()):  # imported already, by another engine or a module beside it
        if getattr(module, "__file__", None) == str(path):
            return module
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, "a file that ends in .py can be loaded"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    taken = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(path.stem, None)
        raise
    finally:
        if taken is not None:  # the name keeps its meaning for the module that had it before
            sys.modules[path.stem] = taken
    return module


def _where(exc: BaseException) -> str:
    """Return the place where an import failed, as ``line 12 of work.py: ``."""
    if isinstance(exc, SyntaxError):
        if exc.lineno is None:  # the file is no text of Python's at all
            return ""
        return f"line {exc.lineno} of {Path(exc.filename or '?').name}: "
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if "importlib" not in frame.filename]
    if len(frames) < 2 or frames[-1].filename == __file__:
        return ""
    return f"line {frames[-1].lineno} of {Path(frames[-1].filename).name}: "


def _why(exc: BaseException) -> str:
    if isinstance(exc, SystemExit):
        return f"it ends the program (SystemExit: {exc.code})"
    text = exc.msg if isinstance(exc, SyntaxError) else str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
