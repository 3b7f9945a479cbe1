"""Stochastic depth: whole samples, unchanged on average."""

import harness
import keras
import numpy as np
import pytest
from autodiff import gradients
from keras import ops

from keras_resnext.layers import StochasticDepth

CASES = {"never": {"rate": 0.0}, "often": {"rate": 0.5, "seed": 1}}


@pytest.mark.parametrize("check", harness.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", CASES)
def test_as_every_layer(check, name, tmp_path):
    check(harness.Case(StochasticDepth, CASES[name]), tmp_path)


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("shape", [(64, 3, 2, 4), (64, 5), (64,)])
def test_a_sample_is_dropped_or_scaled_as_a_whole(shape, dtype):
    x = np.sign(images(*shape))
    layer = StochasticDepth(0.75, seed=1, dtype=dtype)
    y = harness.outputs(layer, x, training=True)
    kept = y.reshape(64, -1)[:, 0] != 0
    assert 0 < kept.sum() < 64
    np.testing.assert_array_equal(y[kept], 4 * x[kept])
    np.testing.assert_array_equal(y[~kept], 0 * x[~kept])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
@pytest.mark.parametrize(
    "dtype", ["float32", "mixed_float16", "mixed_bfloat16"]
)
def test_the_expectation_is_the_identity(dtype, rate):
    samples = 1_000_000
    x = np.ones((samples, 1), "float32")
    layer = StochasticDepth(rate, seed=1, dtype=dtype)
    kept = harness.outputs(layer, x, training=True) != 0
    deviation = np.sqrt(rate * (1 - rate) / samples)
    assert abs(kept.mean() - (1 - rate)) < 4 * deviation


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_inference_is_the_identity(rate):
    x = images(8, 3, 2, 4)
    layer = StochasticDepth(rate)
    np.testing.assert_array_equal(harness.outputs(layer, x), x)
    y = harness.outputs(layer, x, training=rate == 0)
    np.testing.assert_array_equal(y, x)


def test_rate_zero_has_no_state():
    assert not StochasticDepth(0.0).variables
    assert len(StochasticDepth(0.5).variables) == 1
    assert not StochasticDepth(0.5).weights


def test_seeds():
    x = np.ones((64, 1), "float32")
    layer, same = StochasticDepth(0.5, seed=1), StochasticDepth(0.5, seed=1)
    draws = [harness.outputs(layer, x, training=True) for _ in range(3)]
    for draw in draws:
        y = harness.outputs(same, x, training=True)
        np.testing.assert_array_equal(y, draw)
    assert (draws[0] != draws[1]).any()
    assert (draws[1] != draws[2]).any()
    other = harness.outputs(StochasticDepth(0.5, seed=2), x, training=True)
    assert (draws[0] != other).any()


def test_dropped_samples_have_no_gradient():
    x, cotangent = images(2, 64, 3, 2, 4)
    layer = StochasticDepth(0.5, seed=1)
    layer.build(x.shape)
    state = [variable.value for variable in layer.variables]

    def weighted_sum(x):
        y, (after,) = layer.stateless_call([], state, x, training=True)
        return ops.sum(ops.multiply(y, cotangent)), y, after

    (_, y, after), (slopes,) = gradients(weighted_sum, x)
    kept = y[:, 0, 0, 0] != 0
    assert 0 < kept.sum() < 64
    np.testing.assert_array_equal(slopes[kept], 2 * cotangent[kept])
    np.testing.assert_array_equal(slopes[~kept], 0 * cotangent[~kept])
    assert (after != ops.convert_to_numpy(state[0])).any()


def test_every_compiled_step_draws_anew():
    model = keras.Sequential(
        [
            keras.Input((1,)),
            StochasticDepth(0.5, seed=1),
            keras.layers.Dense(1, use_bias=False),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    losses = []
    for batch in (64, 64, 32, 32, 64):
        x = images(batch, 1)
        losses.append(model.train_on_batch(x, np.zeros_like(x)))
        model.reset_metrics()
    assert len(set(map(float, losses))) == len(losses)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_wrong_arguments(rate):
    with pytest.raises(ValueError, match="less than 1"):
        StochasticDepth(rate)
