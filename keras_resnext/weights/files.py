"""What the readers of all formats share: their error, and their limits."""

import pathlib
import sys
from collections.abc import Iterable
from typing import IO

import numpy as np

Arrays = dict[str, np.ndarray]

DOWNLOAD_AGAIN = "delete it and download it again"
DAMAGED = f"is cut or damaged; {DOWNLOAD_AGAIN}"
KERAS_3 = (
    "is a Keras 3 file, not a checkpoint of another library; use "
    "`model.load_weights` or `keras.saving.load_model` on it"
)
# Weights barely compress, so a file that claims to unpack to more is a bomb.
_MAX_INFLATION = 16
_CHUNK = 1 << 20


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be read, or not one to trust."""


def shown(text: str) -> str:
    """What may be printed of a text from a file, which may steer a terminal."""
    return text if text.isprintable() else ascii(text)


def check_inflation(sizes: Iterable[int], path: pathlib.Path) -> None:
    total, limit = sum(sizes), _MAX_INFLATION * path.stat().st_size
    if total > limit:
        raise CheckpointError(
            f"claims to unpack to {total} bytes, more than its size allows; "
            f"{DOWNLOAD_AGAIN}"
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
