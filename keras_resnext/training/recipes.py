"""Published ways of training, as data: every number, and where it is from.

print(recipes.get("a2"))
recipe = recipes.get("a2", epochs=100, mixup=0.2)
optimizer = recipe.make_optimizer(steps_per_epoch=625, batch_size=2048)
"""

import difflib
import typing
from dataclasses import dataclass
from dataclasses import fields
from dataclasses import replace
from typing import Any

import keras

from keras_resnext.training.optimizers import LAMB
from keras_resnext.training.optimizers import SGD
from keras_resnext.training.schedules import ByEpoch
from keras_resnext.training.schedules import cosine_rates
from keras_resnext.training.schedules import step_rates

_CHOICES = {
    "optimizer": ("sgd", "lamb"),
    "schedule": ("step", "cosine"),
    "crop": ("random_resized", "padded"),
    "interpolation": ("bilinear", "bicubic"),
    "policy": ("none", "trivial_augment_wide", "rand_augment"),
    "loss": ("categorical_crossentropy", "binary_crossentropy"),
}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained and measured.

    Args:
        name: What it is called here.
        optimizer: `"sgd"` or `"lamb"`.
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
        crop: `"random_resized"`, or `"padded"`: by 4 pixels, then cropped.
        color_jitter: Strength of changes of brightness, contrast, saturation.
        lighting: Deviation of noise along the colours' principal components.
        policy: Random operations on a picture, besides.
        policy_magnitude: How strong `"rand_augment"`'s are, from 0 to 10.
        erasing: Probability that rectangles of a picture are erased.
        erasing_count: The most rectangles.
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
    crop: str = "random_resized"
    color_jitter: float = 0.0
    lighting: float = 0.0
    policy: str = "none"
    policy_magnitude: float = 0.0
    erasing: float = 0.0
    erasing_count: int = 1
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
                near = difflib.get_close_matches(name, _TYPES, n=1)
                hint = f" Did you mean `{near[0]}`?" if near else ""
                raise ValueError(
                    f"A recipe has no field `{name}`.{hint} There are: "
                    f"{', '.join(_TYPES)}"
                )
        read = {name: _read(name, word) for name, word in words.items()}
        return replace(self, **read, **values)

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
            An `SGD` or a `LAMB` of `keras_resnext.training.optimizers`. If
            the recipe averages the weights it does so in each step, with what
            comes to the same over `ema_steps`.
        """
        schedule = ByEpoch(self.rates(batch_size), steps_per_epoch)
        kwargs = {
            "weight_decay": self.weight_decay,
            "exclude_rank": -1 if self.decay_all else 1,
            **kwargs,
        }
        if self.ema:
            kept = self.ema ** (1 / self.ema_steps)
            kwargs = {"use_ema": True, "ema_momentum": kept, **kwargs}
        if self.optimizer == "lamb":
            return LAMB(schedule, **kwargs)
        return SGD(schedule, self.momentum, self.nesterov, **kwargs)

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
            return tuple(int(part) for part in word.split(",") if part)
        return kind(word)
    except (ValueError, KeyError) as error:
        wanted = _WANTED.get(kind, "whole numbers, as 30,60")
        raise ValueError(
            f"`{name}` must be {wanted}. Received: {word!r}"
        ) from error


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


# The recipes -----------------------------------------------------------------

_PAPER = Recipe(
    name="paper",
    optimizer="sgd",
    learning_rate=0.1,
    batch_size=256,
    epochs=100,
    schedule="step",
    weight_decay=1e-4,
    nesterov=True,
    drops=(30, 60, 90),
    interpolation="bicubic",
    color_jitter=0.4,
    lighting=0.1,
    sources="github.com/facebookresearch/ResNeXt: opts.lua, train.lua, "
    "datasets/imagenet.lua; arXiv 1611.05431, section 4",
)
_CIFAR_PAPER = replace(
    _PAPER,
    name="cifar_paper",
    batch_size=128,
    epochs=300,
    weight_decay=5e-4,
    drops=(147, 222),
    train_size=32,
    evaluation_size=32,
    evaluation_resize=32,
    crop="padded",
    color_jitter=0.0,
    lighting=0.0,
    sources="github.com/facebookresearch/ResNeXt: README.md, train.lua, "
    "datasets/cifar10.lua; arXiv 1611.05431, section 5.2",
)
_TORCHVISION_V1 = Recipe(
    name="torchvision_v1",
    optimizer="sgd",
    learning_rate=0.4,
    batch_size=1024,
    epochs=100,
    schedule="step",
    weight_decay=1e-4,
    drops=(30, 60, 90),
    sources="github.com/pytorch/vision: references/classification/README.md",
)
_TORCHVISION_V2 = Recipe(
    name="torchvision_v2",
    optimizer="sgd",
    learning_rate=0.5,
    batch_size=1024,
    epochs=600,
    schedule="cosine",
    weight_decay=2e-5,
    decay_all=False,
    warmup_epochs=5,
    warmup_rate=0.01,
    train_size=176,
    evaluation_resize=232,
    policy="trivial_augment_wide",
    erasing=0.1,
    repeats=4,
    mixup=0.2,
    cutmix=1.0,
    label_smoothing=0.1,
    # Its model-ema-decay of 0.99998, as train.py turns it into one for steps.
    ema=1 - (1 - 0.99998) * 1024 * 32 / 600,
    ema_steps=32,
    sources="github.com/pytorch/vision: issue 3995 and pull request 5935; "
    "the share at which the rate begins: train.py's default",
)
_TIMM_RA = Recipe(
    name="timm_ra",
    optimizer="sgd",
    learning_rate=0.6,
    batch_size=1536,
    epochs=240,
    schedule="cosine",
    weight_decay=1e-4,
    nesterov=True,
    decay_all=False,
    warmup_epochs=5,
    cosine_after_warmup=False,
    interpolation="bicubic",
    policy="rand_augment",
    policy_magnitude=7.0,
    erasing=0.4,
    erasing_count=3,
    label_smoothing=0.1,
    sources="github.com/huggingface/pytorch-image-models: training_script.mdx, "
    "which does not say where the rate begins",
)
_A1 = Recipe(
    name="a1",
    optimizer="lamb",
    learning_rate=5e-3,
    batch_size=2048,
    epochs=600,
    schedule="cosine",
    weight_decay=0.01,
    decay_all=False,
    warmup_epochs=5,
    minimum_rate=2e-4,
    cosine_after_warmup=False,
    evaluation_resize=236,
    interpolation="bicubic",
    policy="rand_augment",
    policy_magnitude=7.0,
    repeats=3,
    mixup=0.2,
    cutmix=1.0,
    loss="binary_crossentropy",
    label_smoothing=0.1,
    stochastic_depth=0.05,
    sources="arXiv 2110.00476, table 2; "
    "github.com/open-mmlab/mmpretrain: configs/resnet/resnet50_8xb256-rsb-a*, "
    "which do not say where the rate begins",
)
_A2 = replace(
    _A1,
    name="a2",
    epochs=300,
    weight_decay=0.02,
    mixup=0.1,
    label_smoothing=0.0,
)
_A3 = replace(
    _A2,
    name="a3",
    learning_rate=8e-3,
    epochs=100,
    minimum_rate=1.25e-4,
    train_size=160,
    policy_magnitude=6.0,
    repeats=1,
    stochastic_depth=0.0,
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        _PAPER,
        _CIFAR_PAPER,
        _TORCHVISION_V1,
        _TORCHVISION_V2,
        _TIMM_RA,
        _A1,
        _A2,
        _A3,
    )
}


def get(name: str, *assignments: str, **values: Any) -> Recipe:
    """A recipe by its name, with other values in some of its fields.

    Args:
        name: One of `list_recipes()`.
        *assignments: As for `Recipe.override`.
        **values: As for `Recipe.override`.

    Returns:
        A `Recipe`.

    Raises:
        ValueError: If there is no such recipe, field or value.

    Example:
    >>> print(keras_resnext.training.recipes.get("a2", epochs=100))
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name.lower(), RECIPES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"There is no recipe {name!r}.{hint} There are: "
            f"{', '.join(RECIPES)}"
        )
    return RECIPES[name].override(*assignments, **values)


def list_recipes() -> list[str]:
    """The names of all recipes."""
    return list(RECIPES)
