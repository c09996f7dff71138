"""Errors that are written for a person.

Every message names the file or the option, what was found, what was expected and what to
do next.  The command line turns the class into its exit code; nobody parses the text.
"""

from __future__ import annotations

from typing import ClassVar


class PoseDeployError(Exception):
    """An error with four parts: subject, found, expected, next step.

    Args:
        subject: The file, option or value the error is about.
        found: What was found there.
        expected: What would have been right.
        next_step: The next thing to do, as a sentence.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, subject: str, found: str, expected: str, next_step: str) -> None:
        super().__init__(subject, found, expected, next_step)
        self.subject = subject
        self.found = found
        self.expected = expected
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.subject}: found {self.found}; expected {self.expected}. {self.next_step}"


class BadInputError(PoseDeployError):
    """What the user gave cannot be used: a missing file, a wrong config, a wrong checkpoint."""

    exit_code = 2


class UnavailableError(PoseDeployError):
    """A backend or tool is not usable on this machine."""

    exit_code = 2


class ConversionError(PoseDeployError):
    """The input was fine and the conversion failed, at the stage that `stage` names."""

    def __init__(
        self, stage: str, subject: str, found: str, expected: str, next_step: str
    ) -> None:
        super().__init__(subject, found, expected, next_step)
        self.args = (stage, subject, found, expected, next_step)  # so that it pickles
        self.stage = stage
