"""Losses that the recipes need and Keras lacks."""

from typing import Any

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor


@keras.saving.register_keras_serializable(package="keras_resnext")
class BinaryCrossentropy(keras.losses.BinaryCrossentropy):
    """Binary cross-entropy against labels that are made hard first.

    Mixup and cutmix give a label a share of each of two classes. timm's
    `--bce-target-thresh` turns every share above a threshold into 1 and the
    others into 0, label smoothing included.

    Args:
        target_threshold: Threshold, from 0 to below 1.
        from_logits: Whether predictions are logits.
        **kwargs: Arguments of `keras.losses.BinaryCrossentropy`.

    Raises:
        ValueError: If `target_threshold` is out of range.

    References:
        [timm's `BinaryCrossEntropy`](https://github.com/huggingface/pytorch-image-models/blob/main/timm/loss/binary_cross_entropy.py)

    Example:
    >>> loss = BinaryCrossentropy(target_threshold=0.2)
    >>> model.compile("sgd", loss)
    """

    def __init__(
        self, target_threshold: float, from_logits: bool = True, **kwargs: Any
    ) -> None:
        if not 0 <= target_threshold < 1:
            raise ValueError(
                "`target_threshold` must be at least 0 and below 1. "
                f"Received: {target_threshold!r}"
            )
        super().__init__(from_logits=from_logits, **kwargs)
        self.target_threshold = target_threshold

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_pred = ops.convert_to_tensor(y_pred)
        hard = ops.greater(y_true, self.target_threshold)
        return super().call(ops.cast(hard, y_pred.dtype), y_pred)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "target_threshold": self.target_threshold,
        }
