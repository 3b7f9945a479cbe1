"""The command `keras-resnext`: arguments in, exit status out.

Exit status 0 is success, 1 a failure, 2 a wrong command line.
"""

import contextlib
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from collections.abc import Sequence

from keras_resnext.cli import arguments
from keras_resnext.cli import printing


class Failure(Exception):
    """A failure other than a mistake in the command line: status 1."""


class UsageError(ValueError):
    """A mistake in the command line: status 2."""


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """Turn a ValueError about an argument's value into a UsageError."""
    try:
        yield
    except ValueError as error:
        raise UsageError(error) from error


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: Its words; `None` for those of the process.

    Returns:
        The exit status.
    """
    args = arguments.parser().parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Some file names can't be written in every encoding.
        sys.stdout.reconfigure(errors="backslashreplace")
    # As for Ctrl-C: unfinished files are removed.
    before = signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )
    try:
        command = importlib.import_module(f"keras_resnext.cli.{args.module}")
        status = command.run(args)
        sys.stdout.flush()
    except UsageError as error:
        return complain(error, 2)
    except BrokenPipeError:  # such as by `| head`
        _discard_output()
        return 1
    except (Failure, ValueError, OSError) as error:
        return complain(error)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, before)
        try:
            sys.stdout.flush()
        except OSError:  # on a full disk; Python would flush once more
            _discard_output()
    return status


def complain(error: object, status: int = 1) -> int:
    """Print an error as one sentence."""
    if isinstance(error, OSError) and error.strerror:
        file = "" if error.filename is None else f": '{error.filename}'"
        error = f"{error.strerror}{file}"
    note(f"error: {error}")
    return status


def note(text: str) -> None:
    """Print one line on standard error."""
    line = printing.printable(" ".join(text.split()))
    print(f"{arguments.PROGRAM}: {line}", file=sys.stderr)


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
