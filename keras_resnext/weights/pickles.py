"""PyTorch's checkpoints: their pickles read without torch, nothing executed.

A pickle is a program, so it runs here on stand-ins that can only describe
tensors; whatever else it asks for is refused. Sizes are compared with the
file's own before anything is allocated.
"""

import functools
import io
import math
import mmap
import pathlib
import pickle
import pickletools
import struct
import sys
import zipfile
from collections.abc import Callable
from collections.abc import Iterable
from typing import IO
from typing import Any
from typing import NamedTuple

import ml_dtypes
import numpy as np

Arrays = dict[str, np.ndarray]

LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)[2:]
DOWNLOAD_AGAIN = "delete it and download it again"
KERAS_3 = (
    "is a Keras 3 file, not a checkpoint of another library; use "
    "`model.load_weights` or `keras.saving.load_model` on it"
)
# Weights barely compress, so a file that claims to unpack to more is a bomb.
_MAX_INFLATION = 16
_CHUNK = 1 << 20


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be read, or not one to trust."""


def check_inflation(sizes: Iterable[int], path: pathlib.Path) -> None:
    total, limit = sum(sizes), _MAX_INFLATION * path.stat().st_size
    if total > limit:
        raise CheckpointError(
            f"claims to unpack to {total} bytes, more than its size allows; "
            f"{DOWNLOAD_AGAIN}"
        )


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
        root = pickles[0].removesuffix("data.pkl")

        def load(key: str) -> np.ndarray:
            entry = entries[f"{root}data/{key}"]
            with archive.open(entry) as file:  # verifies the checksum
                return _read_bytes(file, entry.file_size)

        order = "little"  # as on every machine before the record existed
        if f"{root}byteorder" in entries:
            order = archive.read(f"{root}byteorder").decode()
        if order not in ("little", "big"):
            raise CheckpointError(f"has byte order {order!r}; {DOWNLOAD_AGAIN}")
        checkpoint, _ = _unpickle(io.BytesIO(archive.read(pickles[0])))
        return _arrays(checkpoint, load, order)


def read_legacy(path: pathlib.Path) -> Arrays:
    """Reads magic number, version, system, checkpoint, keys, raw storages."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream,
    ):
        _magic, (version, _), _system = (_unpickle(stream) for _ in range(3))
        if version != 1001:
            raise CheckpointError(
                f"has the unknown version {version!r}; {DOWNLOAD_AGAIN}"
            )
        checkpoint, storages = _unpickle(stream)
        keys, _ = _unpickle(stream)
        places = {}
        for key in keys:
            (length,) = struct.unpack("<q", stream.read(8))
            start = stream.tell()
            size = length * storages[key].dtype.itemsize
            # The format has no checksum; its lengths show that it was cut.
            if length != storages[key].length or start + size > len(stream):
                raise CheckpointError(f"is cut or damaged; {DOWNLOAD_AGAIN}")
            places[key] = start, size
            stream.seek(start + size)

        def load(key: str) -> np.ndarray:
            start, size = places[key]
            file.seek(start)
            return _read_bytes(file, size)

        return _arrays(checkpoint, load, "little")


def _read_bytes(file: IO[bytes], size: int) -> np.ndarray:
    """Reads by chunks into one buffer, as weights may fill half the memory."""
    buffer = np.empty(size, np.uint8)
    for start in range(0, size, _CHUNK):
        chunk = buffer[start : start + _CHUNK]
        if file.readinto(chunk.data) != len(chunk):  # type: ignore[attr-defined]  # typing.IO lacks it, files don't
            raise EOFError("a storage is cut")
    return buffer


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


# All that a pickle can reach must withstand all that it can do: call it, or
# set its state. Named tuples have no state to set; the classes here drop it.


class _DType(NamedTuple):
    dtype: np.dtype


class _Function(NamedTuple):
    function: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class _Ignored:
    """Stands for what is no weight: a NumPy scalar, a device."""

    __slots__ = ()

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Dict(dict):
    """Stands for an OrderedDict, less attributes such as `_metadata`."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, *extras: Any
) -> _Tensor:
    _requires_grad, _hooks, *metadata = extras or (False, None)
    if not isinstance(storage, _Storage) or any(metadata):
        raise pickle.UnpicklingError("a tensor of an unknown kind")
    numbers = (offset, *shape, *strides)
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise pickle.UnpicklingError(f"a tensor with layout {numbers}")
    if len(shape) != len(strides):
        raise pickle.UnpicklingError("a tensor with too few or many strides")
    return _Tensor(storage, storage.dtype, offset, tuple(shape), tuple(strides))


def _tensor_v3(*args: Any) -> _Tensor:
    """Rebuilds what has no storage class of its own, such as uint16."""
    *typed, dtype = args[:7]
    if not isinstance(dtype, _DType):
        raise pickle.UnpicklingError("a tensor without a dtype")
    return _tensor(*typed, *args[7:])._replace(dtype=dtype.dtype)


def _parameter(tensor: Any, *args: Any) -> Any:
    del args
    return tensor


_DTYPES = {
    "Double": np.dtype(np.float64),
    "Float": np.dtype(np.float32),
    "Half": np.dtype(np.float16),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype(np.int64),
    "Int": np.dtype(np.int32),
    "Short": np.dtype(np.int16),
    "Char": np.dtype(np.int8),
    "Byte": np.dtype(np.uint8),
    "Bool": np.dtype(np.bool_),
}
_UNSIGNED = [np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.uint64)]

# All that a state dict needs, with what a training checkpoint adds to one.
_ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": _Function(_Dict),
    "torch.Size": _Function(tuple),
    "torch._utils._rebuild_tensor": _Function(_tensor),
    "torch._utils._rebuild_tensor_v2": _Function(_tensor),
    "torch._utils._rebuild_tensor_v3": _Function(_tensor_v3),
    "torch._utils._rebuild_parameter": _Function(_parameter),
    "torch.nn.parameter.Parameter": _Function(_parameter),
    "torch.storage.UntypedStorage": _DType(np.dtype(np.uint8)),
    **{
        f"{module}.{name}Storage": _DType(dtype)
        for module in ("torch", "torch.cuda")
        for name, dtype in _DTYPES.items()
    },
    **{
        f"torch.{dtype.name}": _DType(dtype)
        for dtype in [*_DTYPES.values(), *_UNSIGNED]
    },
    **dict.fromkeys(
        [
            "__builtin__.set",
            "_codecs.encode",
            "builtins.set",
            "collections.Counter",
            "numpy._core.multiarray.scalar",
            "numpy.core.multiarray.scalar",
            "numpy.dtype",
            "torch.device",
        ],
        _Function(_Ignored),
    ),
}


class _Unpickler(pickle.Unpickler):
    """Builds nothing but the stand-ins above."""

    def __init__(self, data: bytes) -> None:
        # Python 2 wrote names as bytes; latin1 is the reading that can't fail.
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _ALLOWED:
            raise CheckpointError(
                f"asks for the Python object '{module}.{name}', which weights "
                "do not need and which could run code; use a checkpoint that "
                "holds a state dict only, from a source you trust"
            )
        return _ALLOWED[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", _DType(dtype), str(key), _, int(count), *view) if (
                count >= 0 and all(v is None for v in view)
            ):
                self.storages[key] = _Storage(key, dtype, count)
                return self.storages[key]
        raise pickle.UnpicklingError("a storage of an unknown kind")


def _unpickle(stream: Any) -> tuple[Any, dict[str, _Storage]]:
    """Loads the pickle at the stream's position, and leaves it behind it."""
    start = stream.tell()
    argument: Any
    for opcode, argument, _ in pickletools.genops(stream):
        # The unpickler's memo is as long as the largest index that it is told.
        if "PUT" in opcode.name and argument > stream.tell():
            raise pickle.UnpicklingError(f"a memo of {argument} entries")
        # What this process registered, EXT gets without asking find_class.
        if opcode.name.startswith("EXT"):
            raise pickle.UnpicklingError("an extension code")
    end = stream.tell()
    stream.seek(start)
    unpickler = _Unpickler(stream.read(end - start))
    return unpickler.load(), unpickler.storages


def _arrays(
    checkpoint: Any, load: Callable[[str], np.ndarray], order: str
) -> Arrays:
    """Loads the storages behind a checkpoint's weights, and only those."""
    load = functools.cache(load)
    return {
        name: _array(tensor, load(tensor.storage.key), order)
        for name, tensor in _state_dict(checkpoint).items()
        if isinstance(name, str) and isinstance(tensor, _Tensor)
    }


def _state_dict(checkpoint: Any) -> dict:
    if not isinstance(checkpoint, dict):
        raise CheckpointError("holds no state dict; use another checkpoint")
    for key in ("state_dict", "model", "state_dict_ema", "model_ema"):
        if isinstance(checkpoint.get(key), dict):
            return checkpoint[key]
    return checkpoint


def _array(tensor: _Tensor, storage: np.ndarray, order: str) -> np.ndarray:
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
    array: np.ndarray = np.ndarray(
        shape,
        dtype,
        storage.data,
        offset * dtype.itemsize,
        [s * dtype.itemsize for s in strides],
    )
    if order == sys.byteorder:
        return array
    return array.view(f"u{dtype.itemsize}").byteswap().view(dtype)
