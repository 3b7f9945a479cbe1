"""The `.h5` files of keras-applications, against the network they were for."""

import functools
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
import tinynet

from keras_resnext.weights import convert
from keras_resnext.weights import load
from keras_resnext.weights.readers import read_checkpoint

# Two blocks follow a first one, to see both kinds of shortcut in each stage.
CONFIG = replace(tinynet.CONFIG, depths=(2, 2))
LAYOUT = "keras_applications"


def batch_norm(name):
    return keras.layers.BatchNormalization(epsilon=1.001e-5, name=name)


def conv(filters, size, name, strides=1):
    return keras.layers.Conv2D(
        filters, size, strides=strides, use_bias=False, name=name
    )


def grouped_conv(x, groups, strides, name):
    """What stood for a grouped convolution before Keras had one."""
    width = x.shape[-1] // groups
    x = keras.layers.ZeroPadding2D(1)(x)
    x = keras.layers.DepthwiseConv2D(
        3, strides=strides, depth_multiplier=width, use_bias=False, name=name
    )(x)
    rows, columns = x.shape[1:3]
    x = keras.layers.Reshape((rows, columns, groups, width, width))(x)
    x = keras.ops.sum(x, axis=-2)
    return keras.layers.Reshape((rows, columns, groups * width))(x)


def old_block(x, filters, out_channels, groups, strides, project, name):
    relu = keras.layers.ReLU
    shortcut = x
    if project:
        shortcut = conv(out_channels, 1, f"{name}_0_conv", strides)(x)
        shortcut = batch_norm(f"{name}_0_bn")(shortcut)
    x = relu()(
        batch_norm(f"{name}_1_bn")(conv(filters, 1, f"{name}_1_conv")(x))
    )
    x = grouped_conv(x, groups, strides, f"{name}_2_conv")
    x = relu()(batch_norm(f"{name}_2_bn")(x))
    x = batch_norm(f"{name}_3_bn")(conv(out_channels, 1, f"{name}_3_conv")(x))
    return relu()(keras.layers.Add()([shortcut, x]))


def old_network(config, head):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.ZeroPadding2D(3)(inputs)
    x = batch_norm("conv1_bn")(conv(64, 7, "conv1_conv", 2)(x))
    x = keras.layers.ZeroPadding2D(1)(keras.layers.ReLU()(x))
    x = keras.layers.MaxPooling2D(3, 2)(x)
    stages = zip(config.depths, config.out_channels, strict=True)
    for stage, (depth, out_channels) in enumerate(stages, start=2):
        filters, groups = config.grouping.width_and_groups(out_channels)
        for block in range(1, depth + 1):
            strides = 2 if block == 1 and stage > 2 else 1
            name = f"conv{stage}_block{block}"
            x = old_block(
                x, filters, out_channels, groups, strides, block == 1, name
            )
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(tinynet.CLASSES, name=head)(x)
    return keras.Model(inputs, x)


@functools.cache
def filled_old_network(head):
    """With variances so small too that the epsilon is seen."""
    model = old_network(CONFIG, head)
    sizes = tinynet.shapes(model)
    variances = [key for key in sizes if key[1] == "moving_variance"]
    values = tinynet.random(sizes, variances)
    for i, key in enumerate(variances):
        values[key] *= np.float32(10.0 ** -(i % 5))
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(values[layer.name, variable.name])
    return model, values


def write(path, model, values, root="/"):
    """Writes as the Keras of its day did."""
    with h5py.File(path, "w") as file:
        group = file.require_group(root)
        names = [layer.name.encode() for layer in model.layers]
        group.attrs["layer_names"] = names
        group.attrs["backend"] = b"tensorflow"
        group.attrs["keras_version"] = b"2.2.4"
        for layer in model.layers:
            child = group.create_group(layer.name)
            grouped = isinstance(layer, keras.layers.DepthwiseConv2D)
            prefix = f"{layer.name}/{'depthwise_' if grouped else ''}"
            weights = {
                f"{prefix}{v.name}:0": values[layer.name, v.name]
                for v in layer.weights
            }
            child.attrs["weight_names"] = [name.encode() for name in weights]
            for name, value in weights.items():
                child.create_dataset(name, data=value)
    return path


@pytest.mark.parametrize("head", ["predictions", "probs"])
@pytest.mark.parametrize("root", ["/", "model_weights"])
def test_outputs_are_the_old_networks(head, root, tmp_path):
    old, values = filled_old_network(head)
    path = write(tmp_path / "old.h5", old, values, root)
    model = tinynet.build(CONFIG, weights=path)
    images = np.random.default_rng(1).normal(size=(4, 32, 32, 3))
    expected = keras.ops.convert_to_numpy(old(images.astype("float32")))
    actual = keras.ops.convert_to_numpy(model(images.astype("float32")))
    assert np.abs(expected).max() > 1e-3
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error <= 1e-5


def test_epsilon_matters_here(tmp_path):
    """Or else the test above would not see whether it is carried over."""
    old, values = filled_old_network("predictions")
    path = write(tmp_path / "old.h5", old, values)
    model = tinynet.build(CONFIG, weights=path)
    for layer in model.layers:
        for variable in layer.weights:
            if variable.name == "moving_variance":
                variable.assign(variable - 1e-8)
    images = np.random.default_rng(1).normal(size=(4, 32, 32, 3))
    expected = keras.ops.convert_to_numpy(old(images.astype("float32")))
    actual = keras.ops.convert_to_numpy(model(images.astype("float32")))
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error > 1e-5


def test_every_array_comes_back_exactly(tmp_path):
    old, values = filled_old_network("predictions")
    tensors = read_checkpoint(write(tmp_path / "old.h5", old, values))
    model = tinynet.build(CONFIG)
    load.load(model, tmp_path / "old.h5")
    back = convert.from_keras(
        tinynet.values(model), tinynet.layers(model), LAYOUT
    )
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        np.testing.assert_array_equal(back[name], tensor, name)


def test_file_without_the_classifier(tmp_path):
    old, values = filled_old_network("predictions")
    features = keras.Model(old.inputs, old.layers[-2].output)
    path = write(tmp_path / "old_notop.h5", features, values)
    for source in (path, write(tmp_path / "old.h5", old, values)):
        model = tinynet.build(CONFIG, include_top=False, weights=source)
        stem = tinynet.values(model)["stem_conv1", "kernel"]
        np.testing.assert_array_equal(stem, values["conv1_conv", "kernel"])
