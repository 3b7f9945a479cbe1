"""What a file of Keras 3 may contain, and what Keras would do with it."""

import json
import zipfile

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
import tinynet
from test_checkpoint import assert_refused
from test_checkpoint import filled
from test_checkpoint import save

import keras_resnext
from keras_resnext import CheckpointError
from keras_resnext.weights.checkpoint import load_checkpoint
from keras_resnext.weights.readers import open_checkpoint

# Keras' jax backend, as it saves, meets a deprecation of NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept"
)
SUFFIXES = pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
KERNEL = "layers/conv2d/vars/0"
VARIANCE = "layers/batch_normalization/vars/3"


def change(path, name, new):
    """Replaces a weight in a file of either kind by `new(value)`."""
    if path.suffix != ".keras":
        return change_h5(path, name, new)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    inner = path.with_name("inner.weights.h5")
    inner.write_bytes(parts["model.weights.h5"])
    parts["model.weights.h5"] = change_h5(inner, name, new).read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
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


# The rule for numbers


@SUFFIXES
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_not_finite(suffix, number, tmp_path):
    path = save(filled(tinynet.build()), tmp_path / f"model{suffix}")
    change(path, KERNEL, put(number))
    words = f"weight 0 of 'stem_conv1' holds NaN or infinity in '{path}'"
    assert_refused(filled(tinynet.build()), path, words)
    if suffix == ".keras":
        with pytest.raises(CheckpointError, match="NaN or infinity"):
            keras_resnext.model_from_checkpoint(path)


@SUFFIXES
@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int64", "bool", "c8", "S4"]
)
def test_not_floating_point(suffix, dtype, tmp_path):
    path = save(filled(tinynet.build()), tmp_path / f"model{suffix}")
    with np.errstate(invalid="ignore"):
        change(path, KERNEL, lambda value: value.astype(dtype))
    numbers = np.dtype(dtype).kind in "iu"
    words = (
        f"weight 0 of 'stem_conv1' needs floating-point numbers, but '{path}' "
        f"holds {dtype}"
        if numbers
        else f"{path} holds neither floats nor integers in '{KERNEL}'"
    )
    assert_refused(filled(tinynet.build()), path, words)
    if suffix == ".keras":
        with pytest.raises(CheckpointError, match="holds"):
            keras_resnext.model_from_checkpoint(path)


@SUFFIXES
def test_negative_variance(suffix, tmp_path):
    path = save(filled(tinynet.build()), tmp_path / f"model{suffix}")
    change(path, VARIANCE, put(-1e-6))
    words = "moving_variance of 'stem_bn1' holds negative numbers"
    assert_refused(filled(tinynet.build()), path, words)
    if suffix == ".keras":
        with pytest.raises(CheckpointError, match="negative numbers"):
            keras_resnext.model_from_checkpoint(path)
    change(path, VARIANCE, put(0.0))
    load_checkpoint(tinynet.build(), path)


@SUFFIXES
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", ">f4"])
def test_other_precisions(suffix, dtype, tmp_path):
    model = filled(tinynet.build())
    path = save(model, tmp_path / f"model{suffix}")
    before = tinynet.values(model)["stem_conv1", "kernel"]
    change(path, KERNEL, lambda value: value.astype(dtype))
    load_checkpoint(model, path)
    kernel = tinynet.values(model)["stem_conv1", "kernel"]
    np.testing.assert_array_equal(kernel, before.astype(dtype).astype("f4"))


@SUFFIXES
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16"])
def test_models_of_other_precisions(suffix, dtype, tmp_path):
    inputs = keras.Input((8, 8, 3))
    layer = keras.layers.Conv2D(4, 3, name="stem_conv1", dtype=dtype)
    model = keras.Model(inputs, layer(inputs))
    expected = model.get_weights()
    path = save(model, tmp_path / f"model{suffix}")
    model.set_weights([np.zeros_like(value) for value in expected])
    load_checkpoint(model, path)
    for value, other in zip(model.get_weights(), expected, strict=True):
        assert value.dtype == other.dtype
        np.testing.assert_array_equal(value, other)


def test_too_large_for_the_variable(tmp_path):
    inputs = keras.Input((8, 8, 3))
    layer = keras.layers.Conv2D(4, 3, name="stem_conv1", dtype="float16")
    model = keras.Model(inputs, layer(inputs))
    path = save(model, tmp_path / "model.weights.h5")
    change(path, KERNEL, lambda value: put(1e6)(value.astype("float32")))
    before = model.get_weights()
    with pytest.raises(CheckpointError, match="kernel of 'stem_conv1' holds"):
        load_checkpoint(model, path)
    for value, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, other)


# What else a file may contain


@SUFFIXES
def test_state_of_an_optimizer(suffix, tmp_path):
    """Integers, which a model of the same optimizer takes, and others not."""
    saved, same, other, plain = (filled(tinynet.build(), n) for n in range(4))
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
def test_layers_before_the_network(suffix, tmp_path):
    """Keras passes over those, integers too, that only the file has."""
    inputs = keras.Input((32, 32, 3))
    norm = keras.layers.Normalization(name="scale")
    x = keras.layers.RandomFlip(seed=1)(norm(inputs))
    saved = filled(tinynet.build())
    whole = tinynet.build(input_tensor=x)
    norm.adapt(np.random.default_rng(0).random((4, 32, 32, 3), "float32"))
    whole.set_weights([*norm.get_weights(), *saved.get_weights()])
    path = save(whole, tmp_path / f"model{suffix}")
    for model in (tinynet.build(), tinynet.build(input_tensor=x)):
        load_checkpoint(model, path)
        own = tinynet.values(model)
        for key, value in tinynet.values(saved).items():
            np.testing.assert_array_equal(own[key], value)
    before = norm.get_weights()
    change(path, "layers/normalization/vars/0", put(np.nan))
    with pytest.raises(CheckpointError, match="weight 0 of 'scale' holds NaN"):
        load_checkpoint(model, path)
    for value, other in zip(norm.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"[" * 100_000),
        ("config.json", b'{"class_name": "Nothing", "config": {}}'),
        ("model.weights.npz", b"PK"),
    ],
)
def test_archive_that_keras_can_not_open(name, content, tmp_path):
    path = save(tinynet.build(), tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    if name not in parts:
        del parts["model.weights.h5"]
    with zipfile.ZipFile(path, "w") as archive:
        for key, part in {**parts, name: content}.items():
            archive.writestr(key, part)
    with pytest.raises(CheckpointError) as info:
        keras_resnext.model_from_checkpoint(path)
    assert str(info.value).isprintable()
    assert str(path) in str(info.value)


def test_archive_of_code(tmp_path):
    """Python in a file's configuration is never run."""
    path = tmp_path / "model.keras"
    inputs = keras.Input((4,))
    outputs = keras.layers.Lambda(lambda x: x + 1)(inputs)
    keras.Model(inputs, keras.layers.Dense(2)(outputs)).save(path)
    with pytest.raises(CheckpointError, match=r"safe_mode|Lambda|lambda"):
        keras_resnext.model_from_checkpoint(path)


def test_open_model(tmp_path):
    model = filled(tinynet.build())
    path = save(model, tmp_path / "model.keras")
    opened = keras_resnext.model_from_checkpoint(path)
    tinynet.assert_values(opened, tinynet.values(model))
    assert json.loads(opened.to_json()) == json.loads(model.to_json())
    with pytest.raises(ValueError, match="Received: classes"):
        keras_resnext.model_from_checkpoint(path, classes=3)


@SUFFIXES
@pytest.mark.parametrize("name", ["model.h5", "blob", "model.zip"])
def test_file_of_any_name(suffix, name, tmp_path):
    saved = filled(tinynet.build())
    path = save(saved, tmp_path / f"model{suffix}").rename(tmp_path / name)
    assert keras_resnext.inspect_checkpoint(path).layout == "keras"
    tinynet.assert_values(tinynet.build(weights=path), tinynet.values(saved))


# HDF5


def test_heap_of_another_size(tmp_path):
    """HDF5's library looks at it for ever."""
    path = save(tinynet.build(), tmp_path / "model.weights.h5")
    content = bytearray(path.read_bytes())
    content[content.index(b"GCOL") + 8] = 255
    path.write_bytes(content)
    assert_refused(tinynet.build(), path, "is cut or damaged")


@pytest.mark.parametrize("group", ["layers", "layers/conv2d/vars"])
def test_group_in_itself(group, tmp_path):
    path = save(tinynet.build(), tmp_path / "model.weights.h5")
    with h5py.File(path, "a") as file:
        file[f"{group}/again"] = file["/"]
    assert_refused(tinynet.build(), path, str(path))


def test_weight_stored_twice(tmp_path):
    path = save(tinynet.build(), tmp_path / "model.weights.h5")
    with h5py.File(path, "a") as file:
        file["layers/more/vars/0"] = file[KERNEL]
    assert_refused(tinynet.build(), path, "has parts that overlap")


def test_reads_what_h5py_reads(tmp_path):
    path = save(filled(tinynet.build()), tmp_path / "model.weights.h5")
    with open_checkpoint(path) as contents, h5py.File(path) as file:
        weights = contents.tensors
        assert len(weights) == len(tinynet.build().weights)
        for name in weights:
            np.testing.assert_array_equal(weights.read(name), file[name][()])
