"""qubvel's `.h5` files, against the networks that they were for."""

import functools
import re

import keras
import numpy as np
import old_networks
import pytest
import tinynet
from checkpoint_files import read_checkpoint

from keras_resnext import Attention
from keras_resnext import imagenet
from keras_resnext import preprocess_input
from keras_resnext.variants import replace
from keras_resnext.weights import convert
from keras_resnext.weights import identify
from keras_resnext.weights.files import CheckpointError

RESNEXT = replace(tinynet.CONFIG, depths=(2, 2))
SENET = replace(RESNEXT, attention=Attention("se"))
BOTH = pytest.mark.parametrize(
    "config", [RESNEXT, SENET], ids=["resnext", "se"]
)
MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])


@functools.cache
def filled(config, classes=tinynet.CLASSES, first=0):
    """Qubvel's network, what a file of it holds, and the values."""
    model, stored = old_networks.qubvel(config, classes, first)
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


def pixels():
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (4, 32, 32, 3)).astype("float32")


def run(model, x):
    return keras.ops.convert_to_numpy(model(x))


def outputs(old, model, config):
    """Of both networks, each on pixels as it wants them."""
    x = pixels()
    ours = preprocess_input(x, data_format="channels_last")
    return run(old, x if config is RESNEXT else ours), run(model, ours)


def error(actual, expected):
    assert np.abs(expected).max() > 1e-3
    return np.abs(actual - expected).max() / np.abs(expected).max()


@BOTH
@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize("root", ["/", "model_weights"])
def test_outputs_are_qubvels(config, first, root, tmp_path):
    old, stored, values = filled(config, first=first)
    path = old_networks.write(tmp_path / "old.h5", stored, values, root)
    model = tinynet.build(config, weights=path)
    expected, actual = outputs(old, model, config)
    assert error(actual, expected) <= 1e-5


@BOTH
def test_file_without_the_classifier(config, tmp_path):
    _, stored, values = filled(config)
    whole = old_networks.write(tmp_path / "old.h5", stored, values)
    expected = tinynet.values(tinynet.build(config, weights=whole))
    path = old_networks.write(tmp_path / "no_top.h5", stored[:-1], values)
    for source in (path, whole):
        model = tinynet.build(config, include_top=False, weights=source)
        own = tinynet.shapes(model)
        tinynet.assert_values(model, {key: expected[key] for key in own})


def test_paths_with_names_of_their_own(tmp_path):
    """The library's first version named them, though by other words."""
    _, stored, values = filled(RESNEXT)
    path = old_networks.write(tmp_path / "old.h5", stored, values)
    expected = tinynet.values(tinynet.build(RESNEXT, weights=path))
    path = old_networks.write(
        tmp_path / "named.h5",
        stored,
        values,
        rename=lambda name: re.sub(r"^conv2d(_\d+)?", r"unit_conv2\1", name),
    )
    tinynet.assert_values(tinynet.build(RESNEXT, weights=path), expected)


# The normalization that ResNeXt learned


@pytest.fixture
def learned():
    """A network whose normalization of the input is not ImageNet's."""
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


def test_learned_normalization_is_exact_inside_the_picture(learned, tmp_path):
    old, stored, values = learned
    path = old_networks.write(tmp_path / "old.h5", stored, values)
    model = tinynet.build(RESNEXT, weights=path)
    relu = next(x for x in old.layers if isinstance(x, keras.layers.ReLU))
    old = keras.Model(old.input, relu.output)
    model = keras.Model(model.input, model.get_layer("stem_bn1").output)
    expected, actual = outputs(old, model, RESNEXT)
    assert expected.shape == actual.shape == (4, 16, 16, 64)
    assert error(actual[:, 2:-1, 2:-1], expected[:, 2:-1, 2:-1]) <= 1e-5
    # The stem pads by three pixels and strides by two.
    assert 1e-3 < error(actual, expected) < 0.05


def test_learned_normalization_at_the_border_weighs_little(learned, tmp_path):
    old, stored, values = learned
    path = old_networks.write(tmp_path / "old.h5", stored, values)
    expected, actual = outputs(
        old, tinynet.build(RESNEXT, weights=path), RESNEXT
    )
    assert error(actual, expected) < 0.01


# The order of the classes


def test_classes_are_put_in_the_usual_order(tmp_path):
    _, stored, values = filled(RESNEXT, classes=1000)
    path = old_networks.write(tmp_path / "old.h5", stored, values)
    model = tinynet.build(RESNEXT, classes=1000, weights=path)
    ours = tinynet.values(model)
    usual = [each.name for each in imagenet.classes()].index("kite")
    assert usual == 21
    for name in ("kernel", "bias"):
        theirs = values["fc1", name]
        head = ours["predictions", name]
        np.testing.assert_array_equal(head[..., usual], theirs[..., 396])
        np.testing.assert_array_equal(np.sort(head), np.sort(theirs))


def test_classes_of_senet_are_in_the_usual_order(tmp_path):
    _, stored, values = filled(SENET, classes=1000)
    path = old_networks.write(tmp_path / "old.h5", stored, values)
    model = tinynet.build(SENET, classes=1000, weights=path)
    head = tinynet.values(model)["predictions", "kernel"]
    np.testing.assert_array_equal(head, values["dense", "kernel"])


# Other files


def tensors_of(config):
    _, stored, values = filled(config)
    return {
        name: values[key] for key, name in old_networks.names(stored).items()
    }


@functools.cache
def build(config):
    return tinynet.build(config)


def to_keras(tensors, config):
    model = build(config)
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
def test_another_order_is_refused(config):
    tensors = tensors_of(config)
    backwards = dict(reversed(tensors.items()))
    with pytest.raises(CheckpointError, match="don't match"):
        to_keras(backwards, config)


@BOTH
def test_the_other_family_is_refused(config):
    other = SENET if config is RESNEXT else RESNEXT
    with pytest.raises(CheckpointError, match="don't match"):
        to_keras(tensors_of(other), config)


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


@BOTH
def test_layout_is_told_by_order_and_shapes(config, tmp_path):
    _, stored, values = filled(config)
    path = old_networks.write(tmp_path / "old.h5", stored, values)
    tensors = read_checkpoint(path)
    assert identify.detect_layout(tensors) == "qubvel"
