"""Losses of the recipes, for labels that are probabilities."""

from typing import Any

import keras
from keras import ops

from keras_resnext.checks import check_share
from keras_resnext.kernels.generic import Tensor


@keras.saving.register_keras_serializable(package="keras_resnext")
class CategoricalCrossentropy(keras.losses.CategoricalCrossentropy):
    """`keras.losses.CategoricalCrossentropy` that refuses integer labels.

    Args:
        from_logits: Whether predictions are logits.
        **kwargs: Arguments of `keras.losses.CategoricalCrossentropy`.

    Raises:
        ValueError: When called on labels of another shape than predictions.

    Example:
    >>> model.compile("sgd", CategoricalCrossentropy())
    """

    def __init__(self, from_logits: bool = True, **kwargs: Any) -> None:
        super().__init__(from_logits=from_logits, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        _check_labels(y_true, y_pred)
        return super().call(y_true, y_pred)


@keras.saving.register_keras_serializable(package="keras_resnext")
class BinaryCrossentropy(keras.losses.BinaryCrossentropy):
    """Binary cross-entropy with an optional threshold for labels.

    Mixup and cutmix give a label a share of each of two classes. timm's
    `--bce-target-thresh` turns every share above a threshold into 1 and the
    others into 0, label smoothing included.

    Args:
        target_threshold: Threshold, from 0 to below 1; `None` for unchanged
            labels.
        from_logits: Whether predictions are logits.
        **kwargs: Arguments of `keras.losses.BinaryCrossentropy`.

    Raises:
        ValueError: If `target_threshold` is out of range, or when called on
            labels of another shape than predictions.

    References:
        [timm's `BinaryCrossEntropy`](https://github.com/huggingface/pytorch-image-models/blob/main/timm/loss/binary_cross_entropy.py)

    Example:
    >>> loss = BinaryCrossentropy(target_threshold=0.2)
    >>> model.compile("sgd", loss)
    """

    def __init__(
        self,
        target_threshold: float | None = None,
        from_logits: bool = True,
        **kwargs: Any,
    ) -> None:
        if target_threshold is not None:
            check_share("target_threshold", target_threshold)
        super().__init__(from_logits=from_logits, **kwargs)
        self.target_threshold = target_threshold

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        _check_labels(y_true, y_pred)
        if self.target_threshold is None:
            return super().call(y_true, y_pred)
        y_pred = ops.convert_to_tensor(y_pred)
        hard = ops.greater(y_true, self.target_threshold)
        return super().call(ops.cast(hard, y_pred.dtype), y_pred)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "target_threshold": self.target_threshold,
        }


def _check_labels(y_true: Tensor, y_pred: Tensor) -> None:
    classes = y_pred.shape[-1]
    if len(y_true.shape) != len(y_pred.shape) or y_true.shape[-1] != classes:
        raise ValueError(
            "The loss of a recipe takes labels as probabilities, (batch, "
            f"{classes}). Received shape: {tuple(y_true.shape)}. Convert "
            "integers with keras.ops.one_hot."
        )
