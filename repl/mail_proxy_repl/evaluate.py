"""Running Python: statement by statement, the value of the last one comes back."""

from __future__ import annotations

import ast
import inspect
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

Wait = Callable[[Awaitable[Any]], Any]

WHERE = "<session>"
"""The file that tracebacks name."""

SETTLED = "__settled__"


def evaluate(source: str, namespace: dict[str, Any], wait: Wait, line: int = 1) -> object:
    """Run Python in `namespace`; return the value of its last expression, None if it ends with no other.

    What is awaited at the top, and a value that can be awaited, is handed to `wait`; ``await`` takes what
    needs none, too. The source begins on that `line` of what `line_of` tells of. Raises whatever the source
    raises, and SyntaxError.
    """
    try:
        tree = ast.parse(source, WHERE)
    except SyntaxError as error:
        error.lineno = (error.lineno or 1) + line - 1
        raise
    namespace[SETTLED] = _settled
    value: object = None
    for statement in ast.increment_lineno(_Patient().visit(tree), line - 1).body:
        value = _run(statement, namespace, wait)
    return wait(value) if inspect.isawaitable(value) else value


def line_of(error: BaseException, otherwise: int) -> int:
    """On which line a source went wrong: where it stood when it called what failed."""
    if isinstance(error, SyntaxError) and error.filename == WHERE and error.lineno is not None:
        return error.lineno
    frames = traceback.walk_tb(error.__traceback__)
    return next((line for frame, line in frames if frame.f_code.co_filename == WHERE), otherwise)


async def _settled(value: object) -> object:
    return await value if inspect.isawaitable(value) else value


class _Patient(ast.NodeTransformer):
    """Lets ``await`` take what is there already: what a call of ``proxy`` gives."""

    def visit_Await(self, node: ast.Await) -> ast.Await:
        self.generic_visit(node)
        call = ast.Call(ast.Name(SETTLED, ast.Load()), [node.value], [])
        return ast.fix_missing_locations(ast.copy_location(ast.Await(ast.copy_location(call, node)), node))


def _run(statement: ast.stmt, namespace: dict[str, Any], wait: Wait) -> object:
    tree: ast.Module | ast.Expression
    if isinstance(statement, ast.Expr):
        tree, mode = ast.Expression(statement.value), "eval"
    else:
        tree, mode = ast.Module([statement], []), "exec"
    code = compile(tree, WHERE, mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(code, namespace)  # noqa: S307 - the person at the prompt runs what they like
    if code.co_flags & inspect.CO_COROUTINE:
        value = wait(value)
    return value if mode == "eval" else None
