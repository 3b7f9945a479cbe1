"""Learning rates by epoch, as in PyTorch's recipes."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor


@keras.saving.register_keras_serializable(package="keras_resnext")
class EpochSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that changes at the end of each epoch.

    Args:
        learning_rates: Learning rate of each epoch. The last one also applies
            afterwards.
        steps_per_epoch: Number of training steps in an epoch, from 1.
        warmup_epochs: Number of epochs at the start in which the learning
            rate changes at every step instead, linearly from the epoch's own
            to the next epoch's.

    Raises:
        ValueError: If there is no learning rate, or no step in an epoch.

    Example:
    >>> from keras_resnext.training import schedules
    >>> rates = schedules.multistep(0.1, 90, milestones=(30, 60))
    >>> schedule = schedules.EpochSchedule(rates, steps_per_epoch=5005)
    >>> f"{float(schedule(30 * 5005)):.3f}"
    '0.010'
    """

    def __init__(
        self,
        learning_rates: Sequence[float],
        steps_per_epoch: int,
        warmup_epochs: int = 0,
    ) -> None:
        super().__init__()
        if not learning_rates or steps_per_epoch < 1:
            raise ValueError(
                "A schedule needs the learning rate of at least one epoch, and "
                f"at least one step per epoch. Received: {len(learning_rates)} "
                f"learning rates, steps_per_epoch={steps_per_epoch}"
            )
        self.learning_rates = list(learning_rates)
        self.steps_per_epoch = steps_per_epoch
        self.warmup_epochs = warmup_epochs

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "int32")
        epoch = step // self.steps_per_epoch
        last = len(self.learning_rates) - 1
        rates = ops.convert_to_tensor(self.learning_rates, "float32")
        rate = ops.take(rates, ops.minimum(epoch, last))
        if not self.warmup_epochs:
            return rate
        following = ops.take(rates, ops.minimum(epoch + 1, last))
        share = ops.cast(step - epoch * self.steps_per_epoch, "float32")
        share = share / self.steps_per_epoch
        warmup = rate + share * (following - rate)
        return ops.where(epoch < self.warmup_epochs, warmup, rate)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rates": self.learning_rates,
            "steps_per_epoch": self.steps_per_epoch,
            "warmup_epochs": self.warmup_epochs,
        }


def multistep(
    learning_rate: float,
    epochs: int,
    milestones: Sequence[int],
    factor: float = 0.1,
) -> list[float]:
    """Compute learning rates that drop by a factor at some epochs.

    Args:
        learning_rate: Learning rate of the first epoch.
        epochs: Number of epochs.
        milestones: Epochs, from 0, at which the learning rate drops.
        factor: Factor by which each milestone multiplies it.

    Returns:
        A list of `epochs` learning rates, as from torch's `MultiStepLR`.

    Example:
    >>> rates = keras_resnext.training.schedules.multistep(0.1, 4, (1, 3))
    >>> [round(rate, 3) for rate in rates]
    [0.1, 0.01, 0.01, 0.001]
    """
    return [
        learning_rate
        * factor ** sum(epoch >= milestone for milestone in milestones)
        for epoch in range(epochs)
    ]


def cosine(
    learning_rate: float,
    epochs: int,
    warmup_epochs: int = 0,
    warmup_factor: float = 0.0,
    min_factor: float = 0.0,
    cosine_after_warmup: bool = True,
) -> list[float]:
    """Compute learning rates that warm up linearly, then follow a cosine.

    Args:
        learning_rate: Peak learning rate.
        epochs: Number of epochs.
        warmup_epochs: Number of epochs of the warm-up.
        warmup_factor: Start of the warm-up, as a share of `learning_rate`.
        min_factor: End of the cosine, as a share of `learning_rate`.
        cosine_after_warmup: Whether the cosine begins after the warm-up, as in
            torchvision; in timm it begins with training, and the warm-up
            replaces its first epochs.

    Returns:
        A list of `epochs` learning rates.

    Example:
    >>> rates = keras_resnext.training.schedules.cosine(0.1, 4)
    >>> [round(rate, 3) for rate in rates]
    [0.1, 0.085, 0.05, 0.015]
    """
    start = warmup_epochs if cosine_after_warmup else 0
    lowest, last = warmup_factor * learning_rate, min_factor * learning_rate

    def at(epoch: int) -> float:
        if epoch < warmup_epochs:
            share = epoch / warmup_epochs
            return lowest + share * (learning_rate - lowest)
        share = (epoch - start) / (epochs - start)
        fall = (1 + math.cos(math.pi * share)) / 2
        return last + fall * (learning_rate - last)

    return [at(epoch) for epoch in range(epochs)]
