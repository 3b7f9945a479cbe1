"""Faults of the disk and of images, each as one sentence."""

import contextlib
import pathlib
from collections.abc import Iterator

import tensorflow as tf

from pipeline import load
from pipeline.sources import Source
from skeleton import checkpoints

# Errors of tf.data that are the files' fault. Others may be the program's.
_READING = (
    tf.errors.DataLossError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
)


class RunError(RuntimeError):
    """A run can't continue, for its disk or an image of it is at fault."""


@contextlib.contextmanager
def explained(folder: pathlib.Path, source: Source) -> Iterator[None]:
    """Turn what the disk or an image raises into a sentence.

    Args:
        folder: The folder of the run.
        source: The dataset.

    Raises:
        RunError: With the fault, and the checkpoint to resume from.
    """
    try:
        yield
    except OSError as error:
        raise RunError(f"{error} {last_good(folder)}") from error
    except tf.errors.OpError as error:
        fault = load.find_fault(source)
        if fault is None and not isinstance(error, _READING):
            raise
        if fault is None:
            fault = f"Can't read an image: {error.message.splitlines()[0]}."
        raise RunError(
            f"{fault} Restore it, and add --resume. {last_good(folder)}"
        ) from error


def last_good(folder: pathlib.Path) -> str:
    """Name the newest checkpoint of a run."""
    saved = checkpoints.files(folder)
    if not saved:
        return "There is no checkpoint from before."
    return f"The last good checkpoint is '{saved[0]}'."
