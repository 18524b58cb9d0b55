"""Switch points between the statements of chosen modules: a real thread can be interrupted there, too.

``install_points`` rewrites the modules as they are imported: each statement of a function is preceded by a call that,
by seed, lets other threads run. Line numbers stay those of the source.
"""

import ast
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any, Final

from tests.simulation.threads import scheduler_now

_POINT: Final = "__switch_point__"


class _Points(ast.NodeTransformer):
    """Puts a call before each statement of a function."""

    def __init__(self) -> None:
        self._depth = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.AST) -> ast.AST:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if self._depth:
            for name in ("body", "orelse", "finalbody"):
                statements = getattr(node, name, None)
                if isinstance(statements, list) and statements and isinstance(statements[0], ast.stmt):
                    setattr(node, name, _with_points(statements))
        return node


def _with_points(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Precede each statement by a point; a docstring and what binds a name to another scope stay first."""
    found: list[ast.stmt] = []
    for statement in statements:
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_text and not isinstance(statement, ast.Global | ast.Nonlocal | ast.Pass):
            call = ast.Expr(ast.Call(ast.Name(_POINT, ast.Load()), [], []))
            for node in ast.walk(call):
                ast.copy_location(node, statement)
            found.append(call)
        found.append(statement)
    return found


class _PointsLoader(importlib.machinery.SourceFileLoader):
    """Compiles a module with points, whatever is cached."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = _Points().visit(ast.parse(self.get_data(path), path))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True)
        return code

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__[_POINT] = _point
        super().exec_module(module)


class _PointsFinder:
    """Finds the chosen modules before Python does."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if not any(name == each or name.startswith(f"{each}.") for each in self._names):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _PointsLoader(spec.loader.name, spec.loader.path)
        return spec


def _point() -> None:
    scheduler_now().statement_point()


def install_points(*names: str) -> None:
    """Have the named modules and packages compiled with points. Call it before their import."""
    loaded = [name for name in sys.modules if name in names]
    assert not loaded, f"imported already: {loaded}"
    sys.meta_path.insert(0, _PointsFinder(names))
