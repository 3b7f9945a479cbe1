"""qubvel's `.h5` files, against the models that they were for."""

import functools
import re

import keras
import numpy as np
import old_models
import pytest
import tinynet
from checkpoint_files import read_checkpoint

from keras_resnext import Attention
from keras_resnext import imagenet
from keras_resnext import preprocess_input
from keras_resnext.variants import replace
from keras_resnext.weights import convert
from keras_resnext.weights import identify
from keras_resnext.weights.checkpoint import load_checkpoint
from keras_resnext.weights.files import CheckpointError

RESNEXT = replace(tinynet.CONFIG, depths=(2, 2))
SENET = replace(RESNEXT, attention=Attention("se"))
BOTH = pytest.mark.parametrize(
    "config", [RESNEXT, SENET], ids=["resnext", "se"]
)
# How many convolutions, or layers of any kind, had their number before.
FIRST = {RESNEXT: 0, SENET: 7}
MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])


@functools.cache
def filled(config, classes=tinynet.CLASSES):
    """Qubvel's model, what a file of it contains, and the values."""
    model, stored = old_models.qubvel(config, classes, FIRST[config])
    sizes = {key: variable.shape for key, variable in variables(stored)}
    variances = [key for key in sizes if key[1] == "moving_variance"]
    values = tinynet.random(sizes, variances)
    for i, key in enumerate(variances):  # so small too that epsilon is seen
        values[key] *= np.float32(10.0 ** -(i % 4))
    if ("bn_data", "beta") in values:
        values["bn_data", "beta"] *= 0
        values["bn_data", "moving_mean"] = MEAN.astype("float32")
        values["bn_data", "moving_variance"] = np.float32([3000, 4000, 2500])
    assign(stored, values)
    return model, stored, values


def variables(stored):
    for layer in stored:
        for variable in layer.weights:
            yield (layer.name, variable.name), variable


def assign(stored, values):
    for key, variable in variables(stored):
        variable.assign(values[key])


def load(config, path, **options):
    model = tinynet.shared(config, **options)
    load_checkpoint(model, path)
    return model


def pixels():
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (4, 32, 32, 3)).astype("float32")


def run(model, x):
    return keras.ops.convert_to_numpy(model(x))


def outputs(old, model, config):
    """Return the outputs of both models, each on pixels as it wants them."""
    x = pixels()
    ours = preprocess_input(x, data_format="channels_last")
    return run(old, x if config is RESNEXT else ours), run(model, ours)


def error(actual, expected):
    assert np.abs(expected).max() > 1e-3
    return np.abs(actual - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(
    ("config", "root"),
    [(RESNEXT, "/"), (SENET, "model_weights")],
    ids=["resnext", "se"],
)
def test_outputs_are_qubvels(config, root, tmp_path):
    old, stored, values = filled(config)
    path = old_models.write(tmp_path / "old.h5", stored, values, root)
    tensors = read_checkpoint(path)
    assert identify.detect_layout(tensors) == "qubvel"
    expected, actual = outputs(old, load(config, path), config)
    assert error(actual, expected) <= 1e-5


@BOTH
def test_file_without_the_classifier(config, tmp_path):
    _, stored, values = filled(config)
    whole = old_models.write(tmp_path / "old.h5", stored, values)
    expected = tinynet.values(load(config, whole))
    path = old_models.write(tmp_path / "no_top.h5", stored[:-1], values)
    for source in (path, whole):
        model = load(config, source, include_top=False)
        own = tinynet.shapes(model)
        tinynet.assert_values(model, {key: expected[key] for key in own})


def test_paths_with_names_of_their_own(tmp_path):
    """The library's first version named them, though by other words."""
    _, stored, values = filled(RESNEXT)
    path = old_models.write(tmp_path / "old.h5", stored, values)
    expected = tinynet.values(load(RESNEXT, path))
    path = old_models.write(
        tmp_path / "named.h5",
        stored,
        values,
        rename=lambda name: re.sub(r"^conv2d(_\d+)?", r"unit_conv2\1", name),
    )
    tinynet.assert_values(load(RESNEXT, path), expected)


# The normalization that ResNeXt learned


@pytest.fixture
def learned():
    """Return a model whose normalization of the input is not ImageNet's."""
    old, stored, values = filled(RESNEXT)
    rng = np.random.default_rng(2)
    values = {
        **values,
        ("bn_data", "beta"): rng.normal(0, 0.1, 3).astype("float32"),
        ("bn_data", "moving_mean"): np.float32(np.add(MEAN, (3, -2, 4))),
        ("bn_data", "moving_variance"): np.float32(STD**2 * [1.1, 0.9, 1.2]),
    }
    before = {key: variable.numpy() for key, variable in variables(stored)}
    assign(stored, values)
    yield old, stored, values
    assign(stored, before)


def test_learned_normalization_is_exact_inside_the_image(learned, tmp_path):
    old, stored, values = learned
    path = old_models.write(tmp_path / "old.h5", stored, values)
    model = load(RESNEXT, path)
    expected, actual = outputs(old, model, RESNEXT)
    assert error(actual, expected) < 0.01
    relu = next(x for x in old.layers if isinstance(x, keras.layers.ReLU))
    old = keras.Model(old.input, relu.output)
    model = keras.Model(model.input, model.get_layer("stem_bn1").output)
    expected, actual = outputs(old, model, RESNEXT)
    assert expected.shape == actual.shape == (4, 16, 16, 64)
    assert error(actual[:, 2:-1, 2:-1], expected[:, 2:-1, 2:-1]) <= 1e-5
    # The stem pads by three pixels and strides by two.
    assert 1e-3 < error(actual, expected) < 0.05


# The order of the classes


def test_classes_are_put_in_the_usual_order():
    tensors = tensors_of(RESNEXT)
    values = {}
    for name in ("kernel", "bias"):
        shape = (*tensors[f"fc1/{name}"].shape[:-1], 1000)
        values["fc1", name] = np.random.default_rng(3).random(shape, "float32")
        tensors[f"fc1/{name}"] = values["fc1", name]
    ours = to_keras(tensors, RESNEXT, classes=1000)
    usual = [each.name for each in imagenet.classes()].index("kite")
    assert usual == 21
    for name in ("kernel", "bias"):
        theirs = values["fc1", name]
        head = ours["predictions", name]
        np.testing.assert_array_equal(head[..., usual], theirs[..., 396])
        np.testing.assert_array_equal(np.sort(head), np.sort(theirs))


def test_classes_of_senet_are_in_the_usual_order():
    tensors = tensors_of(SENET)
    bias = np.arange(1000, dtype="float32")
    tensors["dense_7/kernel"] = np.broadcast_to(bias, (256, 1000))
    tensors["dense_7/bias"] = bias
    ours = to_keras(tensors, SENET, classes=1000)
    np.testing.assert_array_equal(ours["predictions", "bias"], bias)
    np.testing.assert_array_equal(ours["predictions", "kernel"][1], bias)


# Other files


def tensors_of(config):
    _, stored, values = filled(config)
    return {name: values[key] for key, name in old_models.names(stored).items()}


@functools.cache
def uninitialized(config, classes):
    with keras.StatelessScope(initialize_variables=False):
        return tinynet.build(config, classes=classes)


def to_keras(tensors, config, classes=tinynet.CLASSES):
    model = uninitialized(config, classes)
    return dict(
        convert.to_keras(
            tensors, tinynet.shapes(model), tinynet.layers(model), "qubvel"
        )
    )


@BOTH
def test_every_tensor_is_needed(config):
    tensors = tensors_of(config)
    to_keras(tensors, config)
    for name in tensors:
        rest = {key: value for key, value in tensors.items() if key != name}
        with pytest.raises(CheckpointError, match=r"don't match|needs a"):
            to_keras(rest, config)


@BOTH
def test_another_order_and_the_other_family_are_refused(config):
    other = SENET if config is RESNEXT else RESNEXT
    backwards = dict(reversed(tensors_of(config).items()))
    for tensors in (backwards, tensors_of(other)):
        with pytest.raises(CheckpointError, match="don't match"):
            to_keras(tensors, config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("conv2d/kernel", np.zeros((3, 3, 5, 16), "float32")),
        ("bn_data/beta", np.zeros(4, "float32")),
        ("conv0/kernel", np.zeros((7, 7, 4, 64), "float32")),
        ("bn0/moving_mean", np.zeros(63, "float32")),
        ("conv0/kernel", np.zeros((7, 7, 3, 64), "int8")),
        ("bn_data/moving_variance", np.full(3, -1, "float32")),
        ("bn_data/moving_mean", np.full(3, np.nan, "float32")),
        ("fc1/bias", np.zeros(1000, "float32")),
        ("fc1/kernel", np.zeros((7,), "float32")),
    ],
)
def test_damaged_tensors_are_refused(name, value):
    tensors = tensors_of(RESNEXT)
    tensors[name] = value
    with pytest.raises(CheckpointError):
        to_keras(tensors, RESNEXT)
