"""`--subject module:object`: what it may name, and how a wrong value is refused."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.fake_subject import PLUGINS, FakeSubject, converts_nothing
from poseconform.subject import loading
from poseconform.subject.loading import DEFAULT_SUBJECT, METHODS, SubjectError, load_subject
from poseconform.subject.protocol import Subject

pytest_plugins = ["pytester"]
INSTANCE = converts_nothing()
NO_SUBJECT = 3


@dataclass(frozen=True)
class WithOptions(FakeSubject):
    """A subject with options of its own."""

    python: str = ""
    checkout: str = ""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("fixtures.fake_subject:FakeSubject", FakeSubject()),
        ("fixtures.fake_subject:converts_nothing", None),
        (f"{__name__}:INSTANCE", INSTANCE),
    ],
)
def test_a_class_a_function_or_an_instance_is_taken(spec: str, expected: Any) -> None:
    subject = load_subject(spec)
    assert isinstance(subject, FakeSubject)
    assert load_subject(spec) is subject, "one a process"
    if expected is INSTANCE:
        assert subject is INSTANCE


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("posedeploy", "found no 'module:object'"),
        (":x", "found no 'module:object'"),
        ("no_such.module:x", "found no module 'no_such'"),
        ("fixtures.no_such:x", "found no module 'fixtures.no_such'"),
        ("fixtures.fake_subject:Nobody", "found no 'Nobody' in fixtures.fake_subject"),
        (f"{__name__}:NO_SUBJECT", "found an object without name, tiers, families"),
        (f"{__name__}:INSTANCE?a=1", "found options a of an instance"),
        (f"{__name__}:WithOptions?python", "found no '=' in 'python'"),
        (f"{__name__}:WithOptions?x=1", "it does not take these options: "),
        ("fixtures.fake_subject:converts_nothing?a=1", "it does not take these options: "),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(spec: str, reason: str) -> None:
    with pytest.raises(SubjectError) as caught:
        load_subject(spec)
    assert str(caught.value).startswith(f"--subject {spec}: {reason}")
    assert "expected module:object" in str(caught.value)


@pytest.mark.parametrize(
    ("query", "python", "checkout"),
    [
        ("", "", ""),
        ("?python=/opt/a b/python&checkout=/opt/x=y", "/opt/a b/python", "/opt/x=y"),
        ("?checkout=a%26b%3F+c", "", "a&b?+c"),
    ],
)
def test_a_class_is_made_with_the_options_of_the_spec(
    query: str, python: str, checkout: str
) -> None:
    subject = load_subject(f"{__name__}:WithOptions{query}")
    assert isinstance(subject, WithOptions)
    assert (subject.python, subject.checkout) == (python, checkout)


def test_a_module_that_lacks_something_itself_is_no_wrong_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        load_subject("lacking:Subject")


def test_a_wrong_option_ends_the_run_in_one_line(pytester: pytest.Pytester) -> None:
    ended = pytester.runpytest_inprocess(*PLUGINS[:-1], "nowhere:x")
    assert ended.ret == pytest.ExitCode.USAGE_ERROR
    ended.stderr.fnmatch_lines(["*--subject nowhere:x: found no module 'nowhere'; expected*"])


def test_subjects_have_every_method_of_the_protocol() -> None:
    own = ("fixtures.fake_subject:FakeSubject", "poseconform.subject.mmdeploy:MMDeploy")
    for spec in (DEFAULT_SUBJECT, *own):
        subject = load_subject(spec)
        for method in METHODS:
            if method == "name":
                continue
            wanted = list(inspect.signature(getattr(Subject, method)).parameters)[1:]
            assert list(inspect.signature(getattr(subject, method)).parameters) == wanted


def test_children_load_the_subject_by_its_spec() -> None:
    from fixtures.builders import make_model

    spec = "fixtures.fake_subject:FakeSubject"
    assert loading.checkpoint_for(spec, make_model(seed=2)) == "m-calibrated-2.pth"
