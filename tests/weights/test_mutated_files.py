"""Mutated checkpoint files: each is refused, or loaded completely.

Every file tried here, read and loaded into a model, ends as one of:

- refused: `CheckpointError` and nothing else, the model as it was before;
- read: arrays, but not those of the model, which the loader refused;
- loaded: the names, shapes and dtypes are those that the model needs, each
  variable is finite and is what the file says, none was left out.

Any other end is a silent load, and fails. Legacy `.pth`, `.h5` and safetensors
files have no checksums: with other numbers inside they are other checkpoints,
as good as any, and the catalog's hashes are there to tell. The zip format
has checksums, so there a changed number must be noticed.

Meanwhile nothing runs (Python's own audit reports each file, import, process
or connection), and memory stays within a multiple of the file's size.
Should the interpreter itself die, `mutated` in pytest's folder killed it.
"""

import codecs
import contextlib
import functools
import os
import pathlib
import socket
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
import tinynet
from checkpoint_files import MAKERS
from checkpoint_files import A
from checkpoint_files import B
from checkpoint_files import read_checkpoint
from checkpoint_files import write_arrays
from hypothesis import strategies as st
from mutated_h5 import odd_h5
from mutated_pickles import mispickled_legacy
from mutated_pickles import repacked_zip
from mutations import Mutant
from mutations import assert_proper
from mutations import before
from mutations import choose
from mutations import damaged
from mutations import ending
from mutations import faked_header
from mutations import fill
from mutations import h5_fields
from mutations import legacy_fields
from mutations import misnumbered
from mutations import misnumbered_header
from mutations import outcomes_of
from mutations import zip_fields

from keras_resnext.weights import convert
from keras_resnext.weights.checkpoint import load_checkpoint
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.values import FLOATS

pytestmark = pytest.mark.once

FORMATS = ["safetensors", "zip", "legacy", "h5"]
WAYS = ["bytes", "numbers", "contents"]
FEW, MANY = 5, 900
# Python's own machinery, and what opcodes of one byte may become.
BASE, FACTOR = 1 << 20, 64


def layout(kind):
    return "keras_applications" if kind == "h5" else "timm_resnet"


@functools.cache
def tensors(kind):
    model = tinynet.shared(tinynet.SMALLEST)
    return tinynet.checkpoint(model, layout=layout(kind))


@functools.cache
def originals(kind, folder):
    """Return the model's checkpoint, and one of two tensors, as bytes."""
    make = MAKERS[FORMATS.index(kind)]
    path = write_arrays(folder / "original", kind, tensors(kind))
    return [path.read_bytes(), make(folder / "small").read_bytes()]


@functools.cache
def fields(kind, content):
    return list(FIELDS[kind](content))


FIELDS = {"zip": zip_fields, "legacy": legacy_fields, "h5": h5_fields}


@st.composite
def mutants(draw, kind, way, folder):
    """Files of a format, mutated in one way."""
    first, second = originals(kind, folder)
    content = choose(draw, *map(Mutant, [first, first, second]))
    canary = str(folder / "canary")
    match way, kind:
        case "bytes", _:
            donors = [c for other in FORMATS for c in originals(other, folder)]
            mutant = damaged(content, [Mutant(donor) for donor in donors])
        case "numbers", "safetensors":
            mutant = misnumbered_header(content)
        case "numbers", _:
            mutant = misnumbered(content, fields(kind, content))
        case _, "safetensors":
            mutant = faked_header(content)
        case _, "zip":
            mutant = repacked_zip(content, canary)
        case _, "legacy":
            mutant = mispickled_legacy(content, canary)
        case _, "h5":
            mutant = odd_h5(content)
    return Mutant(draw(mutant))


# What happens while a file is read -------------------------------------------


class Audit:
    """Record of what Python does in this thread besides reading one file."""

    def __init__(self):
        self.path = self.thread = None
        self.events = []

    def __call__(self, event, args):
        if self.thread != threading.get_ident() or event in IDLE:
            return
        reading = event == "open" and not args[2] & ~(os.O_RDONLY | CLOEXEC)
        if not reading or str(args[0]) != self.path:
            self.events.append((event, str(args)[:200]))

    @contextlib.contextmanager
    def watching(self, path):
        self.path, self.thread = os.fspath(path), threading.get_ident()
        try:
            yield
        finally:
            self.thread = None
            events, self.events = self.events, []
            assert not events


IDLE = {"mmap.__new__", "builtins.id"}
CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)


@functools.cache
def audit():
    """Python's hooks stay for good, so there is one, that sleeps meanwhile."""
    codecs.lookup("cp437")  # imported when first a zip file has names in it
    hook = Audit()
    sys.addaudithook(hook)
    return hook


def read(path):
    """Return the arrays of a file, or nothing if it was refused."""
    size = path.stat().st_size
    tracemalloc.start()
    try:
        with audit().watching(path):
            return read_checkpoint(path)
    except CheckpointError as error:
        assert_proper(error)
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < BASE + FACTOR * size, f"{peak} bytes for {size}"


def outcome(kind, way, content, folder):
    path = folder / "mutated"
    path.write_bytes(content)
    with ending(folder):
        arrays = read(path)
    assert not (folder / "canary").exists()
    if arrays is None:
        return "refused"
    for name, array in arrays.items():
        assert isinstance(name, str)
        assert array.dtype.isnative
        array.tobytes()
        if kind == "zip" and way != "contents":
            same = {**tensors(kind), "a": A, "b": B}[name]
            np.testing.assert_array_equal(array, same)
    model = fill()
    try:
        load_checkpoint(model, path)
        assert_loaded(model, arrays, kind)
    except CheckpointError as error:
        assert_proper(error)
        tinynet.assert_values(model, before())
        return "read"
    return "loaded"


def assert_loaded(model, arrays, kind):
    needed = {name: array.shape for name, array in tensors(kind).items()}
    assert {name: array.shape for name, array in arrays.items()} == needed
    values = tinynet.values(model)
    assert all(np.isfinite(value).all() for value in values.values())
    loaded = convert.from_keras(values, tinynet.layers(model), layout(kind))
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert array.dtype.name in FLOATS
        # Not exactly, as variances differ by two epsilons.
        expected = array.astype("float32")
        np.testing.assert_allclose(loaded[name], expected, 1e-6, 1e-7)


def test_what_happens_is_noticed(folder):
    path = folder / "noticed"

    def refused_after(action):
        with audit().watching(path):
            action()
            raise CheckpointError

    for action in (
        lambda: path.write_bytes(b""),
        lambda: pathlib.Path(__file__).read_bytes(),
        lambda: os.system("true"),
        lambda: subprocess.run([sys.executable, "--version"]),
        lambda: eval("1 + 1"),
        lambda: socket.socket().close(),
    ):
        with pytest.raises(AssertionError):
            refused_after(action)
    with audit().watching(path):
        assert path.read_bytes() == b""


# The files -------------------------------------------------------------------


def try_files(kind, way, folder, count):
    for other in FORMATS:
        originals(other, folder)  # not at random while hypothesis draws
    outcomes = outcomes_of(
        mutants(kind, way, folder),
        lambda content: outcome(kind, way, content, folder),
        count,
    )
    print(f"{kind}, {way}: {outcomes}")


EVERY_FORMAT = pytest.mark.parametrize("kind", FORMATS)
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


@EVERY_FORMAT
def test_originals_are_loaded(kind, folder):
    first, second = originals(kind, folder)
    assert outcome(kind, "bytes", first, folder) == "loaded"
    assert outcome(kind, "bytes", second, folder) == "read"


@EVERY_FORMAT
@EVERY_WAY
def test_mutants(kind, way, folder):
    try_files(kind, way, folder, FEW)


@pytest.mark.slow
@EVERY_FORMAT
@EVERY_WAY
def test_many_mutants(kind, way, folder):
    """Together at least 10,000."""
    assert MANY * len(FORMATS) * len(WAYS) >= 10_000
    try_files(kind, way, folder, MANY)
