"""Strategies of HDF5 files with parts that Keras doesn't write."""

import io
import string
from typing import Any

import h5py
import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from mutations import Draw
from mutations import choose

TYPES = [
    *("f2", ">f4", ">f8", "f8", "i1", "i4", ">u8", "?", "c8"),
    *("S3", h5py.string_dtype(), np.dtype([("a", "f4"), ("b", "i4")])),
    *(h5py.vlen_dtype(np.float32), h5py.enum_dtype({"a": 1}), h5py.ref_dtype),
    *(np.longdouble, ml_dtypes.bfloat16),
]
NAMES = [
    *([], ["a"], ["conv1_bn", "conv1_bn"], ["/"], [""], [".."], ["."]),
    *(["conv1_bn/conv1_bn"], ["é\n"], ["a" * 5000], ["a/" * 3000], "conv1_bn"),
    *(5, 1.5, np.zeros((3, 3)), np.zeros(3, "V4"), h5py.Empty("S4")),
]


@st.composite
def odd_h5(draw: Draw, content: bytes) -> bytes:
    stream = io.BytesIO(content)
    with h5py.File(stream, "a") as file:
        values: dict[str, np.ndarray] = {}

        def visit(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset):
                values[name] = node[()]

        file.visititems(visit)
        for _ in range(draw(st.integers(1, 3))):
            if not values:
                break
            name = choose(draw, *values)
            match choose(draw, "value", "names", "group", "text", "new", "new"):
                case "value" if values[name].dtype.kind == "f":
                    number = choose(draw, np.nan, np.inf, -np.inf, 1e38)
                    file[name][...] = number
                case "names":
                    node = file[choose(draw, "/", name.rpartition("/")[0])]
                    attribute = choose(draw, *node.attrs, "weight_names1")
                    node.attrs[attribute] = choose(draw, *NAMES)
                case "group":
                    path = choose(draw, "vars", "layers", "model_weights/a")
                    file.require_group(path)
                case "text":
                    text = string.ascii_letters * choose(draw, 1, 1000)
                    file.attrs["model_config"] = text
                case "new":
                    del file[name]
                    _replace(draw, file, name, values.pop(name))
    return stream.getvalue()


def _replace(draw: Draw, file: h5py.File, name: str, value: np.ndarray) -> None:
    """Put something else in the place of a dataset, or nothing."""
    match choose(draw, "type", "type", "shape", "pack", "link", "big", "drop"):
        case "type":
            kind = np.dtype(choose(draw, *TYPES))
            if kind.kind in "fiub":
                file[name] = value.astype(kind)
            else:
                file.create_dataset(name, value.shape, kind)
        case "shape":
            shapes = [value.shape[::-1], (), (0,), (1,) * 9]
            file.create_dataset(name, choose(draw, *shapes), "f4")
        case "pack":
            options = choose(
                draw,
                {"compression": "gzip"},
                {"compression": "gzip", "shuffle": True},
                {"compression": "lzf"},
                {"fletcher32": True},
                {"scaleoffset": 2},
                {"chunks": tuple(max(n - 1, 1) for n in value.shape)},
                {"maxshape": (None,) * value.ndim},
            )
            file.create_dataset(name, data=value, **options)
        case "link":
            file[name] = choose(
                draw,
                h5py.SoftLink("/"),
                h5py.ExternalLink("/etc/hostname", "/"),
                file["/"],
                file[choose(draw, *file)],
                h5py.Empty("f4"),
            )
        case "big":
            shape = (choose(draw, 2**20, 2**40, 2**62),)
            file.create_dataset(name, shape, "f4", chunks=(1024,))
