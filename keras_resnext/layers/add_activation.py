"""The merge of split-transform-merge: a sum, and the activation after it."""

from typing import Any

import keras
from keras import ops

from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers.direct import DirectCall


@keras.saving.register_keras_serializable(package="keras_resnext")
class AddActivation(DirectCall, keras.layers.Add):
    """Sum of a block's branch and its shortcut, activated.

    `keras.layers.Add` and an activation in one, so that frameworks need not
    store the sum itself: https://arxiv.org/abs/1611.05431, equation 3.

    Args:
        activation: Activation of the sum, or `None`.
        **kwargs: Other arguments of `keras.layers.Add`.

    Call arguments:
        inputs: A list of tensors of one shape.

    Returns:
        A tensor of that shape.

    Example:
    >>> x = np.full((1, 7, 7, 16), -1.0, "float32")
    >>> y = keras_resnext.layers.AddActivation(activation="relu")([x, x])
    >>> float(keras.ops.max(y))
    0.0
    """

    def __init__(self, activation: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

    def call(self, inputs: list[Tensor]) -> Tensor:
        total = super().call(inputs)
        if self.activation is keras.activations.relu and len(inputs) > 1:
            return kernels.relu_of_sum(total)
        if isinstance(self.activation, keras.layers.LeakyReLU):
            # After a convolution with bias and a sum, TensorFlow's graph
            # optimizer would give a leaky ReLU op the slope 0.2.
            below = ops.multiply(
                ops.minimum(total, 0.0), self.activation.negative_slope
            )
            return ops.add(ops.relu(total), below)
        return self.activation(total)

    def get_config(self) -> dict[str, Any]:
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation}
