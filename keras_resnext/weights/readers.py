"""Checkpoint files of other libraries, read as NumPy arrays.

Nothing that a file holds is executed, and no size that it states is believed
before it has been compared with the file's own. One reader per format; the
table at the end picks it by the file's first bytes, never by its extension.
"""

import functools
import io
import math
import mmap
import os
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

import h5py
import ml_dtypes  # safetensors' bfloat16 needs it imported
import numpy as np
import safetensors

Arrays = dict[str, np.ndarray]

_DOWNLOAD_AGAIN = "delete it and download it again"
_KERAS_3 = (
    "is a Keras 3 file, not a checkpoint of another library; use "
    "`model.load_weights` or `keras.saving.load_model` on it"
)
# Weights barely compress, so a file that claims to unpack to more is a bomb.
_MAX_INFLATION = 16
_CHUNK = 1 << 20


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be read, or not one to trust."""


def read_checkpoint(path: str | os.PathLike[str]) -> Arrays:
    """Reads the weights in a checkpoint file, without running any of it.

    The content tells the format: safetensors, PyTorch (both the zip format
    and the one before PyTorch 1.6) or Keras' legacy HDF5. Neither PyTorch nor
    TensorFlow is imported. Of a training checkpoint only the weights are
    read, from its first entry among `"state_dict"`, `"model"`,
    `"state_dict_ema"` and `"model_ema"`.

    Args:
        path: Path of the file.

    Returns:
        A dict that maps each weight's name, less a `"module."` that all names
        begin with or a final `":0"` of Keras, to an array of the shape and
        dtype in the file. Weights that were tied share their memory.

    Raises:
        FileNotFoundError: If there is no file at `path`.
        CheckpointError: If the file is damaged, of an unknown format, without
            weights, or if reading it would mean running code from it.

    Example:
    ```python
    weights = read_checkpoint("resnext50_32x4d.pth")
    weights["conv1.weight"].shape  # (64, 3, 7, 7)
    ```
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no checkpoint file {path}; check the path or download "
            "the file first."
        )
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; name a file inside it.")
    with path.open("rb") as file:
        head = file.read(512)
    try:
        label, read = _recognise(head)
        arrays = read(path)
        if not arrays:
            raise CheckpointError("holds no weights; use another checkpoint")
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}.") from error.__cause__
    except Exception as error:  # on hostile bytes a parser raises anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(
            f"{path} can not be read as a {label} file ({reason}); "
            f"{_DOWNLOAD_AGAIN}."
        ) from error
    if all(name.startswith("module.") for name in arrays):  # DataParallel
        return {name.removeprefix("module."): a for name, a in arrays.items()}
    return arrays


def _check_inflation(sizes: Iterable[int], path: pathlib.Path) -> None:
    total, limit = sum(sizes), _MAX_INFLATION * path.stat().st_size
    if total > limit:
        raise CheckpointError(
            f"claims to unpack to {total} bytes, more than its size allows; "
            f"{_DOWNLOAD_AGAIN}"
        )


# Safetensors -----------------------------------------------------------------


def _read_safetensors(path: pathlib.Path) -> Arrays:
    with safetensors.safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


# Keras' legacy HDF5 ----------------------------------------------------------


def _read_h5(path: pathlib.Path) -> Arrays:
    with h5py.File(path, "r") as file:
        root = (
            _child(file, "model_weights") if "model_weights" in file else file
        )
        layers = [_child(root, name) for name in _names(root, "layer_names")]
        if not layers and ("vars" in file or "layers" in file):
            raise CheckpointError(_KERAS_3)
        weights = [
            (name.removesuffix(":0"), _child(layer, name))
            for layer in layers
            for name in _names(layer, "weight_names")
        ]
        datasets = dict(weights)
        if len(datasets) < len(weights):
            raise CheckpointError(
                "names two weights alike; save it again with a newer Keras"
            )
        for name, dataset in datasets.items():
            _check_dataset(name, dataset)
        _check_inflation((d.nbytes for d in datasets.values()), path)
        return {
            name: np.asarray(d[()], dtype=d.dtype.newbyteorder("="))
            for name, d in datasets.items()
        }


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Joins what Keras splits over `attribute0`, `attribute1`... if long."""
    parts = (f"{attribute}{i}" for i in range(len(group.attrs)))
    chunks = [key for key in (attribute, *parts) if key in group.attrs]
    names = [name for key in chunks for name in group.attrs[key]]
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]


def _child(group: h5py.Group, path: str) -> Any:
    """Follows hard links only, as the others can lead into other files."""
    for part in path.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise CheckpointError(f"does not itself hold its {path!r}")
        group = group[part]
    return group


def _check_dataset(name: str, dataset: h5py.Dataset) -> None:
    if dataset.external or dataset.is_virtual:
        raise CheckpointError(f"keeps {name!r} in other files; do not trust it")
    if dataset.dtype.kind not in "fiub":
        raise CheckpointError(f"holds no numbers in {name!r}")


# PyTorch's pickles -----------------------------------------------------------


def _read_torch_zip(path: pathlib.Path) -> Arrays:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if "model.weights.h5" in entries:
            raise CheckpointError(_KERAS_3)
        pickles = [n for n in entries if f"/{n}".endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(
                "is a zip archive, but not one that PyTorch wrote; unpack it "
                "or use another checkpoint"
            )
        _check_inflation((e.file_size for e in entries.values()), path)
        root = pickles[0].removesuffix("data.pkl")

        def load(key: str) -> np.ndarray:
            entry = entries[f"{root}data/{key}"]
            with archive.open(entry) as file:  # verifies the checksum
                return _read_bytes(file, entry.file_size)

        order = "little"  # as on every machine before the record existed
        if f"{root}byteorder" in entries:
            order = archive.read(f"{root}byteorder").decode()
        if order not in ("little", "big"):
            raise CheckpointError(
                f"has byte order {order!r}; {_DOWNLOAD_AGAIN}"
            )
        checkpoint, _ = _unpickle(io.BytesIO(archive.read(pickles[0])))
        return _arrays(checkpoint, load, order)


def _read_torch_legacy(path: pathlib.Path) -> Arrays:
    """Reads magic number, version, system, checkpoint, keys, raw storages."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream,
    ):
        _magic, (version, _), _system = (_unpickle(stream) for _ in range(3))
        if version != 1001:
            raise CheckpointError(
                f"has the unknown version {version!r}; {_DOWNLOAD_AGAIN}"
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
                raise CheckpointError(f"is cut or damaged; {_DOWNLOAD_AGAIN}")
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
        if file.readinto(chunk.data) != len(chunk):  # type: ignore[attr-defined]
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
            f"{_DOWNLOAD_AGAIN}"
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


# Formats ---------------------------------------------------------------------


class _Format(NamedTuple):
    label: str
    matches: Callable[[bytes], bool]
    read: Callable[[pathlib.Path], Arrays]


_LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)[2:]

_FORMATS = [
    _Format("PyTorch", lambda h: h.startswith(b"PK\x03\x04"), _read_torch_zip),
    # Protocols above 2 put a frame, of 9 bytes, before the number.
    _Format(
        "legacy PyTorch", lambda h: _LEGACY_MAGIC in h[:32], _read_torch_legacy
    ),
    _Format(
        "Keras HDF5", lambda h: h.startswith(b"\x89HDF\r\n\x1a\n"), _read_h5
    ),
    # No magic number: 8 bytes of a JSON header's length, then its brace.
    _Format("safetensors", lambda h: h[4:9] == b"\0\0\0\0{", _read_safetensors),
]

_WEB_PAGE = (
    "is a web page, perhaps of an error, in place of a checkpoint; "
    f"{_DOWNLOAD_AGAIN}"
)
_IMPOSTORS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the file that it "
    "points to; run `git lfs pull` or download that file",
    b"<!doctype": _WEB_PAGE,
    b"<html": _WEB_PAGE,
    b"<?xml": _WEB_PAGE,
}


def _recognise(head: bytes) -> tuple[str, Callable[[pathlib.Path], Arrays]]:
    if not head:
        raise CheckpointError(f"is empty; {_DOWNLOAD_AGAIN}")
    for start, fault in _IMPOSTORS.items():
        if head.lstrip().lower().startswith(start):
            raise CheckpointError(fault)
    for label, matches, read in _FORMATS:
        if matches(head):
            return label, read
    raise CheckpointError(
        "is of an unknown format, not one of "
        f"{', '.join(f.label for f in _FORMATS)}; {_DOWNLOAD_AGAIN}"
    )
