"""The command `keras-resnext`: arguments in, exit status out.

Exit status 0 is success, 1 a failure, 2 a wrong command line.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from keras_resnext.cli import arguments


class Failure(Exception):
    """What a right command line ends with when something else is wrong."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        words: Its words; `None` takes the process's own.

    Returns:
        The exit status.
    """
    args = arguments.parser().parse_args(words)
    # As for Ctrl-C: what was begun is removed.
    before = signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )
    try:
        command = importlib.import_module(f"keras_resnext.cli.{args.module}")
        status = command.run(args)
        sys.stdout.flush()
    except Failure as error:
        return complain(error)
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # as of `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        return complain(error, _status(error))
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, before)
    return status


def complain(error: object, status: int = 1) -> int:
    """Says in one sentence what is wrong."""
    text = " ".join(str(error).split())
    print(f"{arguments.PROGRAM}: error: {text}", file=sys.stderr)
    return status


def _status(error: Exception) -> int:
    """1 where nothing is wrong with the command line."""
    # With NumPy, for which `list` would wait.
    from keras_resnext.weights.fetch import WeightsUnavailableError

    return 1 if isinstance(error, WeightsUnavailableError) else 2
