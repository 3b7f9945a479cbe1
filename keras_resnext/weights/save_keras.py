"""Keras' own files, with an error instead of a crash on a full disk."""

import io
import os
import pathlib

import keras

from keras_resnext import atomic_files


def save_keras(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Save a model, or its weights, as `model.save` and `save_weights` do.

    The file appears when it is complete. HDF5 itself writes to memory: on a
    full disk it can't close its file, and ends the process with a segmentation
    fault, at the latest when Python exits.

    Args:
        model: Any Keras model.
        path: Path of the file, ending in `.keras` or `.weights.h5`. A file of
            this name is replaced.

    Raises:
        WriteError: If the file can't be written, such as on a full disk.

    Example:
    >>> save_keras(model, "flowers.keras")
    """
    with atomic_files.replacing(path) as part:
        if part.name.endswith(".weights.h5"):
            content = _Memory(part)
            model.save_weights(content)
            # Not `getbuffer`: a view of a file in a cycle, as h5py leaves it,
            # crashes the garbage collector of Python 3.12.
            part.write_bytes(content.getvalue())
            return
        # By its descriptor: for a file with a name, Keras would let HDF5 write
        # another one beside it if it considers memory scarce.
        number = os.open(part, os.O_WRONLY | os.O_CREAT, 0o666)
        with _File(io.FileIO(number, "wb"), part) as file:
            model.save(file)


class _Memory(io.BytesIO):
    """File in memory, with a name whose ending Keras checks."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.path = path

    def __str__(self) -> str:
        return str(self.path)


class _File(io.BufferedWriter):
    """File on disk, with a name whose ending Keras checks."""

    def __init__(self, raw: io.RawIOBase, path: pathlib.Path) -> None:
        super().__init__(raw)
        self.path = path

    def __str__(self) -> str:
        return str(self.path)
