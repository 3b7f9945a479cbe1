"""What a recipe of training says, and what it makes of that."""

import typing
from dataclasses import dataclass
from dataclasses import fields
from dataclasses import replace
from typing import Any

import keras

from keras_resnext.suggestions import did_you_mean
from keras_resnext.training.optimizers import LAMB
from keras_resnext.training.optimizers import SGD
from keras_resnext.training.schedules import ByEpoch
from keras_resnext.training.schedules import cosine_rates
from keras_resnext.training.schedules import step_rates
from keras_resnext.weights.records import IMAGENET_MEAN
from keras_resnext.weights.records import IMAGENET_STD

_CHOICES = {
    "optimizer": ("sgd", "lamb", "adamw"),
    "schedule": ("step", "cosine"),
    "crop": ("random_resized", "padded"),
    "interpolation": ("bilinear", "bicubic"),
    "policy": ("none", "trivial_augment_wide", "rand_augment"),
    "erasing_fill": ("mean", "noise"),
    "loss": ("categorical_crossentropy", "binary_crossentropy"),
}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained and measured.

    Args:
        name: What it is called here.
        optimizer: `"sgd"`, `"lamb"` or `"adamw"`.
        learning_rate: The highest, for `batch_size` pictures a step.
        batch_size: Pictures a step, over all devices. The learning rate
            follows another size in proportion.
        epochs: How often all pictures are seen.
        schedule: `"step"` or `"cosine"`.
        weight_decay: The optimizer's.
        sources: Where the numbers are from.
        momentum: SGD's.
        nesterov: Whether SGD looks a step ahead.
        decay_all: Whether biases and normalization decay too.
        drops: Epochs, from 0, at which `"step"` divides the rate by 10.
        warmup_epochs: Epochs in which the rate rises before `"cosine"`.
        warmup_rate: Where it begins, as a share of `learning_rate`.
        minimum_rate: What it falls towards, as a share of `learning_rate`.
        cosine_after_warmup: Whether the cosine begins after the rise, not
            beneath it.
        train_size: Height and width of pictures in training, in pixels.
        evaluation_size: The same in evaluation.
        evaluation_resize: The shorter side that pictures are resized to
            before evaluation crops them.
        interpolation: How pictures are resized.
        mean: Mean of red, green and blue, taken off pixels in [0, 1].
        std: Deviation of each, which they are then divided by.
        crop: `"random_resized"`, or `"padded"`: by 4 pixels, then cropped.
        crop_scale: The least share of a picture that `"random_resized"` keeps.
        flip: Whether every other picture is mirrored.
        color_jitter: Strength of changes of brightness, contrast, saturation.
        lighting: Deviation of noise along the colours' principal components.
        policy: Random operations on a picture, besides.
        policy_magnitude: How strong `"rand_augment"`'s are, from 0 to 10.
        erasing: Probability that rectangles of a picture are erased.
        erasing_count: The most rectangles.
        erasing_fill: What they give way to: `"mean"` or `"noise"`.
        repeats: How often a picture stands in an epoch, which then ends when
            as many pictures as there are have been seen.
        mixup: The beta distribution's parameter; 0 for none.
        cutmix: The same. Batches switch between both, if there are both.
        loss: Cross-entropy over classes, or of each class.
        label_smoothing: Share of a label that goes to all classes.
        stochastic_depth: Probability that the last block is skipped.
        dropout: Share of features dropped before the classifier.
        ema: Share of the weights' average that an update of it keeps; 0 for
            no average.
        ema_steps: Steps between its updates.

    Raises:
        ValueError: If a choice is none of those, or a number out of range.
    """

    name: str
    optimizer: str
    learning_rate: float
    batch_size: int
    epochs: int
    schedule: str
    weight_decay: float
    sources: str
    momentum: float = 0.9
    nesterov: bool = False
    decay_all: bool = True
    drops: tuple[int, ...] = ()
    warmup_epochs: int = 0
    warmup_rate: float = 0.0
    minimum_rate: float = 0.0
    cosine_after_warmup: bool = True
    train_size: int = 224
    evaluation_size: int = 224
    evaluation_resize: int = 256
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    crop: str = "random_resized"
    crop_scale: float = 0.08
    flip: bool = True
    color_jitter: float = 0.0
    lighting: float = 0.0
    policy: str = "none"
    policy_magnitude: float = 0.0
    erasing: float = 0.0
    erasing_count: int = 1
    erasing_fill: str = "mean"
    repeats: int = 1
    mixup: float = 0.0
    cutmix: float = 0.0
    loss: str = "categorical_crossentropy"
    label_smoothing: float = 0.0
    stochastic_depth: float = 0.0
    dropout: float = 0.0
    ema: float = 0.0
    ema_steps: int = 1

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}. "
                    f"Received: {value!r}"
                )
        for name in ("momentum", "label_smoothing", "dropout", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 0 and below 1. "
                    f"Received: {getattr(self, name)!r}"
                )
        for name in ("batch_size", "epochs", "repeats", "ema_steps"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. "
                    f"Received: {getattr(self, name)!r}"
                )
        if self.evaluation_resize < self.evaluation_size:
            raise ValueError(
                "Evaluation can't crop more than there is. Received: "
                f"evaluation_size={self.evaluation_size}, "
                f"evaluation_resize={self.evaluation_resize}"
            )

    def override(self, *assignments: str, **values: Any) -> "Recipe":
        """The recipe with other values in some of its fields.

        Args:
            *assignments: As on a command line: `"epochs=10"`, `"drops=3,6"`,
                `"nesterov=yes"`.
            **values: The same as Python values.

        Returns:
            Another `Recipe`.

        Raises:
            ValueError: If a field is unknown, with the nearest that is not,
                or if a value can't be read or is out of range.

        Example:
        >>> recipes.get("paper").override("epochs=10", batch_size=64)
        """
        words = dict(
            assignment.partition("=")[::2] for assignment in assignments
        )
        for name in (*words, *values):
            if name not in _TYPES:
                raise ValueError(
                    f"A recipe has no field '{name}'."
                    f"{did_you_mean(name, _TYPES)} There are: "
                    f"{', '.join(_TYPES)}"
                )
        read = {name: _read(name, word) for name, word in words.items()}
        return replace(self, **read, **values)

    def lasting(self, epochs: int) -> "Recipe":
        """The recipe in another number of epochs.

        Drops keep their share of the epochs. So does the rise of the rate in
        a shorter recipe, which would else be over before the rate falls; in a
        longer one it stays as it is.

        Args:
            epochs: How often all pictures are to be seen.

        Returns:
            Another `Recipe`.

        Raises:
            ValueError: If `epochs` is below 1.

        Example:
        >>> recipes.get("torchvision_v1").lasting(10).drops
        (3, 6, 9)
        """
        share = epochs / self.epochs
        return replace(
            self,
            epochs=epochs,
            drops=tuple(round(drop * share) for drop in self.drops),
            warmup_epochs=round(self.warmup_epochs * min(share, 1)),
        )

    def make_optimizer(
        self, steps_per_epoch: int, batch_size: int | None = None, **kwargs: Any
    ) -> keras.optimizers.Optimizer:
        """The optimizer, with its schedule.

        Args:
            steps_per_epoch: Steps of training in an epoch.
            batch_size: Pictures a step, over all devices; `None` for the
                recipe's own. The learning rate is scaled in proportion.
            **kwargs: Of the optimizer, such as `global_clipnorm`.

        Returns:
            An `SGD` or `LAMB` of `keras_resnext.training.optimizers`, or
            Keras' `AdamW`, which is PyTorch's. If the recipe averages the
            weights it does so in each step, with what comes to the same over
            `ema_steps`.
        """
        schedule = ByEpoch(self.rates(batch_size), steps_per_epoch)
        kwargs = {"weight_decay": self.weight_decay, **kwargs}
        if self.ema:
            kept = self.ema ** (1 / self.ema_steps)
            kwargs = {"use_ema": True, "ema_momentum": kept, **kwargs}
        if self.optimizer == "adamw":
            optimizer = keras.optimizers.AdamW(schedule, **kwargs)
            if not self.decay_all:
                names = ["bias", "beta", "gamma"]
                optimizer.exclude_from_weight_decay(var_names=names)
            return optimizer
        kwargs = {"exclude_rank": -1 if self.decay_all else 1, **kwargs}
        if self.optimizer == "lamb":
            return LAMB(schedule, **kwargs)
        return SGD(schedule, self.momentum, self.nesterov, **kwargs)

    def make_loss(self) -> keras.losses.Loss:
        """The loss of logits and of labels that are smoothed already.

        Labels are smoothed with the pictures, as mixing them comes first;
        Keras' binary cross-entropy would smooth towards a half.
        """
        if self.loss == "binary_crossentropy":
            return keras.losses.BinaryCrossentropy(from_logits=True)
        return keras.losses.CategoricalCrossentropy(from_logits=True)

    def rates(self, batch_size: int | None = None) -> list[float]:
        """The learning rate of each epoch, for so many pictures a step."""
        rate = self.learning_rate * (batch_size or self.batch_size)
        rate /= self.batch_size
        if self.schedule == "step":
            return step_rates(rate, self.epochs, self.drops)
        return cosine_rates(
            rate,
            self.epochs,
            self.warmup_epochs,
            self.warmup_rate * rate,
            self.minimum_rate * rate,
            self.cosine_after_warmup,
        )

    def __str__(self) -> str:
        """A table of its fields, a line each."""
        width = max(map(len, _TYPES))
        return "\n".join(
            f"{name:{width}}  {_written(getattr(self, name))}"
            for name in _TYPES
        )


_TYPES: dict[str, Any] = {field.name: field.type for field in fields(Recipe)}
_WANTED = {bool: "yes or no", int: "a whole number", float: "a number"}


def _read(name: str, word: str) -> Any:
    kind = _TYPES[name]
    try:
        if kind is bool:
            return {"yes": True, "true": True, "no": False, "false": False}[
                word.lower()
            ]
        if typing.get_origin(kind) is tuple:
            (number, _) = typing.get_args(kind)
            return tuple(number(part) for part in word.split(",") if part)
        return kind(word)
    except (ValueError, KeyError) as error:
        wanted = _WANTED.get(kind, "numbers, as 30,60")
        raise ValueError(
            f"`{name}` must be {wanted}. Received: {word!r}"
        ) from error


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)
