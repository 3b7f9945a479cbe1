"""Small files that could become large, deep or endless."""

import os
import pathlib
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from checkpoint_files import MAGIC
from checkpoint_files import A
from checkpoint_files import B
from checkpoint_files import assert_refused
from checkpoint_files import call
from checkpoint_files import name
from checkpoint_files import ordered_dict
from checkpoint_files import plain
from checkpoint_files import read_checkpoint
from checkpoint_files import storage
from checkpoint_files import stream
from checkpoint_files import tensor
from checkpoint_files import two_tensors
from checkpoint_files import write_zip

from keras_resnext.weights import readers

pytestmark = pytest.mark.once

# Pickles

DEEP = b")" + b"\x85" * 200_000
# Pairs of the same pair: 60 opcodes for 2 ** 60 items.
DOUBLED = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))
PAIRS = b"](" + b"](K\x00K\x01e" * 2000 + b"eq\x01"
BOMBS = {
    "deep key": b"}" + DEEP + b"Ns",
    "deep set": b"\x8f(" + DEEP + b"\x90",
    "deep value": DEEP,
    "doubled key": b"}" + DOUBLED + b"Ns",
    "doubled name": plain("torch") + DOUBLED + b"\x93",
    "doubled storage": storage((), 6).replace(plain(()), DOUBLED),
    "doubled shape": call(
        "torch._utils",
        "_rebuild_tensor_v2",
        storage("0", 6) + plain(0) + DOUBLED + plain((1, 1)) + b"\x89)",
    ),
    "pairs": name("collections", "OrderedDict")
    + b"q\0"
    + PAIRS
    + b"("
    + b"h\0h\1\x85R" * 20_000
    + b"t",
    "arguments": name("torch", "device")
    + b"q\0("
    + b"N" * 2000
    + b"tq\1("
    + b"h\0h\1R" * 100_000
    + b"t",
    "steps": b"N" * (1 << 20),
}


def test_bombs(tmp_path):
    paths = []
    for bomb, opcodes in BOMBS.items():
        body = plain({}) + plain("a") + opcodes + b"s"
        paths.append(write_zip(tmp_path / bomb, body, {"0": A}))
    parts = [plain(MAGIC), DOUBLED]
    paths.append(tmp_path / "version")
    paths[-1].write_bytes(b"".join(map(stream, parts)) + stream(b"}"))
    *lines, last = read_apart(*paths).splitlines()
    assert len(lines) == len(BOMBS)
    for bomb, line in zip(BOMBS, lines, strict=True):
        assert line.startswith("CheckpointError"), bomb
        assert bomb in line
    assert "unknown version" in last


def read_apart(*paths):
    """Read files in a process of its own, with a GiB and a minute each."""
    code = """if True:
        import faulthandler, sys, types
        try:
            import resource
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        except ImportError:  # there is none on Windows
            pass
        for name in ("keras_resnext", "keras_resnext.weights"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [sys.argv[1]]
        from keras_resnext.weights import readers
        for path in sys.argv[2:]:
            faulthandler.dump_traceback_later(60, exit=True)
            try:
                with readers.open_checkpoint(path) as contents:
                    tensors = contents.tensors.values()
                    print([readers.np.array(each).shape for each in tensors])
            except readers.CheckpointError as error:
                print(repr(error)[:2000])
    """
    folder = pathlib.Path(readers.__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder), *map(str, paths)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert "MemoryError" not in run.stdout
    return run.stdout


# Archives


def test_zip_bomb(tmp_path):
    zeros = np.zeros(1 << 20, np.float32)
    body = ordered_dict(a=tensor(storage("0", 1 << 20), (1 << 20,), (1,)))
    path = tmp_path / "file"
    write_zip(path, body, {"0": zeros}, compression=zipfile.ZIP_DEFLATED)
    assert_refused(path, "claims to unpack to", "than its size allows")


def test_many_tensors_of_swapped_bytes(tmp_path):
    """Views of one storage, and no copies of it."""
    value = np.zeros(1 << 18, ">f4")
    view = tensor(storage("0", 1 << 18), (1 << 18,), (1,))
    body = ordered_dict(**{f"{i}": view for i in range(100)})
    path = write_zip(tmp_path / "file", body, {"0": value}, "big")
    tracemalloc.start()
    try:
        arrays = read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * value.nbytes
    finally:
        tracemalloc.stop()
    assert len(arrays) == 100


@pytest.mark.parametrize("part", ["data.pkl", "data/0", "byteorder"])
def test_part_that_unpacks_to_more_than_it_says(part, tmp_path):
    path, size = tmp_path / "file", 65_432_123
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        parts = {"data.pkl": stream(two_tensors()), "data/0": A.tobytes()}
        parts |= {"data/1": B.tobytes(), "byteorder": b"little"}
        for key, value in (parts | {part: bytes(size)}).items():
            archive.writestr(f"archive/{key}", value)
    content = path.read_bytes()
    assert content.count(struct.pack("<I", size)) == 2
    place = content.rindex(struct.pack("<I", size))
    small = struct.pack("<I", len(parts[part]))
    path.write_bytes(content[:place] + small + content[place + 4 :])
    tracemalloc.start()
    try:
        assert_refused(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
