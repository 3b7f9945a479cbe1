"""Transforms between arrays of other libraries and our variables."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Transform:
    """Transform of a foreign array into a variable of a shape, and back."""

    to_keras: Callable[[np.ndarray, Shape], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


def _grouped_from_depthwise(depthwise: np.ndarray, shape: Shape) -> np.ndarray:
    """Unfold a depthwise kernel whose outputs a frozen 1x1 summed by groups.

    keras-applications had no grouped convolution: every input channel was
    convolved once for each output of its group, `(3, 3, filters, c)`.
    """
    rows, columns, width, filters = shape
    if depthwise.shape != (rows, columns, filters, width):
        raise ValueError("a depthwise kernel of other groups")
    groups = filters // width
    return (
        depthwise.reshape(rows, columns, groups, width, width)
        .transpose(0, 1, 3, 2, 4)
        .reshape(shape)
    )


def _depthwise_from_grouped(kernel: np.ndarray) -> np.ndarray:
    rows, columns, width, filters = kernel.shape
    groups = filters // width
    return (
        kernel.reshape(rows, columns, width, groups, width)
        .transpose(0, 1, 3, 2, 4)
        .reshape(rows, columns, filters, width)
    )


def variance_of_epsilon(epsilon: float) -> Transform:
    """Move an epsilon's excess over ours into the moving variance.

    Both directions round once, from float64, so the inverse is exact: between
    two powers of two, every float moves by equally many steps. Only where the
    shift crosses a power of two, above which floats are half as dense, some
    pairs of neighbors become one, in any formulation; the inverse then returns
    one of the two.
    """
    excess = float(np.float32(epsilon - 1e-5))  # so that zero is restored

    def shift(variance: np.ndarray, by: float) -> np.ndarray:
        return (variance.astype("float64") + by).astype(variance.dtype)

    return Transform(lambda v, _: shift(v, excess), lambda v: shift(v, -excess))


AS_IS = Transform(lambda array, _: array, lambda array: array)
OIHW = Transform(
    lambda array, _: array.transpose(2, 3, 1, 0),
    lambda array: array.transpose(3, 2, 0, 1),
)
# Matrices and other arrays whose axes PyTorch has in reverse order.
TRANSPOSED = Transform(lambda array, _: array.T, lambda array: array.T)
# A matrix here, a 1x1 convolution there.
POINTWISE = Transform(
    lambda array, _: array.squeeze((2, 3)).T,
    lambda array: array.T[:, :, None, None],
)
KERAS_POINTWISE = Transform(
    lambda array, _: array.squeeze((0, 1)), lambda array: array[None, None]
)
DEPTHWISE = Transform(_grouped_from_depthwise, _depthwise_from_grouped)
