"""Contents of a file of Keras 3, and what Keras would do with it."""

import functools
import json
import pathlib
import tempfile
import zipfile
from dataclasses import replace

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
import tinynet
from test_checkpoint import Norms
from test_checkpoint import assert_refused
from tinynet import filled
from tinynet import shared

import keras_resnext
from keras_resnext import Checkpoint
from keras_resnext import CheckpointError
from keras_resnext import finetuning
from keras_resnext import inspect_checkpoint
from keras_resnext.weights.checkpoint import load_checkpoint
from keras_resnext.weights.readers import open_checkpoint

SUFFIXES = pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
KERNEL = "layers/conv2d/vars/0"
VARIANCE = "layers/batch_normalization/vars/3"


def save(model, path):
    (model.save if path.suffix == ".keras" else model.save_weights)(path)
    return path


@functools.cache
def content(suffix):
    """Return Keras' file of the model, with the values of the first seed."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, f"model{suffix}")
        return save(filled(shared()), path).read_bytes()


def saved(folder, suffix, name=None):
    path = folder / (name or f"model{suffix}")
    path.write_bytes(content(suffix))
    return path


def other():
    """Return the model, with other values than those of the file."""
    return filled(shared(), seed=2)


def rewrite(path, change):
    """Change the parts of an archive."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def change(path, name, new):
    """Replace a weight in a file of either kind by `new(value)`."""
    if path.suffix != ".keras":
        return change_h5(path, name, new)
    inner = path.with_name("inner.weights.h5")

    def within(parts):
        inner.write_bytes(parts["model.weights.h5"])
        parts["model.weights.h5"] = change_h5(inner, name, new).read_bytes()

    rewrite(path, within)
    return path


def change_h5(path, name, new):
    with h5py.File(path, "a") as file:
        value = new(file[name][()])
        del file[name]
        dataset = file.create_dataset(name, data=value)
        if value.dtype == ml_dtypes.bfloat16:
            dataset.attrs["dtype"] = "bfloat16"
    return path


def put(number):
    def new(value):
        value.flat[-1] = number
        return value

    return new


def of_dtype(dtype):
    return lambda value: (value * 9).astype(dtype)


# Whole files


@SUFFIXES
def test_file_of_any_name(suffix, tmp_path):
    count = len(shared().weights)
    for name in (None, "model.h5", "blob", "model.zip"):
        path = saved(tmp_path, suffix, name)
        assert inspect_checkpoint(path) == Checkpoint("keras", (), 5, count)
        model = other()
        load_checkpoint(model, path)
        tinynet.assert_values(model, tinynet.random_values(model, 1))
        assert model.weights_info is None


def test_open_model(tmp_path):
    path = saved(tmp_path, ".keras")
    opened = keras_resnext.model_from_checkpoint(path)
    tinynet.assert_values(opened, tinynet.random_values(opened, 1))
    assert json.loads(opened.to_json()) == json.loads(shared().to_json())
    with pytest.raises(ValueError, match="Received: classes"):
        keras_resnext.model_from_checkpoint(path, classes=3)


@SUFFIXES
def test_without_the_classifier(suffix, tmp_path):
    model = shared(include_top=False)
    load_checkpoint(model, saved(tmp_path, suffix))
    expected = tinynet.random_values(shared(), 1)
    own = tinynet.shapes(model)
    tinynet.assert_values(model, {key: expected[key] for key in own})
    # And it can't lend a classifier that it hasn't got.
    path = save(model, tmp_path / f"features{suffix}")
    assert inspect_checkpoint(path).classes is None
    assert_refused(shared(), path, "does not fit the model")


@pytest.mark.once
@pytest.mark.parametrize(
    ("suffix", "depths"), [(".keras", (2, 1)), (".weights.h5", (1, 2))]
)
def test_another_depth(suffix, depths, tmp_path):
    deeper = shared(replace(tinynet.CONFIG, depths=depths))
    words = "does not fit the model 'resnext'"
    assert_refused(deeper, saved(tmp_path, suffix), words)
    path = save(deeper, tmp_path / f"deeper{suffix}")
    assert_refused(shared(), path, words)


@SUFFIXES
def test_layer_of_layers_more(suffix, tmp_path):
    inputs = keras.Input((4,))
    more = Norms(name="stage1_block1_attention")
    path = save(keras.Model(inputs, more(inputs)), tmp_path / f"more{suffix}")
    with pytest.raises(
        CheckpointError,
        match="2 more weights, such as weight 0 of 'stage1_block1_att",
    ):
        load_checkpoint(keras.Model(inputs, inputs), path)


@pytest.mark.once
@SUFFIXES
def test_other_classes_and_other_models(suffix, tmp_path):
    model = finetuning.reset_classifier(shared(), 7)
    path = save(model, tmp_path / f"model{suffix}")
    assert_refused(shared(), path, "does not fit", "predictions")
    inputs = keras.Input((4,))
    save(keras.Model(inputs, keras.layers.Dense(2)(inputs)), path)
    assert_refused(shared(), path, "does not fit")


@pytest.mark.once
@SUFFIXES
def test_damaged(suffix, tmp_path):
    path = tmp_path / f"damaged{suffix}"
    whole = content(suffix)
    for part in (b"", b"PK\x03\x04", whole[: len(whole) // 2], whole[:-100]):
        path.write_bytes(part)
        assert_refused(shared(), path, path.name, "damaged")
        with pytest.raises(CheckpointError, match=path.name):
            inspect_checkpoint(path)


def test_half_loaded_file_is_taken_back(tmp_path):
    """The last layer of the file is broken, when others are loaded."""
    path = saved(tmp_path, ".weights.h5")
    with h5py.File(path, "a") as file:
        del file["layers/classifier/vars/1"]
    assert_refused(other(), path, "does not fit")


# The rule for numbers


@pytest.mark.once
@pytest.mark.parametrize(
    ("suffix", "name", "new", "words"),
    [
        (
            ".keras",
            KERNEL,
            put(np.nan),
            "0 of 'stem_conv1' contains NaN or inf",
        ),
        (
            ".weights.h5",
            KERNEL,
            put(-np.inf),
            "'stem_conv1' contains NaN or inf",
        ),
        (".keras", KERNEL, of_dtype("uint8"), "needs floating-point numbers"),
        (".weights.h5", KERNEL, of_dtype("int64"), "contains int64"),
        (".keras", KERNEL, of_dtype("bool"), f"nor integers in '{KERNEL}'"),
        (".weights.h5", KERNEL, of_dtype("c8"), "contains neither floats nor"),
        (".weights.h5", KERNEL, of_dtype("S4"), "contains neither floats nor"),
        (
            ".keras",
            VARIANCE,
            put(-1e-6),
            "'stem_bn1' contains negative numbers",
        ),
        (
            ".weights.h5",
            VARIANCE,
            put(-1e-6),
            "variance of 'stem_bn1' contains",
        ),
    ],
)
def test_numbers_that_are_refused(suffix, name, new, words, tmp_path):
    path = change(saved(tmp_path, suffix), name, new)
    assert_refused(other(), path, words, str(path))
    if suffix == ".keras":
        with pytest.raises(CheckpointError, match="contains"):
            keras_resnext.model_from_checkpoint(path)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".weights.h5", "float16"),
        (".keras", "bfloat16"),
        (".weights.h5", "bfloat16"),
        (".keras", "float64"),
        (".weights.h5", ">f4"),
    ],
)
def test_other_precisions(suffix, dtype, tmp_path):
    path = change(saved(tmp_path, suffix), KERNEL, lambda v: v.astype(dtype))
    change(path, VARIANCE, put(0.0))
    model = other()
    load_checkpoint(model, path)
    kernel = tinynet.values(model)["stem_conv1", "kernel"]
    before = tinynet.random_values(model, 1)["stem_conv1", "kernel"]
    np.testing.assert_array_equal(kernel, before.astype(dtype).astype("f4"))


def convolution(dtype):
    inputs = keras.Input((8, 8, 3))
    layer = keras.layers.Conv2D(4, 3, name="stem_conv1", dtype=dtype)
    return keras.Model(inputs, layer(inputs))


@SUFFIXES
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16"])
def test_models_of_other_precisions(suffix, dtype, tmp_path):
    model = convolution(dtype)
    expected = model.get_weights()
    path = save(model, tmp_path / f"model{suffix}")
    model.set_weights([np.zeros_like(value) for value in expected])
    load_checkpoint(model, path)
    for value, wanted in zip(model.get_weights(), expected, strict=True):
        assert value.dtype == wanted.dtype
        np.testing.assert_array_equal(value, wanted)


def test_too_large_for_the_variable(tmp_path):
    model = convolution("float16")
    path = save(model, tmp_path / "model.weights.h5")
    change(path, KERNEL, lambda value: put(1e6)(value.astype("float32")))
    assert_refused(model, path, "kernel of 'stem_conv1' contains")


# What else a file may contain


@SUFFIXES
def test_state_of_an_optimizer(suffix, tmp_path):
    """Integers, which a model of the same optimizer takes, and others not."""
    saved, same, other, plain = (
        filled(tinynet.build(tinynet.SMALLEST), n) for n in range(4)
    )
    saved.compile("adam", "sparse_categorical_crossentropy")
    same.compile("adam", "sparse_categorical_crossentropy")
    other.compile("sgd", "sparse_categorical_crossentropy")
    for model in (saved, same, other):
        model.optimizer.build(model.trainable_variables)
    for variable in saved.optimizer.variables:
        if variable.name != "learning_rate":
            variable.assign(np.full(variable.shape, 3, variable.dtype))
    path = save(saved, tmp_path / f"model{suffix}")
    for model in (same, other, plain):
        load_checkpoint(model, path)
        tinynet.assert_values(model, tinynet.values(saved))
    assert int(same.optimizer.iterations.numpy()) == 3
    assert int(other.optimizer.iterations.numpy()) == 0
    if suffix == ".keras":
        opened = keras_resnext.model_from_checkpoint(path)
        tinynet.assert_values(opened, tinynet.values(saved))


@SUFFIXES
def test_layers_before_the_model(suffix, tmp_path):
    """Keras passes over those, integers too, that only the file has."""
    inputs = keras.Input((32, 32, 3))
    norm = keras.layers.Normalization(name="scale")
    x = keras.layers.RandomFlip(seed=1)(norm(inputs))
    part = filled(tinynet.build(tinynet.SMALLEST))
    whole = tinynet.build(tinynet.SMALLEST, input_tensor=x)
    norm.adapt(np.random.default_rng(0).random((4, 32, 32, 3), "float32"))
    whole.set_weights([*norm.get_weights(), *part.get_weights()])
    path = save(whole, tmp_path / f"model{suffix}")
    expected = tinynet.values(part)
    for model in (part, whole):
        for variable in model.trainable_variables:
            variable.assign(np.zeros(variable.shape))
        load_checkpoint(model, path)
        own = tinynet.values(model)
        for key, value in expected.items():
            np.testing.assert_array_equal(own[key], value)
    change(path, "layers/normalization/vars/0", put(np.nan))
    assert_refused(whole, path, "weight 0 of 'scale' contains NaN")


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("config.json", b"{"),
        ("config.json", b"[" * 100_000),
        ("config.json", b'{"class_name": "Nothing", "config": {}}'),
        ("model.weights.npz", b"PK"),
    ],
)
def test_archive_that_keras_can_not_open(name, part, tmp_path):
    def replace(parts):
        if name not in parts:
            del parts["model.weights.h5"]
        parts[name] = part

    path = saved(tmp_path, ".keras")
    rewrite(path, replace)
    with pytest.raises(CheckpointError) as info:
        keras_resnext.model_from_checkpoint(path)
    assert str(info.value).isprintable()
    assert str(path) in str(info.value)
    if name != "config.json":
        assert_refused(shared(), path, "contains no model.weights.h5")


def test_archive_of_code(tmp_path):
    """Python in a file's configuration is never run."""
    path = tmp_path / "model.keras"
    inputs = keras.Input((4,))
    outputs = keras.layers.Lambda(lambda x: x + 1)(inputs)
    keras.Model(inputs, keras.layers.Dense(2)(outputs)).save(path)
    with pytest.raises(CheckpointError, match=r"safe_mode|Lambda|lambda"):
        keras_resnext.model_from_checkpoint(path)


# HDF5


def test_heap_of_another_size(tmp_path):
    """HDF5's library reads it forever."""
    path = saved(tmp_path, ".weights.h5")
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"GCOL") + 8] = 255
    path.write_bytes(damaged)
    assert_refused(shared(), path, "is cut or damaged")


@pytest.mark.once
@pytest.mark.parametrize(
    ("place", "source", "words"),
    [
        ("layers/again", "/", ""),
        ("layers/conv2d/vars/again", "/", ""),
        ("layers/more/vars/0", KERNEL, "has parts that overlap"),
    ],
)
def test_part_stored_twice(place, source, words, tmp_path):
    path = saved(tmp_path, ".weights.h5")
    with h5py.File(path, "a") as file:
        file[place] = file[source]
    assert_refused(shared(), path, str(path), words)


def test_reads_what_h5py_reads(tmp_path):
    path = saved(tmp_path, ".weights.h5")
    with open_checkpoint(path) as contents, h5py.File(path) as file:
        weights = contents.tensors
        assert len(weights) == len(shared().weights)
        for name in weights:
            np.testing.assert_array_equal(weights.read(name), file[name][()])
