"""Parts of the command line, for your own scripts.

    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", help=scripts.DATASET)
    scripts.add_training(parser, "cifar_short", "NAME")
    sys.exit(scripts.main(parser, functools.partial(scripts.train, work=work)))

`work(args, recipe)` trains and returns the result as JSON values.
"""

import argparse
import signal
import sys
from collections.abc import Callable

from keras_resnext.cli import Failure as Failure
from keras_resnext.cli.loading import load as load_model
from keras_resnext.cli.loading import load_for_export as load_for_export
from keras_resnext.cli.loading import transform_for as transform_for
from keras_resnext.cli.training import (
    directory_of_several as directory_of_several,
)
from keras_resnext.cli.training import run as train
from keras_resnext.cli.training import trainer_options as trainer_options
from keras_resnext.cli.training_arguments import FOLDER as DATASET
from keras_resnext.cli.training_arguments import add_training as add_training
from keras_resnext.cli.types import positive as positive

__all__ = [
    "DATASET",
    "Failure",
    "add_training",
    "directory_of_several",
    "load_for_export",
    "load_model",
    "main",
    "positive",
    "train",
    "trainer_options",
    "transform_for",
]


def main(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], int],
) -> int:
    """Run a script, and turn its errors into one sentence each.

    Args:
        parser: The parser of the script's arguments.
        work: Function that does the work, and returns the exit status.

    Returns:
        The exit status: 0 for success, 1 for a failure, 2 for wrong usage.
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
    except (Failure, ImportError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 128 + signal.SIGINT
