"""Errors for the user: one line on stderr, and the exit codes of the program."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

USAGE = 64  # the command line or the configuration
DAMAGED = 65  # data or a checkpoint
INPUT_OUTPUT = 74  # a full disk, say


class Failure(Exception):
    """What stands in the way, in words for the user."""

    code = USAGE


class Damaged(Failure):
    """A file that is missing, or is not as it was written."""

    code = DAMAGED


class NotWritten(Failure):
    """Output failed."""

    code = INPUT_OUTPUT


class Parser(argparse.ArgumentParser):
    """Arguments; a wrong one is a `Failure`."""

    def error(self, message: str) -> None:
        raise Failure(message)


def guarded(program: str, main: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    """The exit code of `main`, whose failures become one line on stderr."""
    try:
        main(arguments)
        # Here, so that a closed pipe is found before the interpreter ends.
        sys.stdout.flush()
        return 0
    except Failure as failure:
        print(f"{program}: error: {' '.join(str(failure).split())}", file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        # Standard output is a closed pipe or a full disk, and must not be flushed again.
        sys.stdout = None
        print(f"{program}: error: standard output: {error.strerror}", file=sys.stderr)
        return INPUT_OUTPUT
