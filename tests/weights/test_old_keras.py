"""The `.h5` files of keras-applications, against the model they were for."""

import functools
from dataclasses import replace

import keras
import numpy as np
import old_models
import pytest
import tinynet
from checkpoint_files import read_checkpoint

from keras_resnext.weights import convert
from keras_resnext.weights.checkpoint import load_checkpoint

# Two blocks follow a first one, to see both kinds of shortcut in each stage.
CONFIG = replace(tinynet.CONFIG, depths=(2, 2))
LAYOUT = "keras_applications"


@functools.cache
def filled_old_network(head):
    """With variances so small too that the epsilon is seen."""
    model, stored = old_models.keras_applications(CONFIG, tinynet.CLASSES, head)
    sizes = tinynet.shapes(model)
    variances = [key for key in sizes if key[1] == "moving_variance"]
    values = tinynet.random(sizes, variances)
    for i, key in enumerate(variances):
        values[key] *= np.float32(10.0 ** -(i % 5))
    for layer in stored:
        for variable in layer.weights:
            variable.assign(values[layer.name, variable.name])
    return model, stored, values


def load(path, **options):
    model = tinynet.shared(CONFIG, **options)
    load_checkpoint(model, path)
    return model


def error(old, model):
    images = np.random.default_rng(1).normal(size=(4, 32, 32, 3))
    expected = keras.ops.convert_to_numpy(old(images.astype("float32")))
    actual = keras.ops.convert_to_numpy(model(images.astype("float32")))
    assert np.abs(expected).max() > 1e-3
    return np.abs(actual - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(
    ("head", "root"), [("predictions", "/"), ("probs", "model_weights")]
)
def test_outputs_are_the_old_networks(head, root, tmp_path):
    old, stored, values = filled_old_network(head)
    path = old_models.write(tmp_path / "old.h5", stored, values, root)
    model = load(path)
    assert error(old, model) <= 1e-5
    # The epsilon is seen here, and so whether it is carried over.
    for layer in model.layers:
        for variable in layer.weights:
            if variable.name == "moving_variance":
                variable.assign(variable - 1e-8)
    assert error(old, model) > 1e-5


def test_every_array_comes_back_exactly(tmp_path):
    _, stored, values = filled_old_network("predictions")
    path = old_models.write(tmp_path / "old.h5", stored, values)
    tensors = read_checkpoint(path)
    model = load(path)
    back = convert.from_keras(
        tinynet.values(model), tinynet.layers(model), LAYOUT
    )
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        np.testing.assert_array_equal(back[name], tensor, name)


def test_file_without_the_classifier(tmp_path):
    _, stored, values = filled_old_network("predictions")
    for layers in (stored, stored[:-1]):
        path = old_models.write(tmp_path / "old.h5", layers, values)
        model = load(path, include_top=False)
        stem = tinynet.values(model)["stem_conv1", "kernel"]
        np.testing.assert_array_equal(stem, values["conv1_conv", "kernel"])
