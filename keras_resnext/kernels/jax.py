"""Kernels for JAX: XLA's own, except for convolutions on a CPU.

There XLA computes gradients of kernels, and of grouped convolutions, many times
slower than the convolutions themselves.
"""

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

    if jax.default_backend() != "cpu":
        y = convolve(x, kernel, groups)
    elif _is_pointwise(kernel, padding, groups) and layout == "NHWC":
        y = _pointwise(x[:, :: strides[0], :: strides[1]], kernel)
    elif groups == 1:
        y = convolve(x, kernel)
    else:
        y = packed(convolve, x, kernel, groups, layout.index("C"))
    return y if bias is None else y + per_channel(bias, data_format)


def largest(x: Tensor, axis: int) -> Tensor:
    """See `generic.largest`."""
    # TensorFlow can't load SavedModels with the top-k op of a newer JAX.
    index = jnp.argmax(x, axis, keepdims=True)
    return jnp.take_along_axis(x, index, axis)


def _is_pointwise(
    kernel: Tensor, padding: tuple[int, int], groups: int
) -> bool:
    return groups == 1 and kernel.shape[:2] == (1, 1) and not any(padding)


def _pointwise(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve by 1x1, as a product of matrices."""
    *shape, channels = x.shape
    y = _product(x.reshape(-1, channels), kernel.reshape(channels, -1))
    return y.reshape(*shape, -1)


@jax.custom_vjp
def _product(x: Tensor, y: Tensor) -> Tensor:
    return lax.dot(x, y, preferred_element_type=jnp.float32).astype(x.dtype)


def _product_forward(x: Tensor, y: Tensor) -> tuple:
    return _product(x, y), (x, y)


def _product_backward(operands: tuple, gradient: Tensor) -> tuple:
    x, y = operands
    # Without the barrier XLA reads x across its rows, at half the speed.
    transposed = lax.optimization_barrier(x.T)
    return _product(gradient, y.T), _product(transposed, gradient)


_product.defvjp(_product_forward, _product_backward)


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """See `generic.gradient`."""
    return jax.grad(lambda x: function(x).sum())(x)
