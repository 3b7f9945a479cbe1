"""PyTorch's checkpoints, in the zip format and the one before it.

Sizes are compared with the file's own before anything is allocated, and
tensors are read one at a time.
"""

import contextlib
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
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_resnext.weights.files import DAMAGED
from keras_resnext.weights.files import NEW_COPY
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import Contents
from keras_resnext.weights.files import LazyTensor
from keras_resnext.weights.files import Tensor
from keras_resnext.weights.files import check_archive
from keras_resnext.weights.files import read_bytes
from keras_resnext.weights.files import shown
from keras_resnext.weights.files import to_native
from keras_resnext.weights.pickles import PickledTensor
from keras_resnext.weights.pickles import unpickle
from keras_resnext.weights.weight_sets import choose
from keras_resnext.weights.weight_sets import unread_tensor

LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)[2:]


def open_zip(
    path: pathlib.Path, stack: contextlib.ExitStack, wanted: str | None
) -> Contents:
    """Open a checkpoint of the zip format, of PyTorch 1.6 and later.

    Args:
        path: Path of the file.
        stack: Stack that closes the file.
        wanted: Name of a set of weights, as for `choose`.
    """
    archive = stack.enter_context(zipfile.ZipFile(path))
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [n for n in entries if f"/{n}".endswith("/data.pkl")]
    if len(pickles) != 1 or _foreign(entries):
        raise CheckpointError(
            _foreign(entries)
            or "is a zip archive, but not one that PyTorch wrote; unpack it or "
            "use another checkpoint"
        )
    check_archive(archive, path)
    if len(entries) < len(archive.infolist()):
        raise CheckpointError(f"contains a part twice; {NEW_COPY}")
    root = pickles[0].removesuffix("data.pkl")

    def unpack(name: str) -> np.ndarray:
        entry = entries[name]
        with archive.open(entry) as file:  # verifies the checksum
            return read_bytes(file, entry.file_size)

    order = "little"  # the only order before the record existed
    if f"{root}byteorder" in entries:
        order = unpack(f"{root}byteorder").tobytes().decode()
    if order not in ("little", "big"):
        raise CheckpointError(f"has byte order {order[:9]!r}; {NEW_COPY}")
    stream = io.BytesIO(unpack(pickles[0]).tobytes())
    checkpoint, storages = unpickle(stream)

    def load(key: str) -> np.ndarray:
        storage = unpack(f"{root}data/{key}")
        if storage.nbytes != storages[key].nbytes:
            raise CheckpointError(DAMAGED)
        return storage

    return _contents(checkpoint, load, order, wanted)


def open_legacy(
    path: pathlib.Path, stack: contextlib.ExitStack, wanted: str | None
) -> Contents:
    """Open a checkpoint of the format before PyTorch 1.6.

    It consists of magic number, version, system, checkpoint, keys and raw
    storages. The arguments are those of `open_zip`.
    """
    file = stack.enter_context(path.open("rb"))
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        _magic, (version, _), _system = (unpickle(stream) for _ in range(3))
        if version != 1001:
            raise CheckpointError(
                f"has the unknown version {reprlib.repr(version)}; {NEW_COPY}"
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
            # The format has no checksum; its lengths reveal truncation.
            if length != storages[key].length or end > len(stream):
                raise CheckpointError(DAMAGED)
            stream.seek(end)
        if stream.tell() != len(stream):
            raise CheckpointError(DAMAGED)

    def load(key: str) -> np.ndarray:
        file.seek(places[key])
        return read_bytes(file, storages[key].nbytes)

    return _contents(checkpoint, load, "little", wanted)


# Descriptions of other archives, by the end of an entry's name.
_FOREIGN = {
    "/constants.pkl": "is a TorchScript archive, a program with its weights; "
    "open it with torch.jit.load and save its `state_dict()`",
    "/serialized_exported_program.json": "is an exported program of PyTorch; "
    "open it with torch.export.load and save its `state_dict`",
    "/models/model.json": "is an exported program of PyTorch; open it with "
    "torch.export.load and save its `state_dict`",
    "/extern_modules": "is an archive of torch.package, a program with its "
    "weights; open it there and save the model's `state_dict()`",
    ".npy": "is a NumPy archive (.npz); use the PyTorch, safetensors or Keras "
    "checkpoint that it was made from",
    "[Content_Types].xml": "is an Office document",
}


def _foreign(entries: Mapping[str, Any]) -> str | None:
    """Describe an archive that is not a checkpoint of PyTorch."""
    for end, fault in _FOREIGN.items():
        if any(f"/{name}".endswith(end) for name in entries):
            return fault
    for name in entries:
        if name.endswith((".pth", ".pt", ".tar", ".safetensors", ".h5")):
            return f"is a zip archive that contains {shown(name)!r}; unpack it"
    return None


def _contents(
    checkpoint: Any,
    load: Callable[[str], np.ndarray],
    order: str,
    wanted: str | None,
) -> Contents:
    """Choose a set of weights and describe its tensors, to be read later."""
    name, prefix, sets = choose(checkpoint, wanted)
    load = functools.lru_cache(maxsize=1)(load)

    @functools.lru_cache(maxsize=1)  # many tensors may share a storage
    def swapped(key: str, dtype: np.dtype) -> np.ndarray:
        return to_native(load(key).view(dtype), order).view(np.uint8)

    def read(tensor: PickledTensor) -> np.ndarray:
        return _array(tensor, swapped(tensor.storage.key, tensor.dtype))

    tensors: dict[str, Tensor] = {}
    for key, value in sets[name].items():
        if isinstance(value, PickledTensor):
            _check_span(value)
            tensors[key] = LazyTensor(
                value.shape, value.dtype, functools.partial(read, value)
            )
        elif kind := unread_tensor(value):
            raise CheckpointError(f"contains {shown(key)!r} as {kind}")
    return Contents(tensors, name, tuple(filter(None, sets)), prefix)


def _check_span(tensor: PickledTensor) -> None:
    """Refuse a tensor that is larger than its storage."""
    storage, dtype, offset, shape, strides, _ = tensor
    size = math.prod(shape)
    end = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    # Without a bound on `size`, a stride of 0 could expand to terabytes.
    if size and max(size, end + 1) * dtype.itemsize > storage.nbytes:
        raise CheckpointError(
            f"has a tensor of shape {reprlib.repr(shape)} that exceeds its "
            "storage, or was expanded; save a contiguous one"
        )


def _array(tensor: PickledTensor, storage: np.ndarray) -> np.ndarray:
    """Return a tensor from the bytes of its storage."""
    _, dtype, offset, shape, strides, views = tensor
    if not math.prod(shape):
        return np.empty(shape, dtype)
    array = np.ndarray(
        shape,
        dtype,
        storage.data,
        offset * dtype.itemsize,
        [s * dtype.itemsize for s in strides],
    )
    if "conj" in views:
        array = np.conjugate(array)
    return np.negative(array) if "neg" in views else array
