"""Kernels for TensorFlow: its graph ops, without XLA.

Keras' own TensorFlow backend compiles every grouped convolution with XLA,
which makes training on a CPU 300 times slower and breaks ONNX export:
https://github.com/keras-team/keras/issues/18180.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from keras_resnext.kernels import generic
from keras_resnext.kernels.generic import Tensor
from keras_resnext.kernels.generic import packed
from keras_resnext.kernels.generic import spatial_padding

# Weights of a 1x1 kernel in bfloat16 from which it is computed as a matrix:
# the last stage's of ResNeXt-50. Training of it gains 11 %, prediction of one
# image 17 %; below, convolutions are faster in batches.
LARGE = 1 << 21


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
    """See `generic.conv2d`."""
    if data_format == "channels_first" and not _has_accelerator():
        # The CPU kernels support only channels last.
        y = conv2d(
            _channels_last(x),
            kernel,
            strides,
            padding,
            dilation_rate,
            groups,
            "channels_last",
            bias,
        )
        return _channels_first(y)

    if _is_product(x, kernel, padding, groups):
        rows, columns = strides
        return _product(x[:, ::rows, ::columns], kernel, bias)

    # Without strides, TensorFlow's "SAME" is symmetric too, and saves a copy.
    # Explicit paddings inside the op fail in the gradient of a grouped
    # convolution ("filter_size does not have enough elements").
    same = max(strides) == 1 and padding == _reach(kernel, dilation_rate)
    if any(padding) and not same:
        x = tf.pad(x, spatial_padding(padding, data_format))

    if max(dilation_rate) > 1 and not _computes(x.dtype, dilation=2):
        kernel = _spread(kernel, dilation_rate)
        dilation_rate = (1, 1)

    def convolve(x: Tensor, kernel: Tensor) -> Tensor:
        return tf.nn.conv2d(
            x,
            kernel,
            strides,
            "SAME" if same else "VALID",
            data_format=_layout(data_format),
            dilations=dilation_rate,
        )

    if groups > 1 and not _computes(x.dtype, groups=2):
        channel_axis = _layout(data_format).index("C")
        y = packed(convolve, x, kernel, groups, channel_axis)
    else:
        y = convolve(x, kernel)
    # Unlike a sum, the graph optimizer can fuse this op.
    return y if bias is None else tf.nn.bias_add(y, bias, _layout(data_format))


def _is_product(
    x: Tensor, kernel: Tensor, padding: tuple[int, int], groups: int
) -> bool:
    """Return whether a convolution is faster as a product of matrices.

    oneDNN reorders a kernel for each convolution: in bfloat16, half of the
    time of a large one if there are few pixels.
    """
    *window, channels, filters = kernel.shape
    return (
        window == [1, 1]
        and not any(padding)
        and groups == 1
        and x.dtype == tf.bfloat16
        and channels * filters >= LARGE
        and not _has_accelerator()
        and not _PORTABLE.get()
        # By oneDNN; TensorFlow's own products add up in bfloat16.
        and _trains(x.dtype, groups=2)
    )


def _product(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve by 1x1 as a product of matrices."""
    *_, channels, filters = kernel.shape
    y = tf.matmul(
        tf.reshape(x, (-1, channels)), tf.reshape(kernel, (channels, filters))
    )
    y = y if bias is None else tf.nn.bias_add(y, bias)
    batch, rows, columns, _ = tf.unstack(tf.shape(x))
    shape = [*x.shape[:3], filters]
    y = tf.reshape(y, (batch, rows, columns, filters))
    return tf.ensure_shape(y, shape)


def batch_norm_training(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    with_relu: bool,
    data_format: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `generic.batch_norm_training`."""
    empty = tf.zeros((0,), gamma.dtype)
    return _batch_norm(
        x, gamma, beta, empty, empty, True, epsilon, with_relu, data_format
    )


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
    """See `generic.batch_norm_inference`."""
    y, _, _ = _batch_norm(
        x, gamma, beta, mean, variance, False, epsilon, with_relu, data_format
    )
    return y


def max_pool2d(
    x: Tensor,
    pool_size: tuple[int, int],
    strides: tuple[int, int],
    padding: tuple[int, int],
    data_format: str,
    nonnegative: bool = False,
) -> Tensor:
    """See `generic.max_pool2d`."""
    if data_format == "channels_first" and not _has_accelerator():
        x = _channels_last(x)
        arguments = pool_size, strides, padding, "channels_last", nonnegative
        return _channels_first(max_pool2d(x, *arguments))
    if any(padding):
        # A window already contains the pixels that it mirrors, so the maximum
        # is the same, without infinities, which integer files can't represent.
        # Padding with zeros is three times as fast.
        mode = "CONSTANT" if nonnegative else "REFLECT"
        x = tf.pad(x, spatial_padding(padding, data_format), mode)
    windows = pool_size, strides, "VALID", _layout(data_format)
    largest = tf.nn.max_pool2d(x, *windows)
    if not _hides_nan():
        return largest
    mean = tf.stop_gradient(tf.nn.avg_pool2d(x, *windows))
    # Not `tf.math.is_nan`, for which TFLite has no operation.
    return tf.where(tf.equal(mean, mean), largest, mean)


def relu(x: Tensor) -> Tensor:
    """See `generic.relu`."""
    return _relu_that_keeps_nan(x) if _hides_nan() else tf.nn.relu(x)


def relu_of_sum(x: Tensor) -> Tensor:
    """See `generic.relu_of_sum`."""
    if not _hides_nan():
        return tf.nn.relu(x)
    # After a convolution with bias and a sum, the graph optimizer gives every
    # leaky ReLU the slope 0.2, but does not change a maximum.
    return tf.maximum(x, tf.zeros((), x.dtype))


def replicas_in_sync() -> int:
    """See `generic.replicas_in_sync`."""
    replicas = tf.distribute.get_replica_context()
    return 1 if replicas is None else replicas.num_replicas_in_sync


def sum_over_replicas(values: list[Tensor]) -> list[Tensor]:
    """See `generic.sum_over_replicas`."""
    if replicas_in_sync() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce("SUM", values)


def cond_over_replicas(
    predicate: Tensor,
    on_true: Callable[..., None],
    on_false: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    """See `generic.cond_over_replicas`."""
    if replicas_in_sync() == 1:
        generic.cond_over_replicas(predicate, on_true, on_false, arguments)
        return

    def branch(strategy: Any, predicate: Any, arguments: Any) -> None:
        # Replicas can't communicate in separate branches; here all take one.
        tf.cond(
            strategy.experimental_local_results(predicate)[0],
            lambda: each(on_true, arguments),
            lambda: each(on_false, arguments),
        )

    def each(function: Callable[..., None], arguments: Any) -> None:
        extended = tf.distribute.get_strategy().extended
        extended.call_for_each_replica(function, args=arguments)

    tf.distribute.get_replica_context().merge_call(
        branch, args=(predicate, arguments)
    )


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """See `generic.gradient`."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        total = tf.reduce_sum(function(x))
    return tape.gradient(total, x)


@tf.custom_gradient
def _relu_that_keeps_nan(x: Tensor) -> tuple[Tensor, Callable[..., Tensor]]:
    """Compute a leaky ReLU of tiny slope; oneDNN's ReLU turns NaN into zero.

    The slope is the smallest that oneDNN does not take for zero, and as fast.
    The gradient uses the result: with that of `x`, the graph optimizer fails
    to fuse the op that computes `x`.
    """
    y = tf.nn.leaky_relu(x, 2.0**-126)
    return y, lambda dy: tf.raw_ops.ReluGrad(gradients=dy, features=y)


def _hides_nan() -> bool:
    """Return whether TensorFlow's own ops hide NaN, as they do on a CPU."""
    return not _PORTABLE.get() and not _has_accelerator()


_PORTABLE = contextvars.ContextVar("portable", default=False)


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """See `generic.portable`."""
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)


def supports_jit() -> bool:
    """Return whether XLA is fast: on a CPU, its grouped convolution is not."""
    return _has_accelerator()


def _batch_norm(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    training: bool,
    epsilon: float,
    with_relu: bool,
    data_format: str,
) -> tuple[Tensor, Tensor, Tensor]:
    transpose = data_format == "channels_first" and not _has_accelerator()
    if transpose:
        x = _channels_last(x)
        data_format = "channels_last"
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        data_format=_layout(data_format),
        is_training=training,
    )
    y = relu(y) if with_relu else y
    return (_channels_first(y) if transpose else y), mean, variance


def _layout(data_format: str) -> str:
    return "NCHW" if data_format == "channels_first" else "NHWC"


def _channels_last(x: Tensor) -> Tensor:
    return tf.transpose(x, (0, 2, 3, 1))


def _channels_first(x: Tensor) -> Tensor:
    return tf.transpose(x, (0, 3, 1, 2))


def _reach(
    kernel: Tensor, dilation_rate: tuple[int, int]
) -> tuple[float, float]:
    """Return the distance of the kernel's outermost taps from its center."""
    rows, columns = kernel.shape[:2]
    (down, right) = dilation_rate
    return (rows - 1) * down / 2, (columns - 1) * right / 2


def _spread(kernel: Tensor, dilation_rate: tuple[int, int]) -> Tensor:
    """Write the dilation into the kernel, as zeros between its taps."""
    rows, columns, group_width, filters = kernel.shape
    (down, right) = dilation_rate
    taps = tf.reshape(kernel, (rows, 1, columns, 1, group_width, filters))
    gaps = [(0, 0), (0, down - 1), (0, 0), (0, right - 1), (0, 0), (0, 0)]
    spread = tf.reshape(
        tf.pad(taps, gaps),
        (rows * down, columns * right, group_width, filters),
    )
    return spread[: (rows - 1) * down + 1, : (columns - 1) * right + 1]


@functools.cache
def _has_accelerator() -> bool:
    return any(
        device.device_type != "CPU"
        for device in tf.config.get_visible_devices()
    )


def _computes(dtype: tf.DType, groups: int = 1, dilation: int = 1) -> bool:
    """Return whether the graph may contain such a convolution."""
    return _PORTABLE.get() or _trains(dtype, groups, dilation)


@functools.cache
def _trains(dtype: tf.DType, groups: int = 1, dilation: int = 1) -> bool:
    """Return whether such a convolution can be trained here, by a trial.

    On a CPU only oneDNN's kernels can, and only in float32 and bfloat16. The
    others lack gradients, and the graph optimizer fuses convolution, bias and
    ReLU into a kernel that rejects groups.
    """

    @tf.function(autograph=False)
    def gradients(x: Tensor, kernel: Tensor, bias: Tensor) -> list[Tensor]:
        y = tf.nn.conv2d(x, kernel, 1, "VALID", dilations=dilation)
        y = tf.nn.relu(tf.nn.bias_add(y, bias))
        return [y, *tf.gradients(y, [x, kernel])]

    with tf.init_scope():
        example = (
            tf.ones((1, 5, 5, 4), dtype),
            tf.ones((3, 3, 4 // groups, 4), dtype),
            tf.ones((4,), dtype),
        )
        try:
            gradients.get_concrete_function(*example)(*example)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True
