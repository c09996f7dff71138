"""Deploy configs read without running them: assignments of literals, as all of MMDeploy's are.

MMEngine's configs are Python, and MMEngine runs them. This reads what needs no running, with
MMEngine's rules for `_base_` and `_delete_`, and refuses the rest.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from posedeploy.errors import BadInputError

MAX_BYTES = 2**20  # of a file; MMDeploy's longest has 2 kB
MAX_DEPTH = 10  # of bases of bases; MMDeploy has 2
MAX_SHIFT = 63


class NotLiteralError(BadInputError):
    """A config has to be run to know what it holds, or it cannot be read at all."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            str(path), found, "assignments of literals, which are read without running the file",
            "Write the value out, or look into the file; convert runs it.",
        )  # fmt: skip


def read_literals(path: Path, depth: int = 0) -> dict[str, Any]:
    """The top-level names of a config, with all that it inherits, as MMEngine would read them.

    Raises:
        NotLiteralError: The file, or one that it inherits, is missing or holds more than literals.
    """
    own = _assignments(path)
    bases = own.pop("_base_", [])
    inherited: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        if not isinstance(base, str) or "::" in base or depth == MAX_DEPTH:
            raise NotLiteralError(path, f"_base_ = {base!r}")
        more = read_literals(path.parent / base, depth + 1)
        if twice := inherited.keys() & more.keys():
            raise NotLiteralError(path, f"{min(twice)} in two of its bases")
        inherited |= more
    try:
        return _merged(own, inherited)
    except TypeError as error:
        raise NotLiteralError(path, str(error)) from error


def _assignments(path: Path) -> dict[str, Any]:
    """What one file assigns."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).decode("utf-8")
        nodes = ast.parse(text).body
    except SyntaxError as error:
        found = f"a syntax error in line {error.lineno}: {error.msg}"
        raise NotLiteralError(path, found) from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        found = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise NotLiteralError(path, found) from error
    if word := next((word for word in ("{{", "custom_imports") if word in text), ""):
        raise NotLiteralError(path, f"{word}, which MMEngine replaces or obeys")
    found_names: dict[str, Any] = {}
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found_names[name] = _value(path, value)
            case ast.Expr(value=ast.Constant()):  # a docstring
                pass
            case _:
                raise _not_literal(path, node)
    return {name: value for name, value in found_names.items() if not name.startswith("__")}


class _AsLiteral(ast.NodeTransformer):
    """Writes `dict(a=1)` as `{"a": 1}` and `1 << 30` as its value."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id="dict"), args=[], keywords=words):
                keys: list[ast.expr | None] = [
                    None if word.arg is None else ast.Constant(word.arg) for word in words
                ]
                return ast.Dict(keys, [word.value for word in words])
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        match node:
            case ast.BinOp(
                left=ast.Constant(value=int(left)),
                op=ast.LShift(),
                right=ast.Constant(value=int(right)),
            ) if 0 <= right <= MAX_SHIFT:
                return ast.Constant(left << right)
        return node


def _value(path: Path, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(_AsLiteral().visit(node))
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise _not_literal(path, node) from error


def _not_literal(path: Path, node: ast.stmt | ast.expr) -> NotLiteralError:
    return NotLiteralError(path, f"`{ast.unparse(node)[:60]}` in line {node.lineno}")


def _merged(own: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """MMEngine's rule: dicts are merged, but for those with `_delete_`; all else is replaced."""
    result = dict(base)
    for key, value in own.items():
        if isinstance(value, dict) and key in base and not value.pop("_delete_", False):
            if not isinstance(base[key], dict):
                raise TypeError(f"{key}, a dict, in place of a {type(base[key]).__name__}")
            result[key] = _merged(value, base[key])
        else:
            result[key] = value
    return result
