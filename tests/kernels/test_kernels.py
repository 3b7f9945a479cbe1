"""Every kernel against NumPy loops, values and gradients."""

import os
import pathlib
import subprocess
import sys

import keras
import ml_dtypes
import numpy as np
import pytest
from autodiff import gradients
from keras import ops

from keras_resnext.kernels import generic
from keras_resnext.kernels import kernels

on_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow's own kernels"
)
on_torch = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="torch's own kernels"
)

# Size, kernel size, strides, padding, dilation rate.
GEOMETRIES = {
    "pointwise": ((5, 6), (1, 1), (1, 1), (0, 0), (1, 1)),
    "pointwise_strided": ((7, 6), (1, 1), (2, 2), (0, 0), (1, 1)),
    "plain": ((7, 5), (3, 3), (1, 1), (1, 1), (1, 1)),
    "valid": ((6, 7), (3, 3), (1, 1), (0, 0), (1, 1)),
    "strided": ((7, 6), (3, 3), (2, 2), (1, 1), (1, 1)),
    "stem": ((9, 11), (7, 7), (2, 2), (3, 3), (1, 1)),
    "even_kernel": ((6, 7), (2, 4), (1, 1), (0, 0), (1, 1)),
    "dilated": ((7, 9), (3, 3), (1, 1), (2, 2), (2, 2)),
    "dilated_strided": ((9, 8), (3, 3), (2, 2), (2, 2), (2, 2)),
    "uneven": ((9, 7), (3, 5), (1, 1), (1, 4), (1, 2)),
}
CHANNELS = 8
FILTERS = 16
# How far half precision may be off, as a share of the largest number.
ROUNDING = {"float32": 1e-6, "float16": 1e-2, "bfloat16": 2e-2}


def conv2d_loop(x, kernel, cotangent, strides, padding, dilation_rate, groups):
    """A convolution and both its gradients, tap by tap, group by group."""
    rows, columns = padding
    height, width = x.shape[1:3]
    x = np.pad(x, [(0, 0), (rows, rows), (columns, columns), (0, 0)])
    y = np.zeros_like(cotangent)
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    fan_in, fan_out = kernel.shape[2], kernel.shape[3] // groups
    for i, j in np.ndindex(y.shape[1:3]):
        for a, b in np.ndindex(kernel.shape[:2]):
            row = i * strides[0] + a * dilation_rate[0]
            column = j * strides[1] + b * dilation_rate[1]
            for group in range(groups):
                ins = slice(group * fan_in, (group + 1) * fan_in)
                outs = slice(group * fan_out, (group + 1) * fan_out)
                pixel, tap = x[:, row, column, ins], kernel[a, b, :, outs]
                y[:, i, j, outs] += pixel @ tap
                dx[:, row, column, ins] += cotangent[:, i, j, outs] @ tap.T
                dkernel[a, b, :, outs] += pixel.T @ cotangent[:, i, j, outs]
    dx = dx[:, rows : rows + height, columns : columns + width]
    return y, dx, dkernel


def conv2d_example(geometry, groups, channels=CHANNELS, filters=FILTERS):
    """Images, kernel and cotangent, numbers that bfloat16 can hold."""
    size, kernel_size, strides, padding, dilation_rate = GEOMETRIES[geometry]
    taps = np.subtract(kernel_size, 1) * dilation_rate + 1
    out = (np.add(size, np.multiply(padding, 2)) - taps) // strides + 1
    random = np.random.default_rng(groups)
    shapes = (
        (2, *size, channels),
        (*kernel_size, channels // groups, filters),
        (2, *out, filters),
    )
    return [
        random.normal(size=shape).astype(ml_dtypes.bfloat16).astype("float32")
        for shape in shapes
    ]


def convolve(
    geometry, groups, arrays, data_format="channels_last", dtype="float32"
):
    """The kernel's values and gradients, as `conv2d_loop` returns them."""
    _, _, strides, padding, dilation_rate = GEOMETRIES[geometry]
    x, kernel, cotangent = arrays

    def weighted_sum(x, kernel):
        y = kernels.conv2d(
            ops.cast(x, dtype),
            ops.cast(kernel, dtype),
            strides,
            padding,
            dilation_rate,
            groups,
            data_format,
        )
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        y = ops.cast(y, "float32")
        return ops.sum(ops.multiply(y, to_format(cotangent, data_format))), y

    (_, y), (dx, dkernel) = gradients(
        weighted_sum, to_format(x, data_format), kernel
    )
    return [*(from_format(a, data_format) for a in (y, dx)), dkernel]


def to_format(x, data_format):
    return x if data_format == "channels_last" else x.transpose(0, 3, 1, 2)


def from_format(x, data_format):
    return x if data_format == "channels_last" else x.transpose(0, 2, 3, 1)


def assert_close(found, expected, dtype="float32"):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        scale = max(1.0, np.abs(b).max())
        np.testing.assert_allclose(a, b, atol=ROUNDING[dtype] * scale, rtol=0)


@pytest.mark.parametrize(
    ("geometry", "groups"),
    [
        (geometry, groups)
        for geometry in GEOMETRIES
        for groups in (1, 2, 4, 8)
        # XLA of jaxlib 0.10 crashes on the gradient of two groups of 7x7.
        if geometry != "stem" or groups == 1
    ],
)
def test_conv2d_equals_the_loop(geometry, groups):
    arrays = conv2d_example(geometry, groups)
    expected = conv2d_loop(*arrays, *GEOMETRIES[geometry][2:], groups)
    assert_close(convolve(geometry, groups, arrays), expected)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("geometry", ["strided", "dilated_strided", "uneven"])
def test_conv2d_equals_the_loop_channels_first(geometry, groups):
    arrays = conv2d_example(geometry, groups)
    expected = conv2d_loop(*arrays, *GEOMETRIES[geometry][2:], groups)
    found = convolve(geometry, groups, arrays, "channels_first")
    assert_close(found, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("geometry", ["pointwise", "strided", "dilated"])
def test_conv2d_equals_the_loop_in_half_precision(geometry, groups, dtype):
    arrays = conv2d_example(geometry, groups)
    expected = conv2d_loop(*arrays, *GEOMETRIES[geometry][2:], groups)
    found = convolve(geometry, groups, arrays, dtype=dtype)
    assert_close(found, expected, dtype)


@pytest.mark.parametrize(
    ("groups", "group_width", "merged"),
    [(6, 3, 6), (6, 8, 3), (12, 6, 4), (5, 8, 1), (3, 40, 1), (2, 16, 2)],
)
def test_packed_merges_neighbours_and_equals_the_loop(
    groups, group_width, merged
):
    channels, filters = groups * group_width, groups * 2
    x, kernel, cotangent = conv2d_example("plain", groups, channels, filters)
    _, strides, padding, dilation_rate = GEOMETRIES["plain"][1:]
    widths = []

    def ordinary(x, kernel):
        widths.append(x.shape[-1])
        assert kernel.shape[2] == x.shape[-1]
        return kernels.conv2d(
            x, kernel, strides, padding, dilation_rate, 1, "channels_last"
        )

    def weighted_sum(x, kernel):
        y = generic.packed(ordinary, x, kernel, groups, 3)
        return ops.sum(ops.multiply(y, cotangent)), y

    (_, y), slopes = gradients(weighted_sum, x, kernel)
    assert set(widths) == {merged * group_width}
    expected = conv2d_loop(
        x, kernel, cotangent, strides, padding, dilation_rate, groups
    )
    assert_close([y, *slopes], expected)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("geometry", "groups"),
    [("stem", 1), ("strided", 4), ("dilated", 2), ("dilated_strided", 2)],
)
def test_generic_conv2d_equals_the_tuned_one(geometry, groups, data_format):
    x, kernel, _ = conv2d_example(geometry, groups)
    arguments = (
        ops.convert_to_tensor(to_format(x, data_format)),
        ops.convert_to_tensor(kernel),
        *GEOMETRIES[geometry][2:],
        groups,
        data_format,
    )
    found, expected = (
        ops.convert_to_numpy(module.conv2d(*arguments))
        for module in (generic, kernels)
    )
    assert_close([found], [expected])


def batch_norm_loop(x, gamma, beta, cotangent, epsilon):
    """Batch normalization in training, channel by channel, and gradients."""
    count = x[..., 0].size
    y, dx = np.zeros_like(x), np.zeros_like(x)
    mean, unbiased, dgamma, dbeta = (np.zeros_like(gamma) for _ in range(4))
    for c in range(len(gamma)):
        values, slopes = x[..., c].astype("float64"), cotangent[..., c]
        mean[c] = values.mean()
        deviation = np.sqrt(values.var() + epsilon)
        normal = (values - values.mean()) / deviation
        unbiased[c] = values.var() * count / max(count - 1, 1)
        y[..., c] = normal * gamma[c] + beta[c]
        dgamma[c], dbeta[c] = (slopes * normal).sum(), slopes.sum()
        dx[..., c] = (gamma[c] / deviation) * (
            slopes - slopes.mean() - normal * (slopes * normal).mean()
        )
    return [y, mean, unbiased, dx, dgamma, dbeta]


def batch_norm_example(shape):
    random = np.random.default_rng(1)
    x = random.normal(3.0, 2.0, size=shape)
    x = x.astype(ml_dtypes.bfloat16).astype("float32")
    cotangent = random.choice([-1.0, 0.5, 2.0], size=shape).astype("float32")
    gamma = random.normal(size=shape[-1]).astype("float32")
    beta = random.normal(size=shape[-1]).astype("float32")
    return x, gamma, beta, cotangent


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (1, 1, 2, 6)])
def test_batch_norm_training_equals_the_loop(shape, data_format, dtype):
    x, gamma, beta, cotangent = batch_norm_example(shape)

    def weighted_sum(x, gamma, beta):
        y, mean, variance = kernels.batch_norm_training(
            ops.cast(x, dtype), gamma, beta, 0.01, False, data_format
        )
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        y = ops.cast(y, "float32")
        weighted = ops.multiply(y, to_format(cotangent, data_format))
        return ops.sum(weighted), y, mean, variance

    (_, y, mean, variance), (dx, dgamma, dbeta) = gradients(
        weighted_sum, to_format(x, data_format), gamma, beta
    )
    y, dx = from_format(y, data_format), from_format(dx, data_format)
    expected = batch_norm_loop(x, gamma, beta, cotangent, 0.01)
    rounding = {"float32": 5e-6}.get(dtype, 2 * ROUNDING[dtype])
    for a, b in zip(
        [y, mean, variance, dx, dgamma, dbeta], expected, strict=True
    ):
        assert a.dtype == b.dtype
        scale = max(1.0, np.abs(b).max())
        np.testing.assert_allclose(a, b, atol=rounding * scale, rtol=0)


def test_batch_norm_of_a_single_value_is_finite():
    x, gamma, beta, _ = batch_norm_example((1, 1, 1, 6))
    y, mean, variance = kernels.batch_norm_training(
        *map(ops.convert_to_tensor, (x, gamma, beta)),
        0.01,
        False,
        "channels_last",
    )
    assert_close(
        map(ops.convert_to_numpy, (y[0, 0, 0], mean)), [beta, x[0, 0, 0]]
    )
    np.testing.assert_array_equal(ops.convert_to_numpy(variance), 0.0)


@pytest.mark.parametrize("module", [kernels, generic], ids=["tuned", "generic"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("relu", [False, True])
def test_batch_norm_inference(module, relu, data_format, dtype):
    x, gamma, beta, _ = batch_norm_example((2, 3, 5, 6))
    mean, variance = beta + 1.0, np.abs(gamma) + 0.5
    y = module.batch_norm_inference(
        ops.cast(to_format(x, data_format), dtype),
        *map(ops.convert_to_tensor, (gamma, beta, mean, variance)),
        0.01,
        relu,
        data_format,
    )
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    y = from_format(ops.convert_to_numpy(ops.cast(y, "float32")), data_format)
    expected = (x - mean) / np.sqrt(variance + 0.01) * gamma + beta
    expected = np.maximum(expected, 0) if relu else expected
    assert_close([y], [expected], dtype)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (1, 1, 1, 6)])
def test_generic_batch_norm_training_equals_the_tuned_one(shape, relu):
    x, gamma, beta, _ = batch_norm_example(shape)
    arguments = (
        *map(ops.convert_to_tensor, (x, gamma, beta)),
        0.01,
        relu,
        "channels_last",
    )
    found, expected = (
        map(ops.convert_to_numpy, module.batch_norm_training(*arguments))
        for module in (generic, kernels)
    )
    assert_close(found, expected)


def max_pool2d_loop(x, cotangent, pool_size, strides, padding):
    """Max pooling and its gradient, window by window; no two pixels equal."""
    rows, columns = padding
    pads = [(0, 0), (rows, rows), (columns, columns), (0, 0)]
    x = np.pad(x, pads, constant_values=-np.inf)
    y, dx = np.zeros_like(cotangent), np.zeros_like(x)
    for i, j in np.ndindex(y.shape[1:3]):
        window = np.s_[
            :,
            i * strides[0] : i * strides[0] + pool_size[0],
            j * strides[1] : j * strides[1] + pool_size[1],
        ]
        largest = x[window].max((1, 2), keepdims=True)
        y[:, i, j] = largest[:, 0, 0]
        dx[window] += (x[window] == largest) * cotangent[:, i : i + 1, j, None]
    right, below = dx.shape[2] - columns, dx.shape[1] - rows
    return y, dx[:, rows:below, columns:right]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("pool_size", "strides", "padding", "out"),
    [
        ((3, 3), (2, 2), (1, 1), (4, 5)),
        ((5, 3), (2, 1), (2, 0), (4, 7)),
        ((3, 2), (2, 1), (0, 0), (3, 8)),
    ],
)
def test_max_pool2d_equals_the_loop(
    pool_size, strides, padding, out, data_format, dtype
):
    random = np.random.default_rng(3)
    # Negative numbers only: zeros in the padding would show.
    x = -1.0 - random.permutation(8 * 9 * 3).reshape(1, 8, 9, 3) % 251
    x = x.astype("float32")
    cotangent = random.choice([-1.0, 0.5, 2.0], size=(1, *out, 3))
    geometric = pool_size, strides, padding

    def weighted_sum(x):
        y = kernels.max_pool2d(ops.cast(x, dtype), *geometric, data_format)
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        y = ops.cast(y, "float32")
        weights = to_format(cotangent.astype("float32"), data_format)
        return ops.sum(ops.multiply(y, weights)), y

    (_, y), (dx,) = gradients(weighted_sum, to_format(x, data_format))
    found = [from_format(y, data_format), from_format(dx, data_format)]
    assert_close(found, max_pool2d_loop(x, cotangent, *geometric), dtype)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_generic_max_pool2d_equals_the_tuned_one(data_format):
    x = to_format(batch_norm_example((2, 8, 9, 6))[0], data_format)
    arguments = ops.convert_to_tensor(x), (3, 3), (2, 2), (1, 1), data_format
    found, expected = (
        ops.convert_to_numpy(module.max_pool2d(*arguments))
        for module in (generic, kernels)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("module", [kernels, generic], ids=["tuned", "generic"])
def test_relu(module):
    x, _, _, _ = batch_norm_example((2, 3, 5, 6))
    y = module.relu(ops.convert_to_tensor(x.copy()) + 0.0)
    np.testing.assert_array_equal(ops.convert_to_numpy(y), np.maximum(x, 0))


@on_torch
def test_torch_hands_on_channels_last_in_memory():
    x = ops.ones((2, 9, 7, 8))
    kernel = ops.ones((1, 1, 8, 16))
    geometric = (1, 1), (0, 0), (1, 1), 1, "channels_last"
    assert kernels.conv2d(x, kernel, *geometric).is_contiguous()
    pooled = kernels.max_pool2d(x, (3, 3), (2, 2), (1, 1), "channels_last")
    assert pooled.is_contiguous()


@on_torch
def test_torch_exports_ordinary_convolutions():
    import torch

    class Pointwise(torch.nn.Module):
        def forward(self, x, kernel):
            geometric = (2, 2), (0, 0), (1, 1), 1, "channels_last"
            return kernels.conv2d(x, kernel, *geometric)

    x, kernel = torch.rand(2, 9, 7, 8), torch.rand(1, 1, 8, 16)
    program = torch.export.export(Pointwise(), (x, kernel))
    code = program.graph_module.code
    assert "conv2d" in code
    assert "transpose2d" not in code
    found = program.module()(x, kernel)
    expected = Pointwise()(x, kernel)
    assert_close([found.numpy()], [expected.numpy()])


@on_tensorflow
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("geometry", ["dilated", "dilated_strided", "uneven"])
def test_packed_and_spread_kernels_stand_in(geometry, groups, monkeypatch):
    from keras_resnext.kernels import tensorflow

    monkeypatch.setattr(tensorflow, "_trains", lambda *args, **kwargs: False)
    test_conv2d_equals_the_loop(geometry, groups)


@on_tensorflow
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("geometry", ["plain", "strided", "dilated"])
def test_fused_with_bias_and_relu(geometry, groups):
    # The graph optimizer fuses the three, and its kernels know less.
    import tensorflow as tf

    x, kernel, cotangent = conv2d_example(geometry, groups)
    bias = np.linspace(-2, 2, FILTERS, dtype="float32")
    geometric = GEOMETRIES[geometry][2:]

    def convolve(x, kernel, bias):
        y = kernels.conv2d(x, kernel, *geometric, groups, "channels_last")
        y = tf.nn.relu(tf.nn.bias_add(y, bias))
        return tf.reduce_sum(y * cotangent), y

    plain, _, _ = conv2d_loop(x, kernel, cotangent, *geometric, groups)
    masked = np.where(plain + bias > 0, cotangent, 0)
    _, dx, dkernel = conv2d_loop(x, kernel, masked, *geometric, groups)
    expected = np.maximum(plain + bias, 0)

    (_, y), slopes = gradients(convolve, x, kernel, bias)
    assert_close([y, *slopes], [expected, dx, dkernel, masked.sum((0, 1, 2))])
    _, y = tf.function(convolve)(*map(tf.constant, (x, kernel, bias)))
    assert_close([y.numpy()], [expected])


@on_tensorflow
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


@on_tensorflow
@pytest.mark.skipif(
    os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0", reason="is itself"
)
def test_without_onednn():
    """Apple silicon and other builds lack oneDNN: everything again."""
    file = pathlib.Path(__file__)
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", str(file)]
    run = subprocess.run(
        [*command, "-k", "(loop and not half) or fused"],
        cwd=file.parents[2],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    assert "skipped" not in run.stdout
