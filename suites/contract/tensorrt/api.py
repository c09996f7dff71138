"""The names of a TensorRT version's API, and classes that are held to them.

A fake that offers what the real class lacks would let an adapter pass that fails on a device.  So
what a fake has and the version has not is taken away, parameters must have the real names, and
attributes that the real class lacks can be neither read nor set.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", bound=type)
Parameters = tuple[str, ...]


@dataclass(frozen=True)
class Member:
    """A member of a class.

    Attributes:
        overloads: Parameter names of each overload, without `self`; none for an attribute.
        settable: True for an attribute that can be set.
    """

    overloads: tuple[Parameters, ...] = ()
    settable: bool = False


Api = Mapping[str, Mapping[str, Member]]


def read_api(stub: Path) -> Api:
    """Class -> member -> what it takes, from a stub file."""
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    return {node.name: _members(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _members(node: ast.ClassDef) -> dict[str, Member]:
    found: dict[str, Member] = {}
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            found[item.target.id] = Member(settable=True)
        elif isinstance(item, ast.FunctionDef):
            words = {ast.unparse(decorator) for decorator in item.decorator_list}
            if "property" in words:
                found[item.name] = Member()
            elif f"{item.name}.setter" in words:
                found[item.name] = Member(settable=True)
            else:
                names = tuple(argument.arg for argument in item.args.args)[1:]
                overloads = found.get(item.name, Member()).overloads
                found[item.name] = Member((*overloads, names))
    return found


def held_to(api: Api | None, called: list[str]) -> Callable[[T], T]:
    """A decorator for fakes.

    Args:
        api: The names; None enforces nothing.
        called: Gets 'Class.member' for each call.
    """

    def hold(cls: T) -> T:
        if api is not None:
            _restrict(cls, api[cls.__name__])
        for name, member in list(vars(cls).items()):
            if inspect.isfunction(member) and not name.startswith("_"):
                setattr(cls, name, _recorded(member, f"{cls.__name__}.{name}", called))
        return cls

    return hold


def _restrict(cls: type, members: Mapping[str, Member]) -> None:
    public = [name for name in vars(cls) if not name.startswith("_")]
    for name in public:
        if name not in members:
            delattr(cls, name)  # this version does not have it
            continue
        mine = vars(cls)[name]
        if inspect.isfunction(mine):
            names = tuple(inspect.signature(mine).parameters)[1:]
            real = members[name].overloads
            assert names in real, (cls.__name__, name, names, real)

    def set_attribute(self: Any, name: str, value: object) -> None:
        if not name.startswith("_") and not members.get(name, Member()).settable:
            raise AttributeError(f"{cls.__name__} of this version has no {name} that can be set")
        object.__setattr__(self, name, value)

    type.__setattr__(cls, "__setattr__", set_attribute)


def _recorded(method: Callable[..., Any], name: str, called: list[str]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **keywords: Any) -> Any:
        called.append(name)
        return method(*arguments, **keywords)

    return call
