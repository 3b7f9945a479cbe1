"""Learning rates by the epoch, as PyTorch's recipes step them."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_resnext.kernels.generic import Tensor


@keras.saving.register_keras_serializable(package="keras_resnext")
class EpochSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that stays the same for an epoch.

    Args:
        rates: The rate of each epoch. The last one stays after them all.
        steps_per_epoch: Steps of training, a whole number from 1.
        warmup_epochs: Epochs, from the first, within which the rate changes
            with each step instead: in a line from its own rate to the next
            epoch's.

    Raises:
        ValueError: If there is no rate, or no step in an epoch.

    Example:
    >>> schedule = EpochSchedule(multistep(0.1, 90, milestones=(30, 60)), 5005)
    >>> model.compile(keras_resnext.training.optimizers.SGD(schedule))
    """

    def __init__(
        self,
        rates: Sequence[float],
        steps_per_epoch: int,
        warmup_epochs: int = 0,
    ) -> None:
        super().__init__()
        if not rates or steps_per_epoch < 1:
            raise ValueError(
                "A schedule needs the rate of one epoch and one step in it, "
                f"at least. Received: {len(rates)} rates, "
                f"steps_per_epoch={steps_per_epoch}"
            )
        self.rates = list(rates)
        self.steps_per_epoch = steps_per_epoch
        self.warmup_epochs = warmup_epochs

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "int32")
        epoch = step // self.steps_per_epoch
        last = len(self.rates) - 1
        rates = ops.convert_to_tensor(self.rates, "float32")
        rate = ops.take(rates, ops.minimum(epoch, last))
        if not self.warmup_epochs:
            return rate
        following = ops.take(rates, ops.minimum(epoch + 1, last))
        share = ops.cast(step - epoch * self.steps_per_epoch, "float32")
        share = share / self.steps_per_epoch
        risen = rate + share * (following - rate)
        return ops.where(epoch < self.warmup_epochs, risen, rate)

    def get_config(self) -> dict[str, Any]:
        return {
            "rates": self.rates,
            "steps_per_epoch": self.steps_per_epoch,
            "warmup_epochs": self.warmup_epochs,
        }


def multistep(
    rate: float, epochs: int, milestones: Sequence[int], factor: float = 0.1
) -> list[float]:
    """Return rates that drop by a factor at some epochs, counted from 0."""
    return [
        rate * factor ** sum(epoch >= milestone for milestone in milestones)
        for epoch in range(epochs)
    ]


def cosine(
    rate: float,
    epochs: int,
    warmup_epochs: int = 0,
    warmup_factor: float = 0.0,
    min_factor: float = 0.0,
    cosine_after_warmup: bool = True,
) -> list[float]:
    """Return rates that rise linearly, then fall along half a cosine.

    Args:
        rate: The highest.
        epochs: Epochs in all.
        warmup_epochs: Epochs of the rise.
        warmup_factor: Learning rate at the start of the warm-up.
        min_factor: Learning rate at the end of the cosine.
        cosine_after_warmup: Whether the cosine begins where the rise ends, as
            torchvision's; timm's begins with training, and the rise hides
            its first epochs.

    Returns:
        A list of `epochs` rates.
    """
    start = warmup_epochs if cosine_after_warmup else 0

    def at(epoch: int) -> float:
        if epoch < warmup_epochs:
            share = epoch / warmup_epochs
            return warmup_factor + share * (rate - warmup_factor)
        share = (epoch - start) / (epochs - start)
        fall = (1 + math.cos(math.pi * share)) / 2
        return min_factor + fall * (rate - min_factor)

    return [at(epoch) for epoch in range(epochs)]
