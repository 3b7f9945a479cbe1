"""Stochastic depth. https://arxiv.org/abs/1603.09382."""

from typing import Any

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="keras_resnext")
class StochasticDepth(keras.layers.Layer):
    """Stochastic depth: drops a block's branch of random samples in training.

    It precedes the sum of a residual block, so a dropped sample takes only
    the shortcut (equation 2 of the paper). Kept samples are scaled by
    `1 / (1 - rate)` in training, where the paper scales by `1 - rate` in
    inference; inference is thus the identity.

    Args:
        rate: Probability that a sample is dropped; in the paper's terms, one
            minus the survival probability.
        seed: Seed of the random numbers.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: A tensor whose first axis is that of the samples.
        training: Whether to drop samples.

    Returns:
        A tensor of the shape of `inputs` and of the layer's compute dtype.

    Raises:
        ValueError: If `rate` is negative, or not less than one.

    Example:
    >>> x = np.ones((4, 7, 7, 256), "float32")
    >>> y = keras_resnext.layers.StochasticDepth(0.5)(x, training=True)
    >>> set(np.ravel(y)) <= {0.0, 2.0}
    True
    """

    def __init__(
        self, rate: float, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(
                f"`rate` must be at least 0 and less than 1. Received: {rate}"
            )
        self.rate = rate
        self.seed = seed
        self.supports_masking = True
        if rate > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if not training or self.rate == 0:
            return inputs
        # In float32: TensorFlow's bfloat16 draws too coarsely.
        ones = (1,) * (len(inputs.shape) - 1)
        scales = keras.random.dropout(
            ops.ones((ops.shape(inputs)[0], *ones), "float32"),
            self.rate,
            seed=self.seed_generator,
        )
        return ops.multiply(inputs, ops.cast(scales, inputs.dtype))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
