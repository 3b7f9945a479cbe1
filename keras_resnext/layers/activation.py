"""Activation at the end of a layer, on a tensor that nobody else holds."""

from collections.abc import Callable
from typing import Any

import keras

from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor


def activate(x: Tensor, activation: Callable[..., Any]) -> Tensor:
    """Applies an activation to `x`, which is lost: torch overwrites it."""
    if activation is keras.activations.relu:
        return kernels.relu(x)
    return activation(x)
