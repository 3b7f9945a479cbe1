"""The kernels in `keras.ops`: what they mean, for any backend of Keras.

Also the packed form of a grouped convolution, which the backends whose own
grouped convolution is slow or missing share.
"""

import contextlib
from collections.abc import Callable
from typing import Any
from typing import TypeAlias

import keras
import numpy as np
from keras import ops

Tensor: TypeAlias = Any

# Merged groups this many channels wide were the fastest at every stage of a
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
    """Convolve with as much zero padding before as after.

    Args:
        x: Images, `(batch, height, width, in_channels)` or channels first.
        kernel: `(rows, columns, in_channels / groups, filters)`.
        strides: Vertical and horizontal step.
        padding: Rows of zeros above and below, columns left and right.
        dilation_rate: Vertical and horizontal distance of the kernel's taps.
        groups: Number of groups; the kernel's shape already says it to most
            backends.
        data_format: `"channels_last"` or `"channels_first"`.
        bias: Summand of each filter's output, `(filters,)`.

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
        epsilon: Added to the variance before the root.
        with_relu: Whether to cut the result off below zero, in place if
            possible.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        The images, in the dtype of `x`; their mean; and their variance, the
        unbiased one (n - 1) on every backend, as PyTorch keeps it.
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
    """Normalize a batch by statistics gathered before.

    Args:
        x: Images, float32, bfloat16 or float16.
        gamma: Scales, float32, `(channels,)`.
        beta: Offsets, likewise.
        mean: Means to subtract, likewise.
        variance: Variances to divide by the root of, likewise.
        epsilon: Added to the variance before the root.
        with_relu: Whether to cut the result off below zero, in place if
            possible.
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
    """Return the largest value of every window; padding never wins.

    Args:
        x: Images, larger than the padding.
        pool_size: Height and width of a window.
        strides: Vertical and horizontal step.
        padding: Rows above and below, columns left and right; at most half
            of `pool_size`, so that every window contains a pixel.
        data_format: `"channels_last"` or `"channels_first"`.
        nonnegative: Whether nothing in `x` is below zero, nor changes with
            what is zero, as behind a ReLU.

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

    Not by `ops.max`, whose gradient compares with the maximum: where XLA
    computes the elements a second time and rounds them otherwise, none is
    equal, and the gradient NaN (https://github.com/jax-ml/jax/issues/40564).
    Nor by `ops.argmax`, which on TensorFlow looks for the sign of zeros in
    the bits of a float: TFLite and ONNX have no operation for that.

    Args:
        x: A float tensor.
        axis: The axis.

    Returns:
        A tensor of the dtype of `x`, of size 1 along `axis`.
    """
    y, _ = ops.top_k(ops.swapaxes(x, axis, -1), 1)
    return ops.swapaxes(y, axis, -1)


def relu(x: Tensor) -> Tensor:
    """Cut off below zero, in place if possible: `x` is not to be used again.

    NaN stays NaN, as it does in a maximum of pixels.

    Args:
        x: A tensor that nothing else needs, such as a sum just computed.

    Returns:
        A tensor of the shape and dtype of `x`. On TensorFlow a value below
        zero may become one just below: less than 1.2e-38 of itself.
    """
    # The maximum of NaN and zero is zero where XLA sums it up on a CPU.
    return ops.where(ops.less_equal(x, 0), ops.zeros((), x.dtype), x)


def relu_of_sum(x: Tensor) -> Tensor:
    """Cut off below zero like `relu`, to exactly zero.

    Args:
        x: The sum of two tensors, which nothing else needs.

    Returns:
        A tensor of the shape and dtype of `x`.
    """
    return relu(x)


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Differentiate a function, each backend in its own way.

    Args:
        function: From `x` to a tensor of any shape.
        x: A float tensor that is not symbolic.

    Returns:
        The gradient of the sum of what `function` returns, of the shape and
        dtype of `x`.

    Raises:
        NotImplementedError: If the backend only predicts.
    """
    raise NotImplementedError(
        f"The {keras.config.backend()} backend has no gradients. Use "
        "KERAS_BACKEND=tensorflow, jax or torch."
    )


def portable() -> contextlib.AbstractContextManager[None]:
    """Return a context in which graphs are made for other runtimes.

    Nothing in them stands in for what this machine lacks, such as gradients
    of grouped convolutions.
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

    Elsewhere one program computes the whole batch: its values are returned.

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
        predicate: Whether to call the first; the same on each replica.
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

    Neighboring groups are merged into one whose kernel is block-diagonal,
    and each merged group is convolved by itself: the same numbers, with some
    multiplications by zero, on kernels that every backend has and tunes.

    Args:
        convolve: An ordinary convolution of images and a kernel.
        x: Images.
        kernel: `(rows, columns, in_channels / groups, filters)`.
        groups: Number of groups.
        channel_axis: Axis of the channels in `x` and in the result.

    Returns:
        What the grouped convolution of `x` and `kernel` would return.
    """
    *_, group_width, filters = kernel.shape
    merge = max(
        m
        for m in range(1, groups + 1)
        if groups % m == 0 and (m == 1 or m * group_width <= PACKED_WIDTH)
    )
    # Zero where an input channel belongs to another group than the filter.
    # XLA's gradient of a block-diagonal reshape, in seven dimensions, crashes
    # in its process on a CPU where all groups are merged into one.
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
    """Return values of channels as images of one pixel."""
    axes = (0, 2, 3) if data_format == "channels_first" else (0, 1, 2)
    return ops.expand_dims(values, axes)
