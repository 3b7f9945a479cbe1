"""Training recipe, with its optimizer, schedule and loss."""

import math
import typing
import warnings
from dataclasses import dataclass
from dataclasses import fields
from dataclasses import replace
from typing import Any

import keras

from keras_resnext.checks import check_amount
from keras_resnext.checks import check_fields
from keras_resnext.checks import check_share
from keras_resnext.checks import check_type
from keras_resnext.suggestions import did_you_mean
from keras_resnext.training.averaging import WeightAverage
from keras_resnext.training.losses import BinaryCrossentropy
from keras_resnext.training.losses import CategoricalCrossentropy
from keras_resnext.training.optimizers import LAMB
from keras_resnext.training.optimizers import SGD
from keras_resnext.training.schedules import EpochSchedule
from keras_resnext.training.schedules import cosine
from keras_resnext.training.schedules import multistep
from keras_resnext.weights.records import IMAGENET_MEAN
from keras_resnext.weights.records import IMAGENET_STD

_CHOICES = {
    "optimizer": ("sgd", "lamb", "adamw"),
    "schedule": ("step", "cosine"),
    "crop": ("random_resized", "padded"),
    "interpolation": ("bilinear", "bicubic"),
    "train_interpolation": ("bilinear", "bicubic", "random"),
    "auto_augment": ("none", "trivial_augment_wide", "rand_augment"),
    "erasing_fill": ("mean", "noise"),
    "loss": ("categorical_crossentropy", "binary_crossentropy"),
}
_SHARES = ("momentum", "label_smoothing", "bce_target_thresh", "dropout")
# Number of images that `ema_decay` assumes, as torchvision's dataset has.
IMAGENET_IMAGES = 1_281_167


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of training and evaluation.

    Args:
        name: Name of the recipe.
        optimizer: `"sgd"`, `"lamb"` or `"adamw"`.
        learning_rate: Peak learning rate at `batch_size`.
        batch_size: Images per step, over all devices. For other sizes, the
            learning rate is scaled in proportion.
        epochs: Number of training epochs.
        schedule: `"step"` or `"cosine"`.
        weight_decay: Weight decay of the optimizer.
        sources: Sources of the values.
        momentum: Momentum of SGD.
        nesterov: Whether SGD uses Nesterov momentum.
        decay_norm: Whether scales and offsets of normalization decay.
        decay_bias: Whether other biases decay.
        milestones: Epochs, from 0, at which `"step"` divides the learning
            rate by 10.
        warmup_epochs: Epochs of linear warm-up before `"cosine"`.
        warmup_factor: Start of the warm-up, as a share of `learning_rate`.
        warmup_by_step: Whether the warm-up changes the learning rate at every
            step instead of every epoch.
        min_factor: End of the cosine, as a share of `learning_rate`.
        cosine_after_warmup: Whether the cosine begins after the warm-up
            instead of with training.
        train_size: Height and width of training images, in pixels.
        evaluation_size: Height and width of evaluation images, in pixels.
        evaluation_resize: Shorter side after resizing in evaluation, before
            the center crop, in pixels.
        interpolation: Interpolation in evaluation.
        train_interpolation: Interpolation of random crops in training;
            `"random"` draws `"bilinear"` or `"bicubic"` for each image.
        mean: Mean of red, green and blue of pixels in [0, 1], subtracted.
        std: Standard deviation of each, by which images are divided.
        crop: `"random_resized"`, or `"padded"`: 4 pixels of padding, then a
            random crop.
        crop_scale: Smallest share of an image's area in `"random_resized"`.
        horizontal_flip: Whether half of the images are flipped horizontally.
        color_jitter: Strength of brightness, contrast and saturation changes.
        pca_noise: Standard deviation of noise along the principal components
            of ImageNet's colors.
        auto_augment: `"none"`, `"trivial_augment_wide"` or `"rand_augment"`.
        magnitude: Magnitude of `"rand_augment"`, from 0 to 10.
        random_erasing: Probability that rectangles of an image are erased.
        erasing_count: Maximum number of rectangles, drawn for each image.
        erasing_fill: Values of erased pixels: `"mean"` or `"noise"`.
        repeated_augment: Number of times that an image occurs in an epoch,
            which has as many images as the dataset.
        mixup: Parameter of mixup's beta distribution; 0 for none.
        cutmix: Parameter of cutmix's beta distribution; 0 for none. With
            both, each batch uses one of them.
        loss: `"categorical_crossentropy"` or `"binary_crossentropy"`.
        label_smoothing: Share of a label that is spread over all classes.
        bce_target_thresh: Threshold above which `"binary_crossentropy"` counts
            a class's share of a mixed and smoothed label as 1, otherwise as 0
            (timm's `--bce-target-thresh`); 0 for soft labels.
        zero_init_last: Whether the scale of each block's last normalization
            starts at zero, as in timm.
        stochastic_depth: Drop rate of the last block.
        dropout: Dropout rate of the features before the classifier.
        ema_decay: torchvision's `--model-ema-decay`, from which
            `make_callbacks` derives the decay of an update of the averaged
            weights; 0 for no average.
        ema_steps: Maximum number of steps between two updates.

    Raises:
        ValueError: If a choice is invalid, or a number out of range.

    Example:
    >>> recipe = keras_resnext.training.recipes.get("paper")
    >>> recipe.optimizer, recipe.learning_rate, recipe.milestones
    ('sgd', 0.1, (30, 60, 90))
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
    decay_norm: bool = True
    decay_bias: bool = True
    milestones: tuple[int, ...] = ()
    warmup_epochs: int = 0
    warmup_factor: float = 0.0
    warmup_by_step: bool = False
    min_factor: float = 0.0
    cosine_after_warmup: bool = True
    train_size: int = 224
    evaluation_size: int = 224
    evaluation_resize: int = 256
    interpolation: str = "bilinear"
    train_interpolation: str = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    crop: str = "random_resized"
    crop_scale: float = 0.08
    horizontal_flip: bool = True
    color_jitter: float = 0.0
    pca_noise: float = 0.0
    auto_augment: str = "none"
    magnitude: float = 0.0
    random_erasing: float = 0.0
    erasing_count: int = 1
    erasing_fill: str = "mean"
    repeated_augment: int = 1
    mixup: float = 0.0
    cutmix: float = 0.0
    loss: str = "categorical_crossentropy"
    label_smoothing: float = 0.0
    bce_target_thresh: float = 0.0
    zero_init_last: bool = False
    stochastic_depth: float = 0.0
    dropout: float = 0.0
    ema_decay: float = 0.0
    ema_steps: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}. "
                    f"Received: {value!r}"
                )
        for name in (*_SHARES, "ema_decay"):
            check_share(name, getattr(self, name))
        for name in ("learning_rate", "weight_decay"):
            check_amount(name, getattr(self, name))
        for name in ("batch_size", "epochs", "repeated_augment", "ema_steps"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. "
                    f"Received: {getattr(self, name)!r}"
                )
        if self.bce_target_thresh and self.loss != "binary_crossentropy":
            raise ValueError(
                "`bce_target_thresh` needs loss='binary_crossentropy'. "
                f"Received: bce_target_thresh={self.bce_target_thresh!r}, "
                f"loss={self.loss!r}. Set bce_target_thresh=0."
            )
        if self.evaluation_resize < self.evaluation_size:
            raise ValueError(
                "`evaluation_size` must be at most `evaluation_resize`. "
                f"Received: evaluation_size={self.evaluation_size}, "
                f"evaluation_resize={self.evaluation_resize}"
            )

    def override(self, *assignments: str, **values: Any) -> "Recipe":
        """Return the recipe with some fields overridden.

        Args:
            *assignments: As on a command line: `"epochs=10"`,
                `"milestones=3,6"`, `"nesterov=yes"`.
            **values: The same as Python values.

        Returns:
            Another `Recipe`.

        Raises:
            ValueError: If a field is unknown, or a value can't be read or is
                out of range.

        Example:
        >>> from keras_resnext.training import recipes
        >>> recipe = recipes.get("paper").override("epochs=10", batch_size=64)
        >>> recipe.epochs, recipe.batch_size
        (10, 64)
        """
        for assignment in assignments:
            check_type("assignments", assignment, str)
        words = dict(
            assignment.partition("=")[::2] for assignment in assignments
        )
        for name in (*words, *values):
            if name not in _TYPES:
                raise ValueError(
                    f"A recipe has no field '{name}'."
                    f"{did_you_mean(name, _TYPES)} Fields: "
                    f"{', '.join(_TYPES)}"
                )
        read = {name: read_field(name, word) for name, word in words.items()}
        return replace(self, **read, **values)

    def lasting(self, epochs: int) -> "Recipe":
        """Return the recipe for another number of epochs.

        Milestones scale in proportion, as does the warm-up of a shorter
        recipe; a longer one keeps its warm-up epochs.

        Args:
            epochs: Number of training epochs.

        Returns:
            Another `Recipe`.

        Raises:
            ValueError: If `epochs` is below 1.

        Example:
        >>> from keras_resnext.training import recipes
        >>> recipes.get("torchvision_v1").lasting(10).milestones
        (3, 6, 9)
        """
        share = epochs / self.epochs
        return replace(
            self,
            epochs=epochs,
            milestones=tuple(
                round(milestone * share) for milestone in self.milestones
            ),
            warmup_epochs=round(self.warmup_epochs * min(share, 1)),
        )

    def make_optimizer(
        self, steps_per_epoch: int, batch_size: int | None = None, **kwargs: Any
    ) -> keras.optimizers.Optimizer:
        """Make the optimizer, with its schedule.

        Args:
            steps_per_epoch: Training steps per epoch.
            batch_size: Images per step, over all devices; `None` for the
                recipe's own. The learning rate is scaled in proportion.
            **kwargs: Arguments of the optimizer, such as `global_clipnorm`.

        Returns:
            An `SGD` or `LAMB` of `keras_resnext.training.optimizers`, or
            Keras' `AdamW`, equivalent to PyTorch's. Averages of the weights
            need the callbacks of `make_callbacks`.
        """
        rising = self.warmup_epochs if self.warmup_by_step else 0
        schedule = EpochSchedule(
            self.learning_rates(batch_size), steps_per_epoch, rising
        )
        kwargs = {"weight_decay": self.weight_decay, **kwargs}
        spared = [] if self.decay_norm else ["gamma$", "beta$"]
        spared += [] if self.decay_bias else ["bias$"]
        if self.optimizer == "adamw":
            optimizer = keras.optimizers.AdamW(schedule, **kwargs)
            if spared:
                optimizer.exclude_from_weight_decay(var_names=spared)
            return optimizer
        if not (self.decay_norm or self.decay_bias):
            # As in timm, variables of at most one axis don't decay.
            kwargs = {"exclude_rank": 1, **kwargs}
        else:
            kwargs = {"exclude_rank": -1, "exclude_names": spared, **kwargs}
        if self.optimizer == "lamb":
            return LAMB(schedule, **kwargs)
        return SGD(schedule, self.momentum, self.nesterov, **kwargs)

    def make_callbacks(self, steps_per_epoch: int) -> list[WeightAverage]:
        """Make the callbacks that the recipe needs.

        torchvision divides `1 - ema_decay` by the number of updates in a run,
        up to a factor that is constant for ImageNet. Here the number of images
        counts too, so the average of a run of any length on any dataset covers
        the same share of it as on ImageNet: 1/26 at 0.99998. If this is fewer
        than four times `ema_steps` steps, updates are more frequent. During
        the warm-up, the weights are copied.

        Args:
            steps_per_epoch: Training steps per epoch.

        Returns:
            A `WeightAverage` if the recipe averages the weights, in a list.
            Place it before callbacks that save the model.

        Example:
        >>> from keras_resnext.training import recipes
        >>> recipe = recipes.get("torchvision_v2", epochs=10)
        >>> [type(each).__name__ for each in recipe.make_callbacks(500)]
        ['WeightAverage']
        """
        if not self.ema_decay:
            return []
        run = self.epochs * steps_per_epoch
        warmup = min(self.warmup_epochs * steps_per_epoch, run)
        runs = (1 - self.ema_decay) * IMAGENET_IMAGES
        memory = run / runs
        left = math.exp((warmup - run) / memory)
        if 0.05 < left < 1:
            highest = 1 - 3 * run / (run - warmup) / IMAGENET_IMAGES
            warnings.warn(
                f"The run of {run:,} steps is too short for "
                f"ema_decay={self.ema_decay}: {left:.0%} of the averaged "
                "weights will be those of the first average. Set ema_decay to "
                f"{highest:.7f} or less, or to 0 for no average.",
                stacklevel=2,
            )
        steps = max(1, min(self.ema_steps, int(memory / 4)))
        decay = max(0.0, 1 - steps / memory)
        return [WeightAverage(decay, steps, warmup)]

    def make_loss(self) -> keras.losses.Loss:
        """Make the loss for logits and smoothed labels.

        Labels are smoothed in the data pipeline, after mixing; Keras' binary
        cross-entropy would smooth towards one half. The loss refuses integer
        labels.
        """
        if self.loss == "binary_crossentropy":
            return BinaryCrossentropy(self.bce_target_thresh or None)
        return CategoricalCrossentropy()

    def learning_rates(self, batch_size: int | None = None) -> list[float]:
        """Return the learning rate of each epoch, for a batch size."""
        rate = self.learning_rate * (batch_size or self.batch_size)
        rate /= self.batch_size
        if self.schedule == "step":
            return multistep(rate, self.epochs, self.milestones)
        return cosine(
            rate,
            self.epochs,
            self.warmup_epochs,
            self.warmup_factor,
            self.min_factor,
            self.cosine_after_warmup,
        )

    def __str__(self) -> str:
        """Return a table of the fields, a line each."""
        width = max(map(len, _TYPES))
        return "\n".join(
            f"{name:{width}}  {_written(getattr(self, name))}"
            for name in _TYPES
        )


_TYPES: dict[str, Any] = {field.name: field.type for field in fields(Recipe)}
_WANTED = {bool: "yes or no", int: "a whole number", float: "a number"}


def read_field(name: str, word: str) -> Any:
    """Return a field's value from its form in text.

    Raises:
        ValueError: If it can't be read.
    """
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
        wanted = _WANTED.get(kind, "numbers, such as 30,60")
        raise ValueError(
            f"`{name}` must be {wanted}. Received: {word!r}"
        ) from error


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)
