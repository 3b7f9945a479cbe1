"""Tensors in files, and the errors and limits that all readers share."""

import math
import pathlib
import sys
import zipfile
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import IO
from typing import NamedTuple

import numpy as np

NEW_COPY = "get a new copy of it"
DAMAGED = f"is cut or damaged; {NEW_COPY}"
# Other compression methods may take any amount of memory to unpack.
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Weights barely compress, so a file that claims to unpack to more is a bomb.
_MAX_INFLATION = 16
_CHUNK = 1 << 20


class LazyTensor:
    """Tensor in an open file, read at each access.

    Args:
        shape: Shape of the tensor.
        dtype: Its dtype.
        read: Function that returns the values in a new array.
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
    """Contents of a file of weights.

    Attributes:
        tensors: Tensors of the chosen set of weights.
        weight_set: Name of the set; `""` if the file itself is one.
        weight_sets: Names of all sets.
        prefix: Prefix of names that was requested within the set.
    """

    tensors: dict[str, Tensor]
    weight_set: str = ""
    weight_sets: tuple[str, ...] = ()
    prefix: str = ""


class CheckpointError(ValueError):
    """A file is not a readable checkpoint, or not to be trusted."""


def shown(text: str) -> str:
    """Escape a file's text if not printable, as it could control terminals."""
    return text if text.isprintable() else ascii(text)


def listed(names: Iterable[str], limit: int = 10) -> str:
    """List the first names of a file: `"a, b and 3 more"`."""
    names = [*names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(map(shown, names[:limit])) or "nothing") + more


def check_inflation(sizes: Iterable[int], path: pathlib.Path) -> None:
    total, limit = sum(sizes), _MAX_INFLATION * path.stat().st_size
    if total > limit:
        raise CheckpointError(
            f"claims to unpack to {total} bytes, more than its size allows; "
            f"{NEW_COPY}"
        )


def check_archive(archive: zipfile.ZipFile, path: pathlib.Path) -> None:
    members = archive.infolist()
    check_inflation((member.file_size for member in members), path)
    if any(member.compress_type not in _PACKINGS for member in members):
        raise CheckpointError(
            "is packed in another way than PyTorch's and Keras'; save it again"
        )


def read_bytes(file: IO[bytes], size: int) -> np.ndarray:
    """Read in chunks into one buffer, as weights may fill half the memory."""
    buffer = np.empty(size, np.uint8)
    for start in range(0, size, _CHUNK):
        chunk = buffer[start : start + _CHUNK]
        data = file.read(len(chunk))
        if len(data) != len(chunk):
            raise EOFError("a storage is cut")
        chunk[:] = np.frombuffer(data, np.uint8)
    return buffer


def to_native(array: np.ndarray, order: str) -> np.ndarray:
    """Swap the bytes of numbers that are not in this machine's order."""
    if order == sys.byteorder:
        return array
    unsigned = array.view(f"u{array.dtype.itemsize}")
    return unsigned.byteswap().view(array.dtype)
