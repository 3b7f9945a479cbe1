"""Enough draws to distinguish distributions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
import tensorflow as tf

DRAWS = 20_000


def draw(function: Callable, seed: int, count: int = DRAWS) -> np.ndarray:
    """Return the values of a function of a seed for each of many seeds.

    Args:
        function: Returns a sequence of scalars.
        seed: First half of all seeds; the other half counts.
        count: Number of seeds.

    Returns:
        Array of shape `(count, values)`.
    """

    def numbered(i: tf.Tensor) -> tf.Tensor:
        values = function(tf.stack([seed, tf.cast(i, tf.int32)]))
        return tf.stack([tf.cast(each, tf.float64) for each in values])

    dataset = tf.data.Dataset.range(count).map(numbered, num_parallel_calls=2)
    return next(dataset.batch(count).as_numpy_iterator())


def assert_deterministic(function: Callable, count: int, spec: Any) -> Any:
    """Assert that a dataset is the same in parallel, and return it.

    Args:
        function: Gives an image, or more, of a seed.
        count: How many.
        spec: What TensorFlow has to know of it.
    """

    def numbered(i: tf.Tensor) -> Any:
        return function(tf.stack([3, tf.cast(i, tf.int32)]))

    found = []
    for parallel in (None, 3):
        dataset = tf.data.Dataset.range(count).map(numbered, parallel)
        assert dataset.element_spec == spec
        found.append(np.stack(list(dataset.as_numpy_iterator())))
    first, second = found
    np.testing.assert_array_equal(first, second)
    return first


def assert_same_distribution(ours: Any, theirs: Any) -> None:
    """By the test of Kolmogorov and Smirnov, at one percent."""
    result = scipy.stats.ks_2samp(np.asarray(ours), np.asarray(theirs))
    print(f"p = {result.pvalue:.3f}")
    assert result.pvalue > 0.01, result
