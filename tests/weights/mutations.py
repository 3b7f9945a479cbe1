"""Strategies of files that are damaged, and of lying safetensors headers."""

import collections
import contextlib
import faulthandler
import functools
import io
import json
import pathlib
import pickletools
import re
import struct
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import h5py
import keras
import numpy as np
import tinynet
from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_resnext.weights.files import CheckpointError

Draw = Any  # what `st.composite` gives

ANY = st.randoms(use_true_random=True)  # by a seed that hypothesis draws
NUMBERS = [
    *range(9),
    *(2**n for n in (7, 8, 15, 16, 20, 31, 32, 40, 62, 63)),
    *(2**n - 1 for n in (7, 8, 15, 16, 31, 32, 63, 64)),
]

SECONDS = 60  # for one file


def fill() -> keras.Model:
    """Return the model that files are loaded into, with other values."""
    return tinynet.filled(tinynet.shared(tinynet.SMALLEST))


@functools.cache
def before() -> dict[Any, np.ndarray]:
    """Return the values of `fill`."""
    return tinynet.random_values(tinynet.shared(tinynet.SMALLEST), seed=1)


class Mutant(bytes):
    """A file's bytes, of which hypothesis shall not print a hundred pages."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


def assert_proper(error: CheckpointError) -> None:
    assert str(error).isprintable()
    assert str(error).endswith(".")
    assert not isinstance(error.__cause__, (MemoryError, RecursionError))


@contextlib.contextmanager
def ending(folder: pathlib.Path) -> Iterator[None]:
    """Ends the process should it hang, and says where in a file."""
    with (folder / "hang").open("w") as file:
        faulthandler.dump_traceback_later(SECONDS, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def outcomes_of(
    mutants: Any, outcome: Callable[[bytes], str], count: int
) -> dict[str, int]:
    """Tries so many mutants, and counts how many of them ended how."""
    outcomes: collections.Counter[str] = collections.Counter()

    @settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(mutants)
    def check(content: bytes) -> None:
        outcomes[outcome(content)] += 1

    check()
    assert outcomes.total() >= count
    assert outcomes["refused"]
    return dict(outcomes)


def choose(draw: Draw, *values: Any) -> Any:
    return draw(st.sampled_from(values))


def place_in(draw: Draw, sequence: Any) -> int:
    """Any index; `st.integers` prefers the ends."""
    return draw(ANY).randrange(max(len(sequence), 1))


# Any bytes -------------------------------------------------------------------


@st.composite
def damaged(draw: Draw, content: bytes, others: list[bytes]) -> bytes:
    """Bytes changed, cut out, put in, or taken from other files."""
    data = bytearray(content)
    for _ in range(choose(draw, 1, 1, 2, 4)):
        here = place_in(draw, data)
        size = choose(draw, 1, 2, 4, 8, 40, 512)
        match choose(
            draw, "flip", "flip", "flip", "cut", "insert", "delete", "splice"
        ):
            case "flip":
                data[here : here + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[here:]
            case "insert":
                data[here:here] = draw(st.binary(min_size=1, max_size=16))
            case "delete":
                del data[here : here + size]
            case "splice":
                other = choose(draw, *others)
                there = place_in(draw, other)
                data[here : here + size] = other[there : there + size]
    return bytes(data)


@st.composite
def misnumbered(
    draw: Draw, content: bytes, fields: list[tuple[int, int]]
) -> bytes:
    """Integers in headers set to extremes, to each other, or one off."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        here, size = fields[place_in(draw, fields)]
        there, _ = fields[place_in(draw, fields)]
        own = int.from_bytes(data[here : here + size], "little")
        other = int.from_bytes(data[there : there + size], "little")
        value = choose(draw, *NUMBERS, own + 1, own - 1, other, len(data))
        data[here : here + size] = (value % 256**size).to_bytes(size, "little")
    return bytes(data)


def zip_fields(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the place and size of each integer in a zip file's headers."""
    for magic, form in [
        (b"PK\x03\x04", "HHHHHIIIHH"),
        (b"PK\x01\x02", "HHHHHHIIIHHHHHII"),
        (b"PK\x05\x06", "HHHHIIH"),
    ]:
        for match in re.finditer(re.escape(magic), content):
            here = match.end()
            for size in map(struct.calcsize, form):
                yield here, size
                here += size


def legacy_fields(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield a legacy file's arguments of opcodes and lengths of storages."""
    stream = io.BytesIO(content)
    for _ in range(5):
        last = None
        for opcode, _, place in pickletools.genops(stream):
            if last and last[0].arg and last[0].arg.n > 0:
                yield last[1] + 1, last[0].arg.n
            last = opcode, place or 0
    while length := stream.read(8):
        yield stream.tell() - 8, 8
        stream.seek(4 * struct.unpack("<q", length)[0], io.SEEK_CUR)


def h5_fields(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield what stands outside an HDF5 file's data, integers among it."""
    data: set[int] = set()
    with h5py.File(io.BytesIO(content)) as file:

        def visit(_: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset) and node.id.get_offset():
                start = node.id.get_offset()
                data.update(range(start, start + node.nbytes))

        file.visititems(visit)
    for size in (1, 2, 4, 8):
        for here in range(0, len(content) - 7, size):
            if here not in data and any(content[here : here + size]):
                yield here, size


# Safetensors -----------------------------------------------------------------

DTYPES = ["F16", "BF16", "F32", "F64", "I8", "U8", "I64", "BOOL"]
ODD_DTYPES = ["F8_E4M3", "F4", "C64", "F999", "", None, 3]
NESTS = ['{"a":', "[", "-", '"\\ud800']


@st.composite
def faked_header(draw: Draw, content: bytes) -> bytes:
    """Draw a header that differs from what follows it."""
    size = int.from_bytes(content[:8], "little")
    header, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    items = [[name, dict(value)] for name, value in header.items()]
    for _ in range(draw(st.integers(1, 3))):
        item = choose(draw, *items)
        name, value = item
        other = choose(draw, *items)
        number = st.sampled_from([*NUMBERS, -1, 1.5, 2**80, None, "1", []])
        match choose(
            draw, "dtype", "shape", "span", "swap", "rename", "twice", "drop",
            "add", "junk", "meta",
        ):  # fmt: skip
            case "dtype":
                value["dtype"] = choose(draw, *DTYPES, *ODD_DTYPES)
            case "shape":
                shape = list(value.get("shape") or [])
                shapes = [shape[::-1], [*shape, 1], shape[1:], None, "ab"]
                shapes.append(draw(st.lists(number, max_size=5)))
                value["shape"] = choose(draw, *shapes)
            case "span":
                value["data_offsets"] = draw(st.lists(number, max_size=3))
            case "swap":
                key = choose(draw, "data_offsets", "shape", "dtype")
                value[key] = other[1].get(key)
            case "rename":
                names = [other[0], "", "\n\x1b[2J", "é" * 99, "__metadata__"]
                item[0] = choose(draw, *names)
            case "twice":
                items.append([name, dict(other[1])])
            case "drop" if len(items) > 1:
                items.remove(item)
            case "add":
                value[choose(draw, "extra", "__proto__")] = draw(number)
            case "junk":
                item[1] = {"": draw(number)}
            case "meta":
                items.append(["__metadata__", {"format": draw(number)}])
    text = ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in items)
    text = "{" + text + "}"
    if draw(st.booleans()):
        nest = choose(draw, *NESTS) * choose(draw, 1, 50, 200, 100_000)
        place = place_in(draw, text)
        text = text[:place] + nest + text[place:]
    data = text.encode() + b" " * draw(st.integers(0, 9))
    length = len(data) + choose(draw, 0, 0, 0, -1, 1, 8)
    rest = choose(draw, rest, rest[:-1], rest + b"\0", b"", rest * 2)
    return struct.pack("<Q", length) + data + rest


@st.composite
def misnumbered_header(draw: Draw, content: bytes) -> bytes:
    """Other numbers in a header, or as its length."""
    size = int.from_bytes(content[:8], "little")
    parts = re.split(rb"(\d+)", content[8 : 8 + size])
    numbers = [*NUMBERS, -1, 0.5, "", "1e400", *map(int, parts[1::2])]
    for _ in range(draw(st.integers(0, 4))):
        place = 2 * draw(st.integers(0, len(parts) // 2 - 1)) + 1
        parts[place] = str(choose(draw, *numbers)).encode()
    header = b"".join(parts)
    length = choose(draw, *[len(header)] * 50, *NUMBERS, len(content), size)
    return struct.pack("<Q", length) + header + content[8 + size :]
