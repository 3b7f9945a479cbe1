"""Command lines: how they are described, and what becomes of errors.

Exit status 0 is success, 1 a failure, 2 a wrong command line.
"""

import argparse
import signal
import sys
from collections.abc import Callable


class HelpFormatter(
    argparse.ArgumentDefaultsHelpFormatter,
    argparse.RawDescriptionHelpFormatter,
):
    """Shows defaults, and leaves the description's lines alone."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # Of an option without one, or of a switch, there is none to show.
        if action.default in (None, [], False):
            return action.help
        # Some read better in other words.
        if "(default: " in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def parser(
    description: str | None, usage: str = "%(prog)s [options]"
) -> argparse.ArgumentParser:
    """A command line that has no arguments yet."""
    return argparse.ArgumentParser(
        usage=usage, description=description, formatter_class=HelpFormatter
    )


def positive(text: str) -> int:
    """A number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1, not {text!r}"
        )
    return int(text)


def main(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], int],
    *failures: type[Exception],
) -> int:
    """Does the work of a script; the result is its exit status.

    Args:
        parser: Its command line.
        work: What it is for, which returns the exit status.
        failures: Errors that need no traceback, beside the usual ones.
    """
    args = parser.parse_args()
    try:
        return work(args)
    except (
        ValueError,
        FileExistsError,
        FileNotFoundError,
        NotADirectoryError,
    ) as error:
        parser.error(str(error))
    except (ImportError, OSError, *failures) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 128 + signal.SIGINT
