"""Batch normalization: as Keras' own, except for n - 1 and its speed."""

import harness
import keras
import numpy as np
import pytest
from autodiff import gradients
from keras import ops

from keras_resnext.layers import BatchNormalization

CASES = {
    "default": {},
    "other_numbers": {"momentum": 0.5, "epsilon": 0.1},
    "no_scale": {"scale": False},
    "no_center": {"center": False},
    "bare": {"scale": False, "center": False, "axis": 3},
}


WITH_ACTIVATION = {**CASES, "activation": {"activation": "relu"}}


@pytest.mark.parametrize("check", harness.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", WITH_ACTIVATION)
def test_as_every_layer(check, name, tmp_path):
    case = harness.Case(BatchNormalization, WITH_ACTIVATION[name], {"axis": 1})
    check(case, tmp_path)


def images(*shape):
    random = np.random.default_rng(3)
    return random.normal(1.0, 2.0, size=shape).astype("float32")


def pair(shape, **arguments):
    """Our layer and Keras', with the same random weights."""
    arguments = {"momentum": 0.9, "epsilon": 1e-5, **arguments}
    layer = BatchNormalization(**arguments)
    other = keras.layers.BatchNormalization(**arguments)
    layer.build(shape)
    harness.randomize(layer)
    other.build(shape)
    other.set_weights(layer.get_weights())
    return layer, other


def assert_same(layer, other, x, **kwargs):
    found = harness.outputs(layer, x, **kwargs)
    harness.assert_close(found, harness.outputs(other, x, **kwargs), 3e-6)


@pytest.mark.parametrize("axis", [-1, 3, 1, -3])
@pytest.mark.parametrize("name", CASES)
def test_equals_keras(name, axis):
    x = images(4, 3, 5, 6)
    layer, other = pair(x.shape, **{**CASES[name], "axis": axis})
    names = [variable.name for variable in other.weights]
    assert [variable.name for variable in layer.weights] == names
    assert_same(layer, other, x, training=False)
    before = ops.convert_to_numpy(layer.moving_variance)
    assert_same(layer, other, x, training=True)
    harness.assert_close(
        ops.convert_to_numpy(layer.moving_mean),
        ops.convert_to_numpy(other.moving_mean),
    )
    axes = tuple({0, 1, 2, 3} - {axis % 4})
    unbiased = x.var(axis=axes, ddof=1)
    kept = layer.momentum
    harness.assert_close(
        ops.convert_to_numpy(layer.moving_variance),
        before * kept + unbiased * (1 - kept),
    )
    assert_same(layer, layer, x)


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_keras(name):
    x = images(4, 3, 5, 6)
    cotangent = images(4, 3, 5, 6)[::-1]

    def weighted_sum_of(layer):
        fixed = [variable.value for variable in layer.non_trainable_variables]

        def weighted_sum(x, *trainable):
            y, _ = layer.stateless_call(
                list(trainable), fixed, x, training=True
            )
            return (ops.sum(ops.multiply(y, cotangent)),)

        return weighted_sum

    layer, other = pair(x.shape, **CASES[name])
    trainable = [ops.convert_to_numpy(v) for v in layer.trainable_variables]
    _, found = gradients(weighted_sum_of(layer), x, *trainable)
    _, expected = gradients(weighted_sum_of(other), x, *trainable)
    for a, b in zip(found, expected, strict=True):
        harness.assert_close(a, b, 1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["relu", "silu"])
def test_an_activation_follows(name, training):
    x = images(4, 3, 5, 6)
    plain = BatchNormalization()
    layer = BatchNormalization(activation=name)
    follow = keras.activations.get(name)
    cotangent = images(4, 3, 5, 6)[::-1].copy()
    plain.build(x.shape)
    layer.build(x.shape)

    def weighted_sum_of(layer, activation):
        trainable, fixed = (
            [variable.value for variable in variables]
            for variables in (
                layer.trainable_variables,
                layer.non_trainable_variables,
            )
        )

        def weighted_sum(x):
            y, _ = layer.stateless_call(trainable, fixed, x, training=training)
            y = activation(y)
            return ops.sum(ops.multiply(y, cotangent)), y, x

        return weighted_sum

    found, slopes = gradients(weighted_sum_of(layer, lambda y: y), x)
    expected, expected_slopes = gradients(weighted_sum_of(plain, follow), x)
    harness.assert_close(found[1], expected[1])
    harness.assert_close(slopes[0], expected_slopes[0], 1e-5)
    np.testing.assert_array_equal(found[2], x)  # not overwritten


def test_a_frozen_layer_stays_in_inference():
    x = images(4, 3, 5, 6)
    layer, other = pair(x.shape)
    layer.trainable = False
    before = layer.get_weights()
    found = harness.outputs(layer, x, training=True)
    harness.assert_close(found, harness.outputs(other, x, training=False))
    for value, old in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((4, 3, 5, 6), {"axis": 2}),
        ((8, 6), {}),
        ((4, 5, 6), {}),
        ((2, 3, 4, 5, 6), {"axis": 1}),
        ((4, 3, 5, 6), {"renorm": True}),
    ],
)
def test_what_the_kernels_do_not_know_keras_does(shape, arguments, training):
    x = images(*shape)
    layer, other = pair(shape, **arguments)
    assert_same(layer, other, x, training=training)
    assert_same(layer, other, x)
    for value, expected in zip(
        layer.get_weights(), other.get_weights(), strict=True
    ):
        harness.assert_close(value, expected)


def test_masked_pixels_do_not_count():
    x = images(2, 3, 4, 6)
    mask = np.arange(24).reshape(2, 3, 4) % 3 > 0
    layer, other = pair(x.shape)
    assert_same(
        layer, other, x, mask=ops.convert_to_tensor(mask), training=True
    )
    harness.assert_close(
        ops.convert_to_numpy(layer.moving_mean),
        ops.convert_to_numpy(other.moving_mean),
    )


@pytest.mark.skipif(
    keras.config.backend() == "jax", reason="JAX has no float64 by default"
)
def test_float64_stays_float64():
    x = images(2, 3, 4, 6).astype("float64")
    layer, other = pair(x.shape, dtype="float64")
    assert keras.backend.standardize_dtype(layer(x).dtype) == "float64"
    assert_same(layer, other, x, training=True)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_throughout(dtype):
    x = images(2, 3, 4, 6)
    layer, other = pair(x.shape, dtype=dtype)
    assert keras.backend.standardize_dtype(layer(x).dtype) == dtype
    found = harness.outputs(layer, x, training=True)
    expected = harness.outputs(other, x, training=True)
    harness.assert_close(found, expected, 3e-2)
    assert {variable.dtype for variable in layer.weights} == {dtype}


def test_one_replica_is_synchronized_on_every_backend():
    x = images(4, 3, 5, 6)
    layer, other = BatchNormalization(synchronized=True), BatchNormalization()
    assert_same(layer, other, x, training=True)
    assert_same(layer, other, x)
    assert BatchNormalization.from_config(layer.get_config()).synchronized


def test_xla_is_left_out_where_the_convolution_leaves_it_out():
    from keras_resnext.layers import Conv2D

    assert BatchNormalization().supports_jit is Conv2D(4, 3).supports_jit
