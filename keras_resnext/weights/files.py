"""Tensors in files, and the errors and limits that all readers share."""

import math
import os
import pathlib
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import IO
from typing import NamedTuple

import numpy as np

NEW_COPY = "get a new copy of it"
DAMAGED = f"is cut or damaged; {NEW_COPY}"
KERAS_3 = (
    "is a Keras 3 file, not a checkpoint of another library; use "
    "`model.load_weights` or `keras.saving.load_model` on it"
)
# Weights barely compress, so a file that claims to unpack to more is a bomb.
_MAX_INFLATION = 16
_CHUNK = 1 << 20


class LazyTensor:
    """Tensor in a file that is open: read each time that it is wanted.

    Args:
        shape: Shape of the tensor.
        dtype: Its dtype.
        read: Function that returns the numbers, in an array of its own.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype,
        read: Callable[[], np.ndarray],
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.size = math.prod(shape)
        self.read = read

    def __array__(
        self, dtype: np.dtype | None = None, copy: bool | None = None
    ) -> np.ndarray:
        return np.array(self.read(), dtype, copy=copy)


Tensor = np.ndarray | LazyTensor
Tensors = Mapping[str, Tensor]


class Contents(NamedTuple):
    """What a reader finds in a file.

    Attributes:
        tensors: Tensors of the set of weights that was chosen.
        weight_set: Name of the set; `""` if the file is one itself.
        weight_sets: Names of all sets.
        prefix: Prefix of names that was asked for beyond the set.
    """

    tensors: Tensors
    weight_set: str = ""
    weight_sets: tuple[str, ...] = ()
    prefix: str = ""


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be read, or not one to trust."""


def refuse_weight_set(
    path: str | os.PathLike[str], weight_set: str | None
) -> None:
    """Refuse to choose among the weights of a file of Keras.

    Raises:
        CheckpointError: If `weight_set` is not `None`.
    """
    if weight_set is not None:
        raise CheckpointError(
            f"'{path}' is a file of Keras, which holds one set of weights. "
            f"Leave out weight_set. Received: {weight_set!r}"
        )


def shown(text: str) -> str:
    """What may be printed of a text from a file, which may steer a terminal."""
    return text if text.isprintable() else ascii(text)


def check_inflation(sizes: Iterable[int], path: pathlib.Path) -> None:
    total, limit = sum(sizes), _MAX_INFLATION * path.stat().st_size
    if total > limit:
        raise CheckpointError(
            f"claims to unpack to {total} bytes, more than its size allows; "
            f"{NEW_COPY}"
        )


def read_bytes(file: IO[bytes], size: int) -> np.ndarray:
    """Reads by chunks into one buffer, as weights may fill half the memory."""
    buffer = np.empty(size, np.uint8)
    for start in range(0, size, _CHUNK):
        chunk = buffer[start : start + _CHUNK]
        data = file.read(len(chunk))
        if len(data) != len(chunk):
            raise EOFError("a storage is cut")
        chunk[:] = np.frombuffer(data, np.uint8)
    return buffer


def to_native(array: np.ndarray, order: str) -> np.ndarray:
    """Swaps the bytes of numbers that are not in this machine's order."""
    if order == sys.byteorder:
        return array
    unsigned = array.view(f"u{array.dtype.itemsize}")
    return unsigned.byteswap().view(array.dtype)
