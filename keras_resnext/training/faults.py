"""Errors that end a training, each as one sentence."""

import contextlib
import pathlib
from collections.abc import Iterator

import tensorflow as tf

from keras_resnext.data import folders
from keras_resnext.data.datasets import Dataset
from keras_resnext.training import checkpoints

# Errors of tf.data that files cause. Others may be errors of the program.
_READING = (
    tf.errors.DataLossError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
)


class RunError(RuntimeError):
    """A run can't continue because of its disk or an image."""


class DivergedError(RuntimeError):
    """The loss is NaN or infinite."""


class TrainingStopped(Exception):
    """A signal stopped the training, and the run was saved.

    Args:
        signal: Number of the signal.
    """

    def __init__(self, signal: int) -> None:
        super().__init__("Stopped and saved. The run resumes with resume=True.")
        self.signal = signal


@contextlib.contextmanager
def explained(folder: pathlib.Path, dataset: Dataset) -> Iterator[None]:
    """Turn errors of the disk or of an image into a sentence.

    Args:
        folder: The folder of the run.
        dataset: The dataset.

    Raises:
        RunError: With the cause, and the checkpoint to resume from.
    """
    try:
        yield
    except OSError as error:
        raise RunError(f"{error} {checkpoints.last_good(folder)}") from error
    except tf.errors.OpError as error:
        fault = folders.find_fault(dataset)
        if fault is None and not isinstance(error, _READING):
            raise
        if fault is None:
            fault = f"Can't read an image: {error.message.splitlines()[0]}."
        raise RunError(
            f"{fault} Restore it and resume (--resume). "
            f"{checkpoints.last_good(folder)}"
        ) from error
