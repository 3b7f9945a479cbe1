"""Final activation of a layer."""

from collections.abc import Callable

import keras

from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor


def activate(x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply an activation, ReLU by the backend's own kernel.

    Args:
        x: A tensor that nothing else needs, such as a convolution's output.
        activation: An activation, as `keras.activations.get` returns it.

    Returns:
        A tensor of the shape and dtype of `x`.
    """
    if activation is keras.activations.relu:
        return kernels.relu(x)
    return activation(x)
