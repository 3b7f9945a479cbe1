"""Kernels in `keras.ops`: the reference for any backend of Keras.

Also the packed form of a grouped convolution, for backends whose own grouped
convolution is slow or missing.
"""

import contextlib
from collections.abc import Callable
from typing import Any
from typing import TypeAlias

import keras
import numpy as np
from keras import ops

Tensor: TypeAlias = Any

# Merged groups of this many channels were the fastest at every stage of a
# ResNeXt-50 on XLA's CPU; 64, 128 and the dense kernel were slower.
PACKED_WIDTH = 32


def conv2d(
    x: Tensor,
    kernel: Tensor,
    strides: tuple[int, int],
    padding: tuple[int, int],
    dilation_rate: tuple[int, int],
    groups: int,
    data_format: str,
    bias: Tensor | None = None,
) -> Tensor:
    """Convolve with symmetric zero padding.

    Args:
        x: Images, `(batch, height, width, in_channels)` or channels first.
        kernel: `(rows, columns, in_channels / groups, filters)`.
        strides: Vertical and horizontal step.
        padding: Rows of zeros above and below, columns left and right.
        dilation_rate: Vertical and horizontal distance of the kernel's taps.
        groups: Number of groups, which most backends infer from the kernel.
        data_format: `"channels_last"` or `"channels_first"`.
        bias: Bias of each filter, `(filters,)`.

    Returns:
        Images of the dtype of `x`.
    """
    x = ops.pad(x, spatial_padding(padding, data_format))
    if max(strides) > 1 and max(dilation_rate) > 1:
        # Keras refuses both at once: dilate, then keep every other output.
        x = ops.conv(x, kernel, 1, "valid", data_format, dilation_rate)
        rows, columns = strides
        if data_format == "channels_first":
            x = x[:, :, ::rows, ::columns]
        else:
            x = x[:, ::rows, ::columns]
    else:
        x = ops.conv(
            x, kernel, list(strides), "valid", data_format, dilation_rate
        )
    return x if bias is None else x + per_channel(bias, data_format)


def batch_norm_training(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    with_relu: bool,
    data_format: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize a batch by its own statistics.

    Args:
        x: Images, float32, bfloat16 or float16.
        gamma: Scales, float32, `(channels,)`.
        beta: Offsets, likewise.
        epsilon: Added to the variance before the square root.
        with_relu: Whether to apply a ReLU to the result, in place if possible.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        The images, in the dtype of `x`; their mean; and their variance,
        unbiased (n - 1) on every backend, as in PyTorch.
    """
    axis = 1 if data_format == "channels_first" else 3
    axes = [i for i in range(4) if i != axis]
    wide = ops.cast(x, "float32")
    mean, variance = ops.moments(wide, axes)
    y = ops.batch_normalization(
        wide, mean, variance, axis, beta, gamma, epsilon
    )
    count = ops.cast(ops.size(x) // ops.shape(x)[axis], "float32")
    unbiased = variance * (count / ops.maximum(count - 1.0, 1.0))
    y = relu(y) if with_relu else y
    return ops.cast(y, x.dtype), mean, unbiased


def batch_norm_inference(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
    with_relu: bool,
    data_format: str,
) -> Tensor:
    """Normalize a batch by moving statistics.

    Args:
        x: Images, float32, bfloat16 or float16.
        gamma: Scales, float32, `(channels,)`.
        beta: Offsets, likewise.
        mean: Moving means, likewise.
        variance: Moving variances, likewise.
        epsilon: Added to the variance before the square root.
        with_relu: Whether to apply a ReLU to the result, in place if possible.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        The images, in the dtype of `x`.
    """
    axis = 1 if data_format == "channels_first" else 3
    y = ops.batch_normalization(
        ops.cast(x, "float32"), mean, variance, axis, beta, gamma, epsilon
    )
    y = relu(y) if with_relu else y
    return ops.cast(y, x.dtype)


def max_pool2d(
    x: Tensor,
    pool_size: tuple[int, int],
    strides: tuple[int, int],
    padding: tuple[int, int],
    data_format: str,
    nonnegative: bool = False,
) -> Tensor:
    """Return the maximum of every window, ignoring padding.

    Args:
        x: Images, larger than the padding.
        pool_size: Height and width of a window.
        strides: Vertical and horizontal step.
        padding: Rows above and below, columns left and right; at most half
            of `pool_size`, so that every window contains a pixel.
        data_format: `"channels_last"` or `"channels_first"`.
        nonnegative: Whether no value of `x` is below zero and no gradient
            depends on which zero is the maximum, as after a ReLU.

    Returns:
        Images of the dtype of `x`.
    """
    if any(padding):
        x = ops.pad(
            x,
            spatial_padding(padding, data_format),
            constant_values=-float("inf"),
        )
    return ops.max_pool(x, pool_size, strides, "valid", data_format)


def largest(x: Tensor, axis: int) -> Tensor:
    """Return the maximum along an axis, which is kept.

    Not by `ops.max`, whose gradient compares with the maximum: if XLA
    recomputes the elements with other rounding, none is equal, and the
    gradient is NaN (https://github.com/jax-ml/jax/issues/40564). Nor by
    `ops.argmax`, which on TensorFlow reads the sign of zeros from the bits of
    a float, for which TFLite and ONNX have no operation.

    Args:
        x: A float tensor.
        axis: The axis.

    Returns:
        A tensor of the dtype of `x`, of size 1 along `axis`.
    """
    y, _ = ops.top_k(ops.swapaxes(x, axis, -1), 1)
    return ops.swapaxes(y, axis, -1)


def relu(x: Tensor) -> Tensor:
    """Apply a ReLU, in place if possible: `x` must not be used again.

    NaN stays NaN, as in `max_pool2d`.

    Args:
        x: A tensor that nothing else needs, such as a sum just computed.

    Returns:
        A tensor of the shape and dtype of `x`. On TensorFlow, a negative value
        may be scaled by less than 1.2e-38 instead of becoming zero.
    """
    # XLA on a CPU can return zero as the maximum of NaN and zero.
    return ops.where(ops.less_equal(x, 0), ops.zeros((), x.dtype), x)


def relu_of_sum(x: Tensor) -> Tensor:
    """Apply a ReLU like `relu`, with results of exactly zero.

    Args:
        x: The sum of two tensors, which nothing else needs.

    Returns:
        A tensor of the shape and dtype of `x`.
    """
    return relu(x)


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Differentiate a function.

    Args:
        function: From `x` to a tensor of any shape.
        x: A float tensor that is not symbolic.

    Returns:
        The gradient of the sum of the function's output, of the shape and
        dtype of `x`.

    Raises:
        NotImplementedError: If the backend only predicts.
    """
    raise NotImplementedError(
        f"The {keras.config.backend()} backend has no gradients. Use "
        "KERAS_BACKEND=tensorflow, jax or torch."
    )


def needs_no_bookkeeping(layer: keras.layers.Layer, inputs: Any) -> bool:
    """Return whether Keras' work around a call of a layer has no effect.

    Args:
        layer: The layer.
        inputs: Its input, or a list of its inputs.
    """
    return False


def frees_tensors() -> bool:
    """Return whether a tensor's memory is free once nothing refers to it."""
    return False


def portable() -> contextlib.AbstractContextManager[None]:
    """Return a context in which graphs are traced for other runtimes.

    Such graphs contain no workarounds for this machine, such as for missing
    gradients of grouped convolutions.
    """
    return contextlib.nullcontext()


def supports_jit() -> bool:
    """Return whether Keras may compile a model of these kernels with XLA."""
    return True


def replicas_in_sync() -> int:
    """Return the number of replicas that compute a step together."""
    return 1


def sum_over_replicas(values: list[Tensor]) -> list[Tensor]:
    """Sum values over the replicas of a `tf.distribute` strategy.

    Without one, the values are returned unchanged.

    Args:
        values: A replica's tensors, each of any shape and dtype.

    Returns:
        The sums, of the same shapes and dtypes, on each replica.
    """
    return values


def cond_over_replicas(
    predicate: Tensor,
    on_true: Callable[..., None],
    on_false: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    """Call one of two functions, which may communicate among replicas.

    Args:
        predicate: Whether to call `on_true`; the same on each replica.
        on_true: Takes a replica's arguments and changes variables.
        on_false: Likewise.
        arguments: A replica's arguments, structures of tensors.
    """
    ops.cond(
        predicate, lambda: on_true(*arguments), lambda: on_false(*arguments)
    )


def spatial_padding(
    padding: tuple[int, int], data_format: str
) -> list[tuple[int, int]]:
    """Return padding of height and width as a pair for each of four axes."""
    (rows, columns) = padding
    spatial = [(rows, rows), (columns, columns)]
    if data_format == "channels_first":
        return [(0, 0), (0, 0), *spatial]
    return [(0, 0), *spatial, (0, 0)]


def packed(
    convolve: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    kernel: Tensor,
    groups: int,
    channel_axis: int,
) -> Tensor:
    """Compute a grouped convolution by a few ordinary ones.

    Neighboring groups are merged into one with a block-diagonal kernel, and
    each merged group is convolved separately: the same result, with some
    multiplications by zero, by kernels that every backend has and tunes.

    Args:
        convolve: An ordinary convolution of images and a kernel.
        x: Images.
        kernel: `(rows, columns, in_channels / groups, filters)`.
        groups: Number of groups.
        channel_axis: Axis of the channels in `x` and in the result.

    Returns:
        The grouped convolution of `x` and `kernel`.
    """
    *_, group_width, filters = kernel.shape
    merge = max(
        m
        for m in range(1, groups + 1)
        if groups % m == 0 and (m == 1 or m * group_width <= PACKED_WIDTH)
    )
    # Zero where an input channel belongs to another group than the filter.
    # Not by a block-diagonal reshape in seven dimensions: XLA's gradient of it
    # crashes on a CPU if all groups are merged into one.
    group_of_input = np.arange(merge * group_width)[:, None] // group_width
    group_of_filter = np.arange(filters) // (filters // groups) % merge
    diagonal = ops.convert_to_tensor(
        group_of_input == group_of_filter, dtype=kernel.dtype
    )
    dense = ops.concatenate([kernel] * merge, axis=2) * diagonal
    count = groups // merge
    parts = zip(
        ops.split(x, count, axis=channel_axis),
        ops.split(dense, count, axis=3),
        strict=True,
    )
    return ops.concatenate(
        [convolve(*part) for part in parts], axis=channel_axis
    )


def per_channel(values: Tensor, data_format: str) -> Tensor:
    """Return per-channel values as images of one pixel."""
    axes = (0, 2, 3) if data_format == "channels_first" else (0, 1, 2)
    return ops.expand_dims(values, axes)
