"""Safetensors files, read one tensor at a time.

The library checks the header, but maps the whole file and copies from the map,
so a file takes twice its size in memory.
"""

import contextlib
import functools
import json
import math
import pathlib

import ml_dtypes
import numpy as np
import safetensors

from keras_resnext.weights.files import DAMAGED
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import Contents
from keras_resnext.weights.files import LazyTensor
from keras_resnext.weights.files import Tensor
from keras_resnext.weights.files import read_bytes
from keras_resnext.weights.files import shown
from keras_resnext.weights.files import to_native

_DTYPES = {
    name: np.dtype(dtype)
    for name, dtype in {
        "F64": np.float64,
        "F32": np.float32,
        "F16": np.float16,
        "BF16": ml_dtypes.bfloat16,
        "F8_E4M3": ml_dtypes.float8_e4m3fn,
        "F8_E5M2": ml_dtypes.float8_e5m2,
        "C64": np.complex64,
        "I64": np.int64,
        "I32": np.int32,
        "I16": np.int16,
        "I8": np.int8,
        "U64": np.uint64,
        "U32": np.uint32,
        "U16": np.uint16,
        "U8": np.uint8,
        "BOOL": np.bool_,
    }.items()
}


def open_safetensors(
    path: pathlib.Path, stack: contextlib.ExitStack, wanted: str | None
) -> Contents:
    """Open a safetensors file.

    Args:
        path: Path of the file.
        stack: Stack that closes the file.
        wanted: Prefix of a model's names, if the file contains several.
    """
    with safetensors.safe_open(path, framework="np") as checked:
        names = list(checked.keys())
    file = stack.enter_context(path.open("rb"))
    size = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(size))
    end = path.stat().st_size

    def read(start: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        file.seek(start)
        raw = read_bytes(file, math.prod(shape) * dtype.itemsize)
        return to_native(raw.view(dtype).reshape(shape), "little")

    tensors: dict[str, Tensor] = {}
    for name in names:
        code, shape = header[name]["dtype"], tuple(header[name]["shape"])
        if code not in _DTYPES:
            raise CheckpointError(
                f"contains {shown(name)!r} in numbers of kind {code}, which "
                "can't be read; use a checkpoint of float32 or float16"
            )
        dtype = _DTYPES[code]
        first, last = (8 + size + n for n in header[name]["data_offsets"])
        if last - first != math.prod(shape) * dtype.itemsize or last > end:
            raise CheckpointError(DAMAGED)
        tensors[name] = LazyTensor(
            shape, dtype, functools.partial(read, first, dtype, shape)
        )
    return Contents(tensors, prefix=wanted or "")
