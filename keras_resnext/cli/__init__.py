"""The command `keras-resnext`: arguments in, exit status out.

Exit status 0 is success, 1 a failure, 2 a wrong command line. Each command's
module is imported by the command itself, since most import Keras, which
takes seconds.
"""

import argparse
import importlib
import os
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from keras_resnext.cli import quiet

PROGRAM = "keras-resnext"


class Failure(Exception):
    """What a right command line ends with when something else is wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Its words; `None` takes the process's own.

    Returns:
        The exit status.
    """
    args = parser().parse_args(arguments)
    if args.module != "catalogue":
        quiet.load()
    command = importlib.import_module(f"keras_resnext.cli.{args.module}")
    try:
        status = command.run(args)
        sys.stdout.flush()
    except Failure as error:
        return complain(error)
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # as of `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        return complain(error, 2)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 128 + signal.SIGINT
    return status


def complain(error: object, status: int = 1) -> int:
    """Says in one sentence what is wrong."""
    text = " ".join(str(error).split())
    print(f"{PROGRAM}: error: {text}", file=sys.stderr)
    return status


class Parser(argparse.ArgumentParser):
    """A parser that complains as the commands do."""

    def error(self, message: str) -> NoReturn:
        """Ends the process."""
        sys.exit(complain(message, 2))


def parser() -> argparse.ArgumentParser:
    """The command line's, with one parser for each command."""
    whole = Parser(
        PROGRAM,
        description="ResNeXt for Keras 3: networks, weights, predictions.",
        epilog=f"{PROGRAM} COMMAND --help tells more of a command.",
    )
    commands = whole.add_subparsers(
        required=True, metavar="COMMAND", title="commands"
    )

    def command(name: str, module: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(module=module, command=name)
        made.add_argument(
            "--json", action="store_true", help="print JSON, for programs"
        )
        return made

    networks = command("list", "catalogue", "List the networks.")
    weights = command("weights", "catalogue", "List published weights.")
    for made in (networks, weights):
        made.add_argument(
            "pattern",
            nargs="?",
            default="*",
            metavar="PATTERN",
            help="which, such as 'resnext50*' (default: all)",
        )
    weights.add_argument(
        "--license",
        metavar="SPDX",
        help="only those under a licence, such as apache-2.0; 'commercial' "
        "stands for all that allow commercial use",
    )
    info = command("info", "info", "Tell what a network is made of.")
    info.add_argument("model", metavar="MODEL", help=f"one of {PROGRAM} list")
    info.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="height and width of pictures (default: the network's own)",
    )
    _add_predict(command("predict", "predict", "Name what is on pictures."))
    return whole


def _add_predict(predict: argparse.ArgumentParser) -> None:
    predict.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        type=pathlib.Path,
        help="files of any kind that Pillow reads",
    )
    predict.add_argument(
        "--model",
        help=f"one of {PROGRAM} list, or NAME.TAG of {PROGRAM} weights "
        "(default: resnext50_32x4d, or what the file of --weights holds)",
    )
    predict.add_argument(
        "--weights",
        help=f"imagenet, a tag of {PROGRAM} weights, or the path of a "
        "checkpoint (default: imagenet)",
    )
    predict.add_argument(
        "--top",
        type=positive,
        metavar="N",
        default=5,
        help="how many classes to print for each (default: %(default)s)",
    )
    predict.add_argument(
        "--gradcam",
        type=pathlib.Path,
        metavar="OUT.png",
        help="write a picture of where the network looked for the first "
        "class; several stand side by side",
    )


def positive(word: str) -> int:
    """A number from 1."""
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number
