"""Every kernel as NumPy loops, examples for them, and how to compare."""

from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import keras
import ml_dtypes
import numpy as np
from autodiff import gradients
from keras import ops

from keras_resnext.kernels import kernels

Pair = tuple[int, int]

# Size, kernel size, strides, padding, dilation rate.
GEOMETRIES: dict[str, tuple[Pair, ...]] = {
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


def conv2d_loop(
    x: np.ndarray,
    kernel: np.ndarray,
    cotangent: np.ndarray,
    strides: Pair,
    padding: Pair,
    dilation_rate: Pair,
    groups: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a convolution and its gradients, tap by tap, group by group."""
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


def conv2d_example(
    geometry: str,
    groups: int,
    channels: int = CHANNELS,
    filters: int = FILTERS,
) -> list[np.ndarray]:
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
    geometry: str,
    groups: int,
    arrays: Sequence[np.ndarray],
    data_format: str = "channels_last",
    dtype: str = "float32",
) -> list[np.ndarray]:
    """Return the kernel's values and gradients, as `conv2d_loop` does."""
    _, _, strides, padding, dilation_rate = GEOMETRIES[geometry]
    x, kernel, cotangent = arrays

    def weighted_sum(x: Any, kernel: Any) -> tuple:
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


def batch_norm_loop(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    cotangent: np.ndarray,
    epsilon: float,
) -> list[np.ndarray]:
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


def batch_norm_example(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Images, gamma, beta and cotangent; bfloat16 can hold the images."""
    random = np.random.default_rng(1)
    x = random.normal(3.0, 2.0, size=shape)
    x = x.astype(ml_dtypes.bfloat16).astype("float32")
    cotangent = random.choice([-1.0, 0.5, 2.0], size=shape).astype("float32")
    gamma = random.normal(size=shape[-1]).astype("float32")
    beta = random.normal(size=shape[-1]).astype("float32")
    return x, gamma, beta, cotangent


def max_pool2d_loop(
    x: np.ndarray,
    cotangent: np.ndarray,
    pool_size: Pair,
    strides: Pair,
    padding: Pair,
) -> tuple[np.ndarray, np.ndarray]:
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


def to_format(x: np.ndarray, data_format: str) -> np.ndarray:
    """Channels-last images in another format."""
    return x if data_format == "channels_last" else x.transpose(0, 3, 1, 2)


def from_format(x: np.ndarray, data_format: str) -> np.ndarray:
    """Images of a format with channels last."""
    return x if data_format == "channels_last" else x.transpose(0, 2, 3, 1)


def assert_close(
    found: Iterable[np.ndarray],
    expected: Iterable[np.ndarray],
    dtype: str = "float32",
) -> None:
    """Assert that arrays differ by no more than a dtype's rounding."""
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        scale = max(1.0, np.abs(b).max())
        np.testing.assert_allclose(a, b, atol=ROUNDING[dtype] * scale, rtol=0)
