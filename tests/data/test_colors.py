"""Color jitter and lighting, against NumPy."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from draws import draw

import keras_resnext
from keras_resnext.data import colors

pytestmark = pytest.mark.once


def jittered(x, order, weights):
    for change in order:
        luma = x @ [0.299, 0.587, 0.114]
        other = (0.0, luma.mean(), luma[..., None])[change]
        x = weights[change] * x + (1 - weights[change]) * other
    return x


def test_jitter(photos):
    """Some order and some weights within bounds give the image."""
    x = photos[0][50:66, 90:106].astype("float64")
    orders = []
    jitter = tf.function(colors.jitter)
    for i in range(60):
        y = jitter(tf.constant(x), tf.constant([0, i])).numpy()
        draws = tf.random.stateless_uniform((2, 3), (0, i)).numpy()
        weights = 0.6 + 0.8 * draws[0]
        distances = {
            order: np.abs(jittered(x, order, weights) - y).max()
            for order in itertools.permutations(range(3))
        }
        best = min(distances, key=distances.get)
        assert distances[best] < 1e-3
        orders.append(best)
    assert y.dtype == "float32"
    assert len(set(orders)) == 6


def test_jitter_of_one_kind(photos):
    x = photos[1].astype("float32")
    same = colors.jitter(tf.constant(x), (0, 0), 0.0, 0.0, 0.0)
    np.testing.assert_allclose(same, x, atol=1e-3)
    means = draw(
        lambda seed: [
            tf.reduce_mean(colors.jitter(x[::8, ::8], seed, 0.4, 0.0, 0.0))
        ],
        seed=0,
        count=300,
    )
    gains = means / x[::8, ::8].mean()
    assert 0.599 < gains.min() < 0.65
    assert 1.35 < gains.max() < 1.401


def test_light():
    """The colors that it adds have the deviations asked for."""
    black = tf.zeros((2, 3, 3), tf.uint8)
    y = colors.light(black, (0, 0)).numpy()
    assert y.dtype == "float32"
    np.testing.assert_array_equal(y, np.broadcast_to(y[0, 0], y.shape))
    added = draw(
        lambda seed: tf.unstack(colors.light(black, seed, 0.2)[0, 0]), 1, 5000
    )
    along = added @ np.array(colors.COMPONENTS)
    np.testing.assert_allclose(
        along.std(0), 0.2 * 255 * np.array(colors.DEVIATIONS), rtol=0.04
    )
    assert np.abs(np.corrcoef(along.T) - np.eye(3)).max() < 0.05


def test_components_are_orthonormal():
    components = np.array(colors.COMPONENTS)
    np.testing.assert_allclose(components @ components.T, np.eye(3), atol=1e-3)


def test_normalized(photos):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ours = colors.normalized(tf.constant(photos[0]), mean, std)
    theirs = keras_resnext.preprocess_input(photos[0], "channels_last")
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    batch = keras.ops.stack([photos[0]] * 2)
    dataset = tf.data.Dataset.from_tensors(batch)
    dataset = dataset.map(lambda x: colors.normalized(x, mean, std))
    np.testing.assert_array_equal(next(iter(dataset))[1], ours)
