"""The parser of deploy configs' names: a name or a ValueError, and what it prints it reads."""

from __future__ import annotations

from posedeploy.config.naming import DeployConfigName, conflict, parse_name, split_name


def one(data: bytes) -> None:
    """Parse one name."""
    name = data.decode("utf-8", "surrogateescape")
    parts, parsed = split_name(name), _parsed(name)
    assert (parsed is None) == (parts is None or conflict(parts) is not None)
    if parsed is not None:
        assert parsed == parts
        assert _parsed(str(parsed)) == parsed
        assert _parsed(f"{parsed}.py") == parsed


def _parsed(name: str) -> DeployConfigName | None:
    try:
        return parse_name(name)
    except ValueError as error:
        str(error).encode("utf-8", "backslashreplace")
        return None
