"""Kernels for JAX: XLA's own, except grouped convolutions on a CPU."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from keras_resnext.kernels.generic import Tensor
from keras_resnext.kernels.generic import packed
from keras_resnext.kernels.generic import per_channel


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
    layout = "NCHW" if data_format == "channels_first" else "NHWC"

    def convolve(x: Tensor, kernel: Tensor, groups: int = 1) -> Tensor:
        return lax.conv_general_dilated(
            x,
            kernel,
            window_strides=strides,
            padding=[(pad, pad) for pad in padding],
            rhs_dilation=dilation_rate,
            dimension_numbers=(layout, "HWIO", layout),
            feature_group_count=groups,
        )

    if groups > 1 and jax.default_backend() == "cpu":
        # XLA's gradient of a grouped convolution takes seconds on a CPU.
        y = packed(convolve, x, kernel, groups, layout.index("C"))
    else:
        y = convolve(x, kernel, groups)
    return y if bias is None else y + per_channel(bias, data_format)


def largest(x: Tensor, axis: int) -> Tensor:
    """See `generic.largest`."""
    # TensorFlow can't load SavedModels with the top-k op of a newer JAX.
    index = jnp.argmax(x, axis, keepdims=True)
    return jnp.take_along_axis(x, index, axis)


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """See `generic.gradient`."""
    return jax.grad(lambda x: function(x).sum())(x)
