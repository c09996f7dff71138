"""The command line: `posedeploy convert`, …; one module a command."""

from .app import main

__all__ = ["main"]
