"""PyTorch's checkpoints, of the zip format and of the one before it.

Sizes are compared with the file's own before anything is allocated.
"""

import functools
import io
import math
import mmap
import pathlib
import pickle
import reprlib
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_resnext.weights.files import DAMAGED
from keras_resnext.weights.files import DOWNLOAD_AGAIN
from keras_resnext.weights.files import KERAS_3
from keras_resnext.weights.files import Arrays
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import check_inflation
from keras_resnext.weights.files import read_bytes
from keras_resnext.weights.files import to_native
from keras_resnext.weights.pickles import Tensor
from keras_resnext.weights.pickles import unpickle

LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)[2:]
# The other ways of packing a file may take any amount of memory to undo.
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_zip(path: pathlib.Path) -> Arrays:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if "model.weights.h5" in entries:
            raise CheckpointError(KERAS_3)
        pickles = [n for n in entries if f"/{n}".endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(
                "is a zip archive, but not one that PyTorch wrote; unpack it "
                "or use another checkpoint"
            )
        check_inflation((e.file_size for e in entries.values()), path)
        if len(entries) < len(archive.infolist()):
            raise CheckpointError(f"holds a part twice; {DOWNLOAD_AGAIN}")
        if any(e.compress_type not in _PACKINGS for e in entries.values()):
            raise CheckpointError(
                "is packed in another way than PyTorch's; save it again"
            )
        root = pickles[0].removesuffix("data.pkl")

        def unpack(name: str) -> np.ndarray:
            entry = entries[name]
            with archive.open(entry) as file:  # verifies the checksum
                return read_bytes(file, entry.file_size)

        order = "little"  # as on every machine before the record existed
        if f"{root}byteorder" in entries:
            order = unpack(f"{root}byteorder").tobytes().decode()
        if order not in ("little", "big"):
            raise CheckpointError(
                f"has byte order {order[:9]!r}; {DOWNLOAD_AGAIN}"
            )
        stream = io.BytesIO(unpack(pickles[0]).tobytes())
        checkpoint, storages = unpickle(stream)

        def load(key: str) -> np.ndarray:
            storage = unpack(f"{root}data/{key}")
            if storage.nbytes != storages[key].nbytes:
                raise CheckpointError(DAMAGED)
            return storage

        return _arrays(checkpoint, load, order)


def read_legacy(path: pathlib.Path) -> Arrays:
    """Reads magic number, version, system, checkpoint, keys, raw storages."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream,
    ):
        _magic, (version, _), _system = (unpickle(stream) for _ in range(3))
        if version != 1001:
            raise CheckpointError(
                f"has the unknown version {reprlib.repr(version)}; "
                f"{DOWNLOAD_AGAIN}"
            )
        checkpoint, storages = unpickle(stream)
        keys, _ = unpickle(stream)
        places: dict[str, int] = {}
        for key in keys:
            if not isinstance(key, str) or key not in storages:
                raise CheckpointError(DAMAGED)
            (length,) = struct.unpack("<q", stream.read(8))
            places[key] = stream.tell()
            end = places[key] + storages[key].nbytes
            # The format has no checksum; its lengths show that it was cut.
            if length != storages[key].length or end > len(stream):
                raise CheckpointError(DAMAGED)
            stream.seek(end)
        if stream.tell() != len(stream):
            raise CheckpointError(DAMAGED)

        def load(key: str) -> np.ndarray:
            file.seek(places[key])
            return read_bytes(file, storages[key].nbytes)

        return _arrays(checkpoint, load, "little")


def _arrays(
    checkpoint: Any, load: Callable[[str], np.ndarray], order: str
) -> Arrays:
    """Loads the storages behind a checkpoint's weights, and only those."""
    load = functools.cache(load)

    @functools.cache  # for bytes swapped anew, tensor by tensor, might be many
    def swapped(key: str, dtype: np.dtype) -> np.ndarray:
        return to_native(load(key).view(dtype), order).view(np.uint8)

    return {
        name: _array(tensor, swapped(tensor.storage.key, tensor.dtype))
        for name, tensor in _state_dict(checkpoint).items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }


def _state_dict(checkpoint: Any) -> dict:
    if not isinstance(checkpoint, dict):
        raise CheckpointError("holds no state dict; use another checkpoint")
    for key in ("state_dict", "model", "state_dict_ema", "model_ema"):
        if isinstance(checkpoint.get(key), dict):
            return checkpoint[key]
    return checkpoint


def _array(tensor: Tensor, storage: np.ndarray) -> np.ndarray:
    """Lays a tensor over the bytes of its storage."""
    _, dtype, offset, shape, strides = tensor
    size = math.prod(shape)
    end = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    # Without a bound on `size` too, a stride of 0 makes terabytes out of one.
    if size and max(size, end + 1) * dtype.itemsize > storage.nbytes:
        raise CheckpointError(
            f"has a tensor of shape {shape} that exceeds its storage; "
            f"{DOWNLOAD_AGAIN}"
        )
    if not size:
        return np.empty(shape, dtype)
    return np.ndarray(
        shape,
        dtype,
        storage.data,
        offset * dtype.itemsize,
        [s * dtype.itemsize for s in strides],
    )
