"""Batch normalization. https://arxiv.org/abs/1502.03167."""

from typing import Any

import keras
from keras import ops

from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers.activation import activate
from keras_resnext.layers.direct import DirectCall

FUSED_DTYPES = ("float32", "bfloat16", "float16")


@keras.saving.register_keras_serializable(package="keras_resnext")
class BatchNormalization(DirectCall, keras.layers.BatchNormalization):
    """Batch normalization of images, and the activation after it.

    `keras.layers.BatchNormalization` on the backend's fused kernel, with the
    same variables, arguments and results, except for two details. The moving
    variance averages the unbiased variance of batches (n - 1), as in PyTorch.
    And under `tf.distribute` the moving statistics average those of the whole
    batch, however many images each replica has, so they are equal on all
    replicas. Keras computes what the fused kernels don't support (masks,
    `renorm`, another axis or rank, float64).

    The activation is part of the layer so that the normalized tensor need not
    be stored beside the activated one, which saves a third of the memory of a
    training step in eager execution.

    Args:
        axis: Axis of the channels.
        momentum: Weight of the old moving statistics in a step; Keras' 0.9
            is PyTorch's 0.1.
        epsilon: Added to the variance before the square root.
        activation: Activation of the result, or `None`.
        synchronized: Whether the replicas of a `tf.distribute` strategy
            normalize by the statistics of the whole batch, instead of each
            by those of its share. JAX always does; torch has no replicas.
        **kwargs: Other arguments of `keras.layers.BatchNormalization`.

    Call arguments:
        inputs: Images, `(batch, height, width, channels)` or, channels
            first, `(batch, channels, height, width)`.
        training: Whether to normalize by the batch's own statistics and
            update the moving ones. Frozen layers (`trainable=False`) never do.

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
        activation: Any = None,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(axis, momentum, epsilon, **kwargs)
        # Not passed to Keras, which refuses it where it has no effect.
        self.synchronized = synchronized
        self.activation = keras.activations.get(activation)
        self.supports_jit = kernels.supports_jit()

    def call(
        self,
        inputs: Tensor,
        training: bool | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        data_format = self._fused_data_format(inputs)
        if data_format is None or mask is not None:
            outputs = super().call(inputs, training=training, mask=mask)
            return activate(outputs, self.activation)
        relu = self.activation is keras.activations.relu
        own_statistics = bool(training and self.trainable)
        outputs = self._fused(inputs, own_statistics, relu, data_format)
        return outputs if relu else self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation}

    def _fused(
        self,
        inputs: Tensor,
        own_statistics: bool,
        relu: bool,
        data_format: str,
    ) -> Tensor:
        # Half-precision variables too: the fused kernels take float32.
        mean = ops.cast(self.moving_mean, "float32")
        variance = ops.cast(self.moving_variance, "float32")
        gamma, beta = ops.ones_like(mean), ops.zeros_like(mean)
        if self.scale:
            gamma = ops.cast(self.gamma, "float32")
        if self.center:
            beta = ops.cast(self.beta, "float32")
        if not own_statistics:
            return kernels.batch_norm_inference(
                inputs,
                gamma,
                beta,
                mean,
                variance,
                self.epsilon,
                relu,
                data_format,
            )
        replicas = kernels.replicas_in_sync()
        if self.synchronized and replicas > 1:
            outputs, batch_mean, batch_variance = _normalize_together(
                inputs, gamma, beta, self.epsilon, relu, data_format
            )
        else:
            outputs, batch_mean, batch_variance = kernels.batch_norm_training(
                inputs, gamma, beta, self.epsilon, relu, data_format
            )
        if replicas > 1 and not self.synchronized:
            batch_mean, batch_variance = _whole_batch_statistics(
                batch_mean, batch_variance, _count(inputs, data_format), mean
            )
        kept = self.momentum
        self.moving_mean.assign(mean * kept + batch_mean * (1.0 - kept))
        self.moving_variance.assign(
            variance * kept + batch_variance * (1.0 - kept)
        )
        return outputs

    def _fused_data_format(self, inputs: Tensor) -> str | None:
        """Return the data format for a fused kernel, or None if unsupported."""
        if self.renorm or len(inputs.shape) != 4:
            return None
        if keras.backend.standardize_dtype(inputs.dtype) not in FUSED_DTYPES:
            return None
        return {
            -1: "channels_last",
            3: "channels_last",
            1: "channels_first",
            -3: "channels_first",
        }.get(self.axis)


def _count(x: Tensor, data_format: str) -> Tensor:
    """Return the number of values of each channel, as a float32 scalar."""
    axis = 1 if data_format == "channels_first" else 3
    return ops.cast(ops.size(x) // ops.shape(x)[axis], "float32")


def _whole_batch_statistics(
    mean: Tensor, variance: Tensor, count: Tensor, center: Tensor
) -> tuple[Tensor, Tensor]:
    """Combine the statistics of the replicas' shares of a batch.

    Args:
        mean: Mean of this replica's share, `(channels,)`; of any value if the
            share is empty.
        variance: Unbiased variance of the share, likewise.
        count: Number of values of each channel in the share.
        center: Estimate of the mean that is the same on all replicas; a close
            one loses fewer digits to cancellation.

    Returns:
        Mean and unbiased variance of the whole batch.
    """
    offset = mean - center
    sums = ops.stack([offset, ops.square(offset), variance])
    counts = ops.stack([count, count, count - 1.0])
    # Not a product with zero, in which an empty share's NaN would remain.
    sums = ops.where(count > 0, sums * ops.expand_dims(counts, 1), 0.0)
    count, sums = kernels.sum_over_replicas([count, sums])
    offsets, squares, within = ops.unstack(sums)
    offset = offsets / count
    between = ops.maximum(squares - offsets * offset, 0.0)
    freedom = ops.maximum(count - 1.0, 1.0)
    return center + offset, (within + between) / freedom


def _normalize_together(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    relu: bool,
    data_format: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize all replicas' images as one batch, in training."""
    axis = 1 if data_format == "channels_first" else 3
    axes = [i for i in range(4) if i != axis]
    wide = ops.cast(x, "float32")
    count = _count(x, data_format)
    count, mean = kernels.sum_over_replicas([count, ops.sum(wide, axes)])
    mean = mean / count
    # Not the mean square minus the squared mean, which loses digits.
    centered = wide - ops.expand_dims(mean, axes)
    (variance,) = kernels.sum_over_replicas(
        [ops.sum(ops.square(centered), axes)]
    )
    variance = variance / count
    y = ops.batch_normalization(
        wide, mean, variance, axis, beta, gamma, epsilon
    )
    unbiased = variance * (count / ops.maximum(count - 1.0, 1.0))
    y = kernels.relu(y) if relu else y
    return ops.cast(y, x.dtype), mean, unbiased
