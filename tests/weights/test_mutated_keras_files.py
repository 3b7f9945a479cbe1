"""Mutated files of Keras 3: each is refused, or loaded completely.

Every file tried here is inspected, loaded into a model and, if it is an
archive, opened. Each time it ends as one of:

- refused: `CheckpointError` and nothing else, the model as it was before;
- loaded: every variable is finite and what the file's dataset says, no
  variance is negative.

HDF5 has no checksums: with other numbers inside, a file is another checkpoint.
An archive has them, so there a changed number must be noticed. What was loaded
is compared with what HDF5's own library reads, in a process of its own, as it
crashes or hangs on some files.
"""

import collections
import functools
import zipfile

import numpy as np
import pytest
import tinynet
from hypothesis import strategies as st
from mutated_keras_files import WAYS
from mutated_keras_files import WEIGHTS
from mutated_keras_files import Comparison
from mutated_keras_files import mutated_archive
from mutated_keras_files import mutated_h5
from mutations import Mutant
from mutations import assert_proper
from mutations import before
from mutations import ending
from mutations import fill
from mutations import outcomes_of

import keras_resnext
from keras_resnext import CheckpointError
from keras_resnext.weights.checkpoint import load_checkpoint
from keras_resnext.weights.readers import open_checkpoint

pytestmark = pytest.mark.once

KINDS = [".weights.h5", ".keras"]
FEW, MANY = 4, 340


@functools.cache
def original(kind, folder):
    path = folder / f"original{kind}"
    model = fill()
    save = model.save if kind == ".keras" else model.save_weights
    save(path)
    return path.read_bytes()


@functools.cache
def places(folder):
    """Find each variable in a file, as no two are alike."""
    original(".weights.h5", folder)
    arrays = stored(folder / "original.weights.h5")
    found = {
        key: [path for path, a in arrays.items() if np.array_equal(a, value)]
        for key, value in before().items()
    }
    assert all(len(paths) == 1 for paths in found.values())
    return {key: path for key, [path] in found.items()}


def stored(path):
    with open_checkpoint(path) as contents:
        weights = contents.tensors
        return {name: weights.read(name) for name in weights}


@st.composite
def mutants(draw, kind, way, content):
    mutate = mutated_archive if kind == ".keras" else mutated_h5
    return Mutant(draw(mutate(Mutant(content), way)))


def refused(action):
    """Return the result, or nothing if a file was refused."""
    try:
        return action()
    except CheckpointError as error:
        assert_proper(error)
        return None


def outcome(kind, way, content, folder, comparison):
    path = folder / f"mutant{kind}"
    path.write_bytes(content)
    with ending(folder):
        return loaded(kind, way, path, comparison)


def loaded(kind, way, path, comparison):
    model = fill()
    info = refused(lambda: keras_resnext.inspect_checkpoint(path))
    done = refused(lambda: load_checkpoint(model, path) or True)
    if not done:
        tinynet.assert_values(model, before())
        return "refused" if info is None else "inspected"
    assert info.layout == "keras"
    arrays = stored(path)
    values = tinynet.values(model)
    assert_sound(values)
    for key, value in values.items():
        expected = arrays[places(path.parent)[key]].astype("float32")
        np.testing.assert_array_equal(value, expected)
    if kind == ".keras":
        with zipfile.ZipFile(path) as archive:
            comparison.add(archive.read(WEIGHTS), arrays)
        # Or refused for its configuration, which loading does not need.
        opened = refused(lambda: keras_resnext.model_from_checkpoint(path))
        if opened:
            tinynet.assert_values(opened, values)
    else:
        comparison.add(path.read_bytes(), arrays)
    same = all(np.array_equal(values[key], v) for key, v in before().items())
    if kind == ".keras" and way != "contents":
        assert same
    return "loaded" if same else "loaded, other numbers"


def assert_sound(values):
    for (_, name), value in values.items():
        assert np.isfinite(value).all()
        assert name != "moving_variance" or (value >= 0).all()


def try_files(kind, way, folder, count, name):
    content = original(kind, folder)
    comparison = Comparison(folder / name)
    outcomes = outcomes_of(
        mutants(kind, way, content),
        lambda mutant: outcome(kind, way, mutant, folder, comparison),
        count,
    )
    verdicts = collections.Counter(comparison.verdicts())
    print(f"{kind}, {way}: {outcomes}; h5py reads: {dict(verdicts)}")
    # Read alike, or not at all by HDF5: then it minds what isn't needed here.
    assert not verdicts["other"]


EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


@EVERY_KIND
def test_original_is_loaded(kind, folder):
    content = original(kind, folder)
    comparison = Comparison(folder / f"one{kind[:6]}")
    assert outcome(kind, "bytes", content, folder, comparison) == "loaded"
    assert comparison.verdicts() == ["same"]


@EVERY_KIND
@EVERY_WAY
def test_mutants(kind, way, folder):
    try_files(kind, way, folder, FEW, f"few{kind[:6]}{way}")


@pytest.mark.slow
@EVERY_KIND
@EVERY_WAY
def test_many_mutants(kind, way, folder):
    """Together at least 2,000."""
    assert MANY * len(KINDS) * len(WAYS) >= 2_000
    try_files(kind, way, folder, MANY, f"many{kind[:6]}{way}")
