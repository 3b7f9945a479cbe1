"""Folding of batch normalization into the preceding weights.

https://arxiv.org/abs/1712.05877, section 3.2.
"""

from typing import Any

import keras
import numpy as np


def scale_and_offset(
    norm: keras.layers.BatchNormalization,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale and offset of batch normalization in inference.

    Returns:
        Two float64 arrays, `(channels,)`.
    """
    mean, variance = wide(norm.moving_mean), wide(norm.moving_variance)
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale *= wide(norm.gamma)
    offset = -mean * scale
    if norm.center:
        offset += wide(norm.beta)
    return scale, offset


def fold(
    conv: keras.layers.Conv2D, norm: keras.layers.BatchNormalization
) -> tuple[np.ndarray, np.ndarray]:
    """Fold batch normalization into a convolution's kernel and bias.

    Args:
        conv: A convolution of any number of groups, without activation.
        norm: The batch normalization that follows.

    Returns:
        The kernel, of its original shape, and the bias, `(filters,)`, float64.
    """
    scale, offset = scale_and_offset(norm)
    if conv.use_bias:
        offset = offset + wide(conv.bias) * scale
    return wide(conv.kernel) * scale, offset


def wide(variable: Any) -> np.ndarray:
    """Return the value of a variable in float64."""
    return keras.ops.convert_to_numpy(variable).astype("float64")
