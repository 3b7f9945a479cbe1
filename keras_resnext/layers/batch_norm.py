"""Batch normalization. https://arxiv.org/abs/1502.03167."""

from typing import Any

import keras
from keras import ops

from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor

FUSED_DTYPES = ("float32", "bfloat16", "float16")


@keras.saving.register_keras_serializable(package="keras_resnext")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization of images on the backend's fused kernel.

    `keras.layers.BatchNormalization` with the same variables, arguments and
    meaning, but for one detail: the moving variance gathers the unbiased
    variance of a batch (n - 1), as PyTorch's does. What the fused kernels
    don't know (masks, `renorm`, `synchronized`, another axis or rank,
    float64) Keras computes as ever.

    Args:
        axis: Axis of the channels.
        momentum: How much of the moving statistics a step keeps; Keras' 0.9
            is PyTorch's 0.1.
        epsilon: Added to the variance before the root.
        **kwargs: Every other argument of `keras.layers.BatchNormalization`.

    Call arguments:
        inputs: Images, `(batch, height, width, channels)` or, channels
            first, `(batch, channels, height, width)`.
        training: Whether to normalize by the batch's own statistics and
            gather them. Frozen layers (`trainable=False`) never do.

    Returns:
        Images of the shape of `inputs` and of the layer's compute dtype.

    Example:
    >>> x = np.ones((8, 7, 7, 16), "float32")
    >>> keras_resnext.layers.BatchNormalization()(x).shape
    (8, 7, 7, 16)
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__(axis, momentum, epsilon, **kwargs)
        self.supports_jit = kernels.supports_jit()

    def call(
        self,
        inputs: Tensor,
        training: bool | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        data_format = self._fused_data_format(inputs)
        if data_format is None or mask is not None:
            return super().call(inputs, training=training, mask=mask)

        gamma = self.gamma if self.scale else ops.ones_like(self.moving_mean)
        beta = self.beta if self.center else ops.zeros_like(self.moving_mean)
        gamma = ops.convert_to_tensor(gamma)
        beta = ops.convert_to_tensor(beta)
        if not (training and self.trainable):
            return kernels.batch_norm_inference(
                inputs,
                gamma,
                beta,
                ops.convert_to_tensor(self.moving_mean),
                ops.convert_to_tensor(self.moving_variance),
                self.epsilon,
                data_format,
            )
        outputs, mean, variance = kernels.batch_norm_training(
            inputs, gamma, beta, self.epsilon, data_format
        )
        for moving, batch in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            kept = self.momentum
            moving.assign(moving * kept + batch * (1.0 - kept))
        return outputs

    def _fused_data_format(self, inputs: Tensor) -> str | None:
        """The layout that a fused kernel takes, or None if none does."""
        if self.renorm or self.synchronized or len(inputs.shape) != 4:
            return None
        if keras.backend.standardize_dtype(inputs.dtype) not in FUSED_DTYPES:
            return None
        return {
            -1: "channels_last",
            3: "channels_last",
            1: "channels_first",
            -3: "channels_first",
        }.get(self.axis)
