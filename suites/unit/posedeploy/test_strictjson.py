"""JSON of strangers: what is read can be printed, written and computed with."""

from __future__ import annotations

import json

import pytest

from posedeploy import strictjson


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' twice"),
        ('{"a": 1, "' + "k" * 9999 + '": 1, "' + "k" * 9999 + '": 1}', "the key 'k{80}' twice"),
        ("[NaN]", "NaN, which is no JSON number"),
        ("[-Infinity]", "-Infinity, which is no JSON number"),
        ("1e999", "the number 1e999, larger than a double holds"),
        ("9" * 5000, "the number 9{20}…, larger than a double holds"),
        ("-" + "9" * 309, "larger than a double holds"),
        ('{"\\ud800": 1}', r"\\ud800, half of a surrogate pair"),
        ('[["\\uDFFF"]]', r"\\udfff, half of a surrogate pair"),
        ("[" * 33 + "]" * 33, "nesting deeper than 32"),
        ("[" * 200_000, "nesting deeper than 32"),
    ],
)
def test_what_nobody_can_use_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        strictjson.parse(text)
    assert len(str(error.value)) < 150


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(10**307), 1.5, "ü\U0001f600\\ud800", [{"a": [1, "\U0001f600"]}], {"": {}}],
)
def test_what_is_json_is_read(value: object) -> None:
    for ascii_only in (True, False):
        assert strictjson.parse(json.dumps(value, ensure_ascii=ascii_only)) == value
    assert strictjson.parse("[" * 32 + "]" * 32)


def test_depth_counts_containers() -> None:
    assert strictjson.depth(1) == 0
    assert strictjson.depth({"a": [1, {"b": {}}]}) == 4
    assert strictjson.depth(json.loads("[" * 60 + "]" * 60)) == 33
