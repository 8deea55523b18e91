"""The command line. Each command is a module of its own, imported when it is called."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Runs the command line (`felloe.cli.program`); says what is missing where the extra `cli` is not installed."""
    try:
        from felloe.cli.program import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit(
            "error: the command line of felloe needs `click`, which is not installed\n"
            "  hint: install `felloe`, or `felloe-core[cli]`"
        )
    run()
