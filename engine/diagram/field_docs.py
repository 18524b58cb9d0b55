"""The texts that stand below the fields of a class, for tables that say what each field means."""

import ast
import inspect
from textwrap import dedent
from typing import Any


def field_docs(of: type[Any]) -> dict[str, str]:
    """Return the docstring of each field of a class and of those that it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(of.__mro__[:-1]):
        [tree] = ast.parse(dedent(inspect.getsource(each))).body
        assert isinstance(tree, ast.ClassDef)
        for field, after in zip(tree.body, tree.body[1:], strict=False):
            match field, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = inspect.cleandoc(text)
    return found
