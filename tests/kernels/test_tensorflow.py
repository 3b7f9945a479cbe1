"""TensorFlow's own kernels, in all variants, and with every build of it."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from autodiff import gradients
from loops import FILTERS
from loops import GEOMETRIES
from loops import assert_close
from loops import conv2d_example
from loops import conv2d_loop
from loops import convolve

from keras_resnext.kernels import kernels

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow's own kernels"
)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("geometry", ["dilated", "dilated_strided", "uneven"])
def test_packed_and_spread_kernels_stand_in(geometry, groups, monkeypatch):
    from keras_resnext.kernels import tensorflow

    monkeypatch.setattr(tensorflow, "_trains", lambda *args, **kwargs: False)
    arrays = conv2d_example(geometry, groups)
    expected = conv2d_loop(*arrays, *GEOMETRIES[geometry][2:], groups)
    assert_close(convolve(geometry, groups, arrays), expected)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("geometry", ["plain", "strided", "dilated"])
def test_fused_with_bias_and_relu(geometry, groups):
    # The graph optimizer fuses the three, and its kernels support less.
    import tensorflow as tf

    x, kernel, cotangent = conv2d_example(geometry, groups)
    bias = np.linspace(-2, 2, FILTERS, dtype="float32")
    geometric = GEOMETRIES[geometry][2:]

    def weighted_sum(x, kernel, bias):
        y = kernels.conv2d(x, kernel, *geometric, groups, "channels_last")
        y = tf.nn.relu(tf.nn.bias_add(y, bias))
        return tf.reduce_sum(y * cotangent), y

    plain, _, _ = conv2d_loop(x, kernel, cotangent, *geometric, groups)
    masked = np.where(plain + bias > 0, cotangent, 0)
    _, dx, dkernel = conv2d_loop(x, kernel, masked, *geometric, groups)
    expected = np.maximum(plain + bias, 0)

    (_, y), slopes = gradients(weighted_sum, x, kernel, bias)
    assert_close([y, *slopes], [expected, dx, dkernel, masked.sum((0, 1, 2))])
    _, y = tf.function(weighted_sum)(*map(tf.constant, (x, kernel, bias)))
    assert_close([y.numpy()], [expected])


@pytest.mark.parametrize("geometry", ["pointwise", "pointwise_strided"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_large_kernels_are_products_of_matrices(
    geometry, data_format, monkeypatch
):
    import tensorflow as tf

    from keras_resnext.kernels import tensorflow

    if not tensorflow._trains(tf.bfloat16, groups=2):
        pytest.skip("TensorFlow's own kernels add up in bfloat16")
    monkeypatch.setattr(tensorflow, "LARGE", 1)
    monkeypatch.setattr(tf.nn, "conv2d", None)
    arrays = conv2d_example(geometry, 1)
    expected = conv2d_loop(*arrays, *GEOMETRIES[geometry][2:], 1)
    found = convolve(geometry, 1, arrays, data_format, "bfloat16")
    assert_close(found, expected, "bfloat16")

    @tf.function
    def biased(x, kernel, bias):
        return kernels.conv2d(
            *(x, kernel, (1, 1), (0, 0), (1, 1), 1, "channels_last", bias)
        )

    x = tf.ones((2, 5, 6, 8), tf.bfloat16)
    kernel = tf.ones((1, 1, 8, 16), tf.bfloat16)
    y = biased(x, kernel, tf.range(16, dtype=tf.bfloat16))
    assert_close([y.numpy()[1, 4, 5]], [8.0 + np.arange(16)], "bfloat16")


def test_the_graph_holds_no_xla_island():
    import tensorflow as tf

    @tf.function(autograph=False)
    def slopes(x, kernel):
        y = kernels.conv2d(
            x, kernel, (1, 1), (1, 1), (1, 1), 4, "channels_last"
        )
        return tf.gradients(y, [x, kernel])

    x, kernel, _ = conv2d_example("plain", 4)
    graph = slopes.get_concrete_function(*map(tf.constant, (x, kernel))).graph
    assert "_XlaMustCompile" not in str(graph.as_graph_def())
    assert not {o.type for o in graph.get_operations()} & {
        "StatefulPartitionedCall",
        "PartitionedCall",
    }


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0", reason="is itself"
)
def test_without_onednn():
    """Apple silicon and other builds lack oneDNN: everything again."""
    file = pathlib.Path(__file__)
    command = [sys.executable, "-m", "pytest", "-q", "--no-header"]
    run = subprocess.run(
        [
            *command,
            *("-k", "(loop and not half) or fused"),
            *(file.with_name("test_kernels.py"), file),
        ],
        cwd=file.parents[2],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    assert "skipped" not in run.stdout
