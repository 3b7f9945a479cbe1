"""HDF5 files as Keras writes them, read without the HDF5 library.

On hostile files that library crashes, hangs or fills the memory, and Python
can't stop it; pyfive, which is Python, allocates whatever size a file states.
Keras uses little of the format: groups of the oldest version and contiguous
datasets. These are read here, and chunked datasets.

Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

import contextlib
import functools
import itertools
import math
import mmap
import pathlib
import struct
import zlib
from collections.abc import Iterable
from collections.abc import Iterator
from typing import IO
from typing import NamedTuple

import ml_dtypes
import numpy as np

from keras_resnext.weights.files import DAMAGED
from keras_resnext.weights.files import NEW_COPY
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import check_inflation
from keras_resnext.weights.files import read_bytes
from keras_resnext.weights.files import to_native

# The kinds of messages that object headers consist of.
_SPACE, _TYPE, _EXTERNAL, _LAYOUT, _FILTERS = 0x1, 0x3, 0x7, 0x8, 0xB
_ATTRIBUTE, _CONTINUATION, _LINKS = 0xC, 0x10, 0x11
_SOFT_LINK = 2
_CONTIGUOUS, _CHUNKED, _VIRTUAL = 1, 2, 3
_GZIP, _SHUFFLE = 1, 2
_MAX_NAME = 1 << 16
_MAX_HEADERS = 1 << 24  # 2,000 layers and their optimizer's state take 4 MB

# Size; place of the sign; offset, precision; place and size of the exponent,
# of the mantissa; bias.
_FLOATS = {
    (2, 15, 0, 16, 10, 5, 0, 10, 15): np.dtype(np.float16),
    (2, 15, 0, 16, 7, 8, 0, 7, 127): np.dtype(ml_dtypes.bfloat16),
    (4, 31, 0, 32, 23, 8, 0, 23, 127): np.dtype(np.float32),
    (8, 63, 0, 64, 52, 11, 0, 52, 1023): np.dtype(np.float64),
}
_OVERLAPS = f"has parts that overlap; {NEW_COPY}"
_NEWER = (
    "is HDF5 of a kind that Keras does not write; save it again with Keras, "
    "or with the defaults of h5py"
)


@contextlib.contextmanager
def open_h5(path: pathlib.Path) -> Iterator["Object"]:
    """Open a file, and yield its root group, to read datasets from."""
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        file = _Bytes(stream, data)
        version, offsets, lengths, *places = file.read("8xB4xBB9x6Q", 0)
        base, _, end, _, _, root = places
        if (version, offsets, lengths, base) != (0, 8, 8, 0):
            raise CheckpointError(_NEWER)
        if end > len(data):
            raise CheckpointError(DAMAGED)
        yield Object(file, root)


def check_sizes(datasets: Iterable["Dataset"], path: pathlib.Path) -> None:
    """Refuse datasets that unpack to far more than the file, or overlap."""
    datasets = list(datasets)
    check_inflation((dataset.nbytes for dataset in datasets), path)
    spans = sorted(dataset.span for dataset in datasets)
    if any(a[1] > b[0] for a, b in itertools.pairwise(spans)):
        raise CheckpointError(_OVERLAPS)


class _Bytes:
    """File of which a limited number of bytes is read, so reading ends."""

    def __init__(self, stream: IO[bytes], data: mmap.mmap) -> None:
        self.stream = stream
        self.data = data
        self.headers_left = min(len(data), _MAX_HEADERS)
        self.chunks_left = len(data)
        self.heaps: dict[int, dict[int, tuple[int, int]]] = {}

    def read(self, form: str, place: int) -> tuple:
        self.headers_left -= struct.calcsize(f"<{form}")
        if self.headers_left < 0:
            raise CheckpointError(_OVERLAPS)
        return struct.unpack_from(f"<{form}", self.data, place)

    def chunk(self, place: int, size: int) -> bytes:
        self.chunks_left -= size
        if self.chunks_left < 0:
            raise CheckpointError(_OVERLAPS)
        return self.data[place : place + size]

    def expect(self, magic: bytes, place: int) -> None:
        if self.read("4s", place) != (magic,):
            raise CheckpointError(DAMAGED)

    def text(self, place: int) -> str:
        end = self.data.find(b"\0", place, place + _MAX_NAME)
        return self.read(f"{end - place}s", place)[0].decode()

    def leaves(self, tree: int, kind: int, key: str) -> Iterator[tuple]:
        """Walk a B-tree, and yield the key and the address of each child."""
        nodes = [tree]
        for node in nodes:
            self.expect(b"TREE", node)
            found, level, used = self.read("BBH", node + 4)
            if found != kind:
                raise CheckpointError(DAMAGED)
            step = struct.calcsize(f"<{key}Q")
            for place in range(node + 24, node + 24 + used * step, step):
                *keys, child = self.read(f"{key}Q", place)
                if level:
                    nodes.append(child)
                else:
                    yield (*keys, child)

    def heap(self, place: int) -> dict[int, tuple[int, int]]:
        """Return the place and size of each object in a global heap."""
        if place not in self.heaps:
            self.expect(b"GCOL", place)
            (whole,) = self.read("Q", place + 8)
            objects = self.heaps[place] = {}
            here, end = place + 16, place + whole
            while here + 16 <= end:
                index, size = self.read("H6xQ", here)
                if not index:  # free space, to the heap's end
                    here += size
                    break
                objects[index] = here + 16, size
                here += 16 + size + -size % 8
            if here > end or here + 16 <= end:
                raise CheckpointError(DAMAGED)
        return self.heaps[place]


class Object:
    """Group or dataset: a list of messages."""

    def __init__(self, file: _Bytes, place: int) -> None:
        self.file = file
        self.children: dict[str, Object] = {}
        self.messages: list[tuple[int, bytes]] = []
        version, size = file.read("B7xI", place)
        if version != 1:
            raise CheckpointError(_NEWER)
        blocks = [(place + 16, size)]
        for here, size in blocks:
            end = here + size
            while here < end:
                kind, length, flags = file.read("HHB3x", here)
                (body,) = file.read(f"{length}s", here + 8)
                here += 8 + length
                if kind == _CONTINUATION:
                    blocks.append(struct.unpack("<QQ", body))
                elif not flags & 2:  # not shared with other objects
                    self.messages.append((kind, body))

    @property
    def is_group(self) -> bool:
        return bool(self.bodies(_LINKS))

    def bodies(self, kind: int) -> list[bytes]:
        return [body for found, body in self.messages if found == kind]

    @functools.cached_property
    def links(self) -> dict[str, int]:
        """Address of each child, except those that may be elsewhere."""
        links: dict[str, int] = {}
        for body in self.bodies(_LINKS):
            tree, heap = struct.unpack("<QQ", body)
            self.file.expect(b"HEAP", heap)
            (names,) = self.file.read("Q", heap + 24)
            for _, node in self.file.leaves(tree, 0, "Q"):
                self.file.expect(b"SNOD", node)
                (count,) = self.file.read("H", node + 6)
                for i in range(count):
                    entry = node + 8 + 40 * i
                    name, place, kind = self.file.read("QQI", entry)
                    child = self.file.text(names + name)
                    if child in links:
                        raise CheckpointError(f"has two children {child!r}")
                    if kind != _SOFT_LINK:
                        links[child] = place
        return links

    def child(self, path: str) -> "Object":
        node = self
        for name in path.split("/"):
            if name not in node.links:
                raise CheckpointError(f"does not itself contain its {path!r}")
            if name not in node.children:
                node.children[name] = Object(self.file, node.links[name])
            node = node.children[name]
        return node

    @functools.cached_property
    def attributes(self) -> dict[str, tuple[bytes, bytes, bytes]]:
        """Datatype, dataspace and value of each attribute."""
        attributes = {}
        for body in self.bodies(_ATTRIBUTE):
            version, flags, *sizes = struct.unpack_from("<BBHHH", body)
            if version not in (1, 2, 3) or (version > 1 and flags):
                raise CheckpointError(_NEWER)
            here = 9 if version == 3 else 8
            parts = []
            for size in sizes:
                parts.append(body[here : here + size])
                here += size + (-size % 8 if version == 1 else 0)
            name, kind, space = parts
            key = name.split(b"\0")[0].decode()
            attributes[key] = kind, space, body[here:]
        return attributes

    def names(self, attribute: str) -> list[str]:
        """Join names that Keras splits over `attribute0`, `attribute1`..."""
        parts = (f"{attribute}{i}" for i in range(len(self.attributes)))
        return [
            name.decode()
            for key in (attribute, *parts)
            if key in self.attributes
            for name in self._strings(*self.attributes[key])
        ]

    def _strings(self, kind: bytes, space: bytes, value: bytes) -> list[bytes]:
        (size,) = struct.unpack_from("<I", kind, 4)
        count = math.prod(_shape(space))
        if not count:  # of whatever type
            return []
        if not 0 < size * count <= len(value):
            raise CheckpointError(DAMAGED)
        items = [value[i * size : (i + 1) * size] for i in range(count)]
        match kind[0] & 15, kind[1] & 15:
            case 3, _:
                return [item.split(b"\0")[0] for item in items]
            case 9, 1:
                return [self._string(*struct.unpack("<IQI", i)) for i in items]
        raise CheckpointError(_NEWER)

    def _string(self, length: int, heap: int, index: int) -> bytes:
        place, size = self.file.heap(heap)[index]
        if length > size:
            raise CheckpointError(DAMAGED)
        return self.file.read(f"{length}s", place)[0]


def _shape(space: bytes) -> tuple[int, ...]:
    version, rank, _, kind = struct.unpack_from("<4B", space)
    if version == 1:
        return struct.unpack_from(f"<{rank}Q", space, 8)
    if version == 2 and kind < 2:  # a scalar or an array, not null
        return struct.unpack_from(f"<{rank}Q", space, 4)
    raise CheckpointError(_NEWER)


# Datasets --------------------------------------------------------------------


class Dataset(NamedTuple):
    file: _Bytes
    shape: tuple[int, ...]
    dtype: np.dtype
    order: str
    layout: bytes
    filters: list[int]

    @property
    def chunk(self) -> tuple[int, ...]:
        """Shape of a chunk, or of a contiguous dataset."""
        if self.layout[1] != _CHUNKED:
            return self.shape
        return struct.unpack_from(f"<{self.layout[2] - 1}I", self.layout, 11)

    @property
    def nbytes(self) -> int:
        """Size when unpacked, including the padding of chunks at the edge."""
        sides = zip(self.shape, self.chunk, strict=True)
        padded = (
            -(-side // part) * part if side else 0 for side, part in sides
        )
        return math.prod(padded) * self.dtype.itemsize

    @property
    def span(self) -> tuple[int, int]:
        """Start and end in the file, if contiguous."""
        if self.layout[1] != _CONTIGUOUS or not self.nbytes:
            return 0, 0
        place, size = struct.unpack_from("<QQ", self.layout, 2)
        if size != self.nbytes or place + size > len(self.file.data):
            raise CheckpointError(DAMAGED)
        return place, place + size

    def read(self) -> np.ndarray:
        kind = self.layout[1]
        if not self.nbytes:
            array = np.empty(self.shape, self.dtype)
        elif kind == _CONTIGUOUS:
            self.file.stream.seek(self.span[0])
            raw = read_bytes(self.file.stream, self.nbytes)
            array = raw.view(self.dtype).reshape(self.shape)
        elif kind == _CHUNKED:
            array = self._chunks()
        else:
            raise CheckpointError(_NEWER)
        return to_native(array, self.order)

    def _chunks(self) -> np.ndarray:
        array = np.empty(self.shape, self.dtype)
        sides = zip(self.shape, self.chunk, strict=True)
        corners = [range(0, side, part) for side, part in sides]
        seen = set()
        (tree,) = struct.unpack_from("<Q", self.layout, 3)
        key = f"II{len(corners)}Q8x"
        for packed, skipped, *corner, place in self.file.leaves(tree, 1, key):
            known = all(map(range.__contains__, corners, corner))
            if skipped or not known or tuple(corner) in seen:
                raise CheckpointError(DAMAGED)
            seen.add(tuple(corner))
            chunk = self._unpack(self.file.chunk(place, packed))
            box = zip(corner, self.chunk, strict=True)
            part = array[tuple(slice(at, at + size) for at, size in box)]
            part[...] = chunk[tuple(map(slice, part.shape))]
        if len(seen) != math.prod(map(len, corners)):
            raise CheckpointError(DAMAGED)
        return array

    def _unpack(self, raw: bytes) -> np.ndarray:
        itemsize = self.dtype.itemsize
        size = math.prod(self.chunk) * itemsize
        for code in reversed(self.filters):
            if code == _GZIP:
                stream = zlib.decompressobj()
                raw = stream.decompress(raw, size)
                if not stream.eof:
                    raise CheckpointError(DAMAGED)
            else:
                columns = np.frombuffer(raw, np.uint8).reshape(itemsize, -1)
                raw = columns.T.tobytes()
        return np.frombuffer(raw, self.dtype).reshape(self.chunk)


def dataset(name: str, node: Object) -> Dataset:
    layouts = node.bodies(_LAYOUT)
    virtual = any(layout[1] == _VIRTUAL for layout in layouts)
    if virtual or node.bodies(_EXTERNAL):
        raise CheckpointError(f"has {name!r} in other files; do not trust it")
    [layout], [space], [kind] = layouts, node.bodies(_SPACE), node.bodies(_TYPE)
    if layout[0] != 3:
        raise CheckpointError(_NEWER)
    dtype = _dtype(kind)
    # An opaque type, which h5py uses for dtypes that HDF5 lacks.
    opaque = (kind[0] & 15, kind[4:8]) == (5, b"\2\0\0\0")
    if opaque and node.names("dtype") == ["bfloat16"]:
        dtype = np.dtype(ml_dtypes.bfloat16)
    if dtype is None:
        raise CheckpointError(
            f"contains neither floats nor integers in {name!r}"
        )
    filters = [
        code for body in node.bodies(_FILTERS) for code in _filters(body)
    ]
    order = "big" if kind[1] & 1 else "little"
    return Dataset(node.file, _shape(space), dtype, order, layout, filters)


def _dtype(kind: bytes) -> np.dtype | None:
    """Return the dtype, if NumPy has such a number type."""
    bits, sign, size = struct.unpack_from("<BBxI", kind, 1)
    if kind[0] & 15 == 0:
        span = struct.unpack_from("<HH", kind, 8)
        if size in (1, 2, 4, 8) and span == (0, 8 * size):
            return np.dtype(f"{'i' if bits & 8 else 'u'}{size}")
    elif kind[0] & 15 == 1 and bits & ~1 == 0x20:  # the leading 1 is implied
        layout = struct.unpack_from("<HHBBBBI", kind, 8)
        return _FLOATS.get((size, sign, *layout))
    return None


def _filters(body: bytes) -> list[int]:
    filters, here = [], 8
    for _ in range(body[1]):
        code, name, _, count = struct.unpack_from("<4H", body, here)
        here += 8 + name + 4 * (count + count % 2)
        filters.append(code)
    if body[0] != 1 or not {_GZIP, _SHUFFLE}.issuperset(filters):
        raise CheckpointError(_NEWER)
    return filters
