"""Errors of the report that are written for a person."""

from __future__ import annotations

from typing import ClassVar


class ReportError(Exception):
    """An input of the report cannot be used.

    Args:
        subject: The file or option the error is about.
        found: What was found there.
        expected: What would have been right.
        next_step: The next thing to do, as a sentence.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, subject: str, found: str, expected: str, next_step: str) -> None:
        super().__init__(subject, found, expected, next_step)
        self.subject = subject
        self.found = found
        self.expected = expected
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.subject}: found {self.found}; expected {self.expected}. {self.next_step}"
