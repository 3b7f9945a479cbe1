"""Checkpoint files of every format, written by hand, and their readings."""

import pathlib
import pickle
import random
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.readers import open_checkpoint

MAGIC = 0x1950A86A20F9469CFC6C
A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.arange(4, dtype=np.int64)


# Pickles by hand, as torch writes them: each helper returns opcodes.


def plain(value: Any) -> bytes:
    return pickle.dumps(value, protocol=2)[2:-1]


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def call(module: str, attribute: str, *arguments: bytes) -> bytes:
    return name(module, attribute) + b"(" + b"".join(arguments) + b"tR"


def storage(
    key: str, length: int, kind: str | bytes = "Float", view: bytes = b""
) -> bytes:
    kind = kind if isinstance(kind, bytes) else name("torch", f"{kind}Storage")
    parts = [plain("storage"), kind, plain(key), plain("cpu"), plain(length)]
    return b"(" + b"".join(parts) + view + b"tQ"


def tensor(
    source: bytes,
    shape: tuple,
    strides: tuple,
    offset: int = 0,
    rest: bytes | None = None,
    function: str = "_v2",
) -> bytes:
    rest = rest or plain(False) + call("collections", "OrderedDict")
    layout = plain(offset) + plain(shape) + plain(strides)
    return call(
        "torch._utils", f"_rebuild_tensor{function}", source, layout, rest
    )


def ordered_dict(**items: bytes) -> bytes:
    body = b"".join(plain(key) + value for key, value in items.items())
    return call("collections", "OrderedDict") + b"(" + body + b"u"


def stream(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def write_zip(
    path: pathlib.Path,
    body: bytes,
    data: Mapping[str, np.ndarray],
    byteorder: bytes | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> pathlib.Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", stream(body))
        for key, value in data.items():
            archive.writestr(f"archive/data/{key}", value.tobytes())
        if byteorder:
            archive.writestr("archive/byteorder", byteorder)
    return path


def write_legacy(
    path: pathlib.Path, body: bytes, data: Mapping[str, np.ndarray]
) -> pathlib.Path:
    head = [MAGIC, 1001, {"little_endian": True}]
    parts = [*map(plain, head), body, plain(list(data))]
    raw = [struct.pack("<q", v.size) + v.tobytes() for v in data.values()]
    path.write_bytes(b"".join(map(stream, parts)) + b"".join(raw))
    return path


PICKLED = pytest.mark.parametrize(
    ("write", "view"),
    [(write_zip, b""), (write_legacy, b"N")],
    ids=["zip", "legacy"],
)


def two_tensors(view: bytes = b"") -> bytes:
    return ordered_dict(
        a=tensor(storage("0", 6, view=view), (2, 3), (3, 1)),
        b=tensor(storage("1", 4, "Long", view), (4,), (1,)),
    )


DTYPES = {
    "Double": np.float64,
    "Float": np.float32,
    "Half": np.float16,
    "BFloat16": ml_dtypes.bfloat16,
    "Long": np.int64,
    "Int": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
    "Bool": np.bool_,
}
KINDS = {np.dtype(dtype): kind for kind, dtype in DTYPES.items()}


def state_dict(
    arrays: Mapping[str, np.ndarray], view: bytes = b""
) -> tuple[bytes, dict[str, np.ndarray]]:
    """Opcodes that describe arrays, and the arrays by their storages' keys."""
    tensors = {}
    for i, (key, value) in enumerate(arrays.items()):
        strides = tuple(s // value.itemsize for s in value.strides)
        source = storage(f"{i}", value.size, KINDS[value.dtype], view)
        tensors[key] = tensor(source, value.shape, strides)
    data = {f"{i}": value for i, value in enumerate(arrays.values())}
    return ordered_dict(**tensors), data


def write_h5(
    path: pathlib.Path,
    layers: Mapping[str, Mapping[str, np.ndarray]],
    root: str = "/",
    chunks: int | None = None,
) -> pathlib.Path:
    """Write as Keras does: `layers` maps layers to weights to arrays."""
    with h5py.File(path, "w") as file:
        group = file.require_group(root)
        set_names(group, "layer_names", list(layers), chunks)
        for layer, weights in layers.items():
            child = group.create_group(layer)
            set_names(child, "weight_names", list(weights), chunks)
            for weight, value in weights.items():
                write_dataset(child, weight, value)
    return path


def write_dataset(group: h5py.Group, name: str, value: np.ndarray) -> None:
    if getattr(value, "dtype", None) != ml_dtypes.bfloat16:
        group[name] = value
        return
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    *groups, last = name.split("/")
    parent = group.require_group("/".join(groups)) if groups else group
    space = h5py.h5s.create_simple(value.shape)
    dataset = h5py.h5d.create(parent.id, last.encode(), kind, space)
    dataset.write(space, space, value.view(np.uint16), mtype=kind)


def h5_layers(
    arrays: Mapping[str, np.ndarray],
) -> dict[str, dict[str, np.ndarray]]:
    """Arrays by names such as `conv1_bn/gamma`, layer by layer."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        layers.setdefault(key.split("/")[0], {})[f"{key}:0"] = value
    return layers


def write_arrays(
    path: pathlib.Path, kind: str, arrays: dict[str, np.ndarray]
) -> pathlib.Path:
    """Write a file of one of the four formats."""
    if kind == "safetensors":
        safetensors.numpy.save_file(arrays, path)
    elif kind == "h5":
        write_h5(path, h5_layers(arrays))
    else:
        write, view = {"zip": (write_zip, b""), "legacy": (write_legacy, b"N")}[
            kind
        ]
        write(path, *state_dict(arrays, view))
    return path


def set_names(
    group: h5py.Group, attribute: str, names: list[str], chunks: int | None
) -> None:
    encoded = np.array([n.encode() for n in names])
    if chunks is None:
        group.attrs[attribute] = encoded
        return
    for i, chunk in enumerate(np.array_split(encoded, chunks)):
        group.attrs[f"{attribute}{i}"] = chunk


def make_safetensors(path: pathlib.Path) -> pathlib.Path:
    safetensors.numpy.save_file({"a": A, "b": B}, path)
    return path


def make_zip(path: pathlib.Path) -> pathlib.Path:
    return write_zip(path, two_tensors(), {"0": A, "1": B})


def make_legacy(path: pathlib.Path) -> pathlib.Path:
    return write_legacy(path, two_tensors(b"N"), {"0": A, "1": B})


def make_h5(path: pathlib.Path) -> pathlib.Path:
    return write_h5(path, {"one": {"a:0": A}, "two": {"b:0": B}, "none": {}})


MAKERS = [make_safetensors, make_zip, make_legacy, make_h5]


def read_checkpoint(
    path: pathlib.Path, weight_set: str | None = None
) -> dict[str, np.ndarray]:
    """Read all weights in a file into memory."""
    with open_checkpoint(path, weight_set) as contents:
        return {n: np.asarray(t) for n, t in contents.tensors.items()}


def assert_same(
    actual: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> None:
    assert list(actual) == list(expected)
    for key, value in expected.items():
        assert type(actual[key]) is np.ndarray
        assert actual[key].dtype == value.dtype
        assert actual[key].dtype.isnative
        np.testing.assert_array_equal(actual[key], value)


def assert_refused(path: pathlib.Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as info:
        read_checkpoint(path)
    message = str(info.value)
    assert message.startswith(str(path))
    assert message.endswith(".")
    assert "\n" not in message
    for word in words:
        assert word in message


def assert_damage_is_refused_or_harmless(
    content: bytes, path: pathlib.Path
) -> None:
    rng = random.Random(0)
    cuts = [0, 1, len(content) - 1, *rng.sample(range(len(content)), 20)]
    for length in cuts:
        path.write_bytes(content[:length])
        assert_refused(path)
    for _ in range(50):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        path.write_bytes(damaged)
        try:
            arrays = read_checkpoint(path)
        except CheckpointError:
            continue
        for key, array in arrays.items():
            assert isinstance(key, str)
            assert isinstance(array, np.ndarray)
            assert array.nbytes <= len(content)
            array.tobytes()
