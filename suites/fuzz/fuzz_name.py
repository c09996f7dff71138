"""The parser of deploy configs' names: a name or a ValueError, and what it prints it reads."""

from __future__ import annotations

from posedeploy.config.naming import conflict, parse_name, split_name


def one(data: bytes) -> None:
    """Parse one name."""
    name = data.decode("utf-8", "surrogateescape")
    parts = split_name(name)
    try:
        parsed = parse_name(name)
    except ValueError as error:
        assert parts is None or conflict(parts), name
        assert ascii(name)[1:-1] or str(error)
        return
    assert parsed == parts
    assert parse_name(str(parsed)) == parsed, name
    assert parse_name(f"{parsed}.py") == parsed, name
