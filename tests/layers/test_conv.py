"""The convolution: as Keras' own, except for its padding and its speed."""

import harness
import keras
import numpy as np
import pytest

from keras_resnext.layers import Conv2D

CASES = {
    "plain": {"kernel_size": 3},
    "grouped_strided": {"kernel_size": 3, "groups": 4, "strides": 2},
    "dilated_strided": {"kernel_size": 3, "strides": 2, "dilation_rate": 2},
    "valid_even": {"kernel_size": (2, 4), "padding": "valid", "groups": 2},
    "activation": {"kernel_size": (5, 3), "activation": "relu"},
    "no_bias": {"kernel_size": 1, "strides": 2, "use_bias": False},
}


@pytest.mark.parametrize("check", harness.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", CASES)
def test_as_every_layer(check, name, tmp_path):
    arguments = {"filters": 12, **CASES[name]}
    first = {"data_format": "channels_first"}
    check(harness.Case(Conv2D, arguments, first), tmp_path)


def images(*shape):
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def same_weights(layer, other, shape):
    layer.build(shape)
    harness.randomize(layer)
    other.build(shape)
    other.set_weights(layer.get_weights())


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize(
    ("padding", "theirs", "strides"),
    [("symmetric", "same", 1), ("valid", "valid", 1), ("valid", "valid", 2)],
)
def test_weights_are_interchangeable_with_keras(
    padding, theirs, strides, groups
):
    x = images(2, 9, 7, 8)
    arguments = {"strides": strides, "groups": groups, "activation": "tanh"}
    layer = Conv2D(16, 3, padding=padding, **arguments)
    other = keras.layers.Conv2D(16, 3, padding=theirs, **arguments)
    same_weights(layer, other, x.shape)
    for ours, keras_own in zip(layer.weights, other.weights, strict=True):
        assert ours.name == keras_own.name
        assert ours.shape == keras_own.shape
    found, expected = harness.outputs(layer, x), harness.outputs(other, x)
    harness.assert_close(found, expected)


@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
@pytest.mark.parametrize("kernel_size", [3, 7])
def test_symmetric_padding_is_explicit_padding(kernel_size, size):
    x = images(2, *size, 4)
    layer = Conv2D(8, kernel_size, strides=2, groups=2)
    other = keras.layers.Conv2D(8, kernel_size, strides=2, groups=2)
    same_weights(layer, other, x.shape)
    padded = keras.layers.ZeroPadding2D(kernel_size // 2)(x)
    expected = harness.outputs(other, padded)
    harness.assert_close(harness.outputs(layer, x), expected)


def test_defaults_pad_and_keep_the_size():
    assert Conv2D(4, 5)(images(1, 6, 7, 3)).shape == (1, 6, 7, 4)


@pytest.mark.parametrize("padding", ["same", "causal", "SYMMETRIC", None])
def test_another_padding_is_refused(padding):
    with pytest.raises(ValueError, match="'symmetric', 'valid'"):
        Conv2D(4, 3, padding=padding)


def test_an_even_kernel_has_no_symmetric_padding():
    with pytest.raises(ValueError, match=r"\(3, 4\).*padding='valid'"):
        Conv2D(4, (3, 4))


def test_groups_must_divide():
    with pytest.raises(ValueError, match="groups"):
        Conv2D(6, 3, groups=4)
    with pytest.raises(ValueError, match="groups"):
        Conv2D(8, 3, groups=4)(images(1, 8, 8, 6))


def test_images_smaller_than_the_kernel_are_refused():
    with pytest.raises(ValueError, match="size"):
        Conv2D(4, 5, padding="valid")(images(1, 4, 8, 3))


def test_xla_is_left_out_where_it_is_slow():
    slow = keras.config.backend() == "tensorflow" and not has_accelerator()
    assert Conv2D(4, 3).supports_jit is not slow


def has_accelerator():
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_bias_where_height_and_width_are_the_channels(data_format):
    """Keras' own sum takes the last axis for that of the channels."""
    layer = Conv2D(8, 1, data_format=data_format, kernel_initializer="zeros")
    layer.build((1, 8, 8, 8))
    layer.bias.assign(np.arange(8.0))
    found = harness.outputs(layer, images(1, 8, 8, 8))
    axis = 1 if data_format == "channels_first" else 3
    expected = np.moveaxis(
        np.broadcast_to(np.arange(8.0), found.shape), 3, axis
    )
    np.testing.assert_array_equal(found, expected)
