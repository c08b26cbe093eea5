"""Running Python: statement by statement, the value of the last one comes back."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

Wait = Callable[[Awaitable[Any]], Any]


def evaluate(source: str, namespace: dict[str, Any], wait: Wait, where: str = "<session>") -> object:
    """Run Python in `namespace`; return the value of its last expression, None if it ends with no other.

    What is awaited at the top, and a value that can be awaited, is handed to `wait`. Raises whatever the
    source raises, and SyntaxError.
    """
    value: object = None
    for statement in ast.parse(source, where).body:
        value = _run(statement, namespace, wait, where)
    return wait(value) if inspect.isawaitable(value) else value


def _run(statement: ast.stmt, namespace: dict[str, Any], wait: Wait, where: str) -> object:
    tree: ast.Module | ast.Expression
    if isinstance(statement, ast.Expr):
        tree, mode = ast.Expression(statement.value), "eval"
    else:
        tree, mode = ast.Module([statement], []), "exec"
    code = compile(tree, where, mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(code, namespace)  # noqa: S307 - the person at the prompt runs what they like
    if code.co_flags & inspect.CO_COROUTINE:
        value = wait(value)
    return value if mode == "eval" else None
