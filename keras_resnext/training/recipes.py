"""Published ways of training, as data.

Where each number is from: `recipe_sources`, and docs/recipes.md.

print(recipes.get("a2"))
recipe = recipes.get("a2", epochs=100, mixup=0.2)
optimizer = recipe.make_optimizer(steps_per_epoch=625, batch_size=2048)
"""

from dataclasses import replace
from typing import Any

from keras_resnext.suggestions import did_you_mean
from keras_resnext.training import recipe_sources as recipe_sources
from keras_resnext.training.recipe import Recipe as Recipe

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
    train_interpolation="bicubic",
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
    mean=(125.3 / 255, 123.0 / 255, 113.9 / 255),
    std=(63.0 / 255, 62.1 / 255, 66.7 / 255),
    crop="padded",
    color_jitter=0.0,
    lighting=0.0,
    sources="github.com/facebookresearch/ResNeXt: README.md, train.lua, "
    "datasets/cifar10.lua; arXiv 1611.05431, section 5.2",
)
_CIFAR_SHORT = replace(
    _CIFAR_PAPER,
    name="cifar_short",
    epochs=36,
    schedule="cosine",
    drops=(),
    decay_norm=False,
    decay_bias=False,
    warmup_epochs=2,
    warmup_rate=0.1,
    label_smoothing=0.1,
    sources="our own, for two CPU cores: weights/resnext23s_4x32d; the rest "
    "is cifar_paper's",
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
    decay_norm=False,
    warmup_epochs=5,
    warmup_rate=0.01,
    evaluation_resize=232,
    policy="trivial_augment_wide",
    erasing=0.1,
    mixup=0.2,
    cutmix=1.0,
    label_smoothing=0.1,
    ema_decay=0.99998,
    ema_steps=32,
    sources="github.com/pytorch/vision: issue 3995, the new recipe without "
    "FixRes, of ResNeXt-50 32x4d's IMAGENET1K_V2",
)
_TORCHVISION_V2_FIXRES = replace(
    _TORCHVISION_V2,
    name="torchvision_v2_fixres",
    train_size=176,
    sources="github.com/pytorch/vision: issue 3995, the new recipe with "
    "FixRes, of ResNeXt-101 32x8d's IMAGENET1K_V2",
)
_TORCHVISION_V2_REPEATED = replace(
    _TORCHVISION_V2_FIXRES,
    name="torchvision_v2_repeated",
    repeats=4,
    sources="github.com/pytorch/vision: pull request 5935, of ResNeXt-101 "
    "64x4d's IMAGENET1K_V1",
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
    decay_norm=False,
    decay_bias=False,
    warmup_epochs=5,
    warmup_rate=1e-5 / 0.6,
    cosine_after_warmup=False,
    interpolation="bicubic",
    train_interpolation="random",
    policy="rand_augment",
    policy_magnitude=7.0,
    erasing=0.4,
    erasing_count=3,
    erasing_fill="noise",
    label_smoothing=0.1,
    zero_init_last=True,
    sources="github.com/huggingface/pytorch-image-models: the command in "
    "training_script.mdx, with the defaults of its train.py",
)
_A1 = Recipe(
    name="a1",
    optimizer="lamb",
    learning_rate=5e-3,
    batch_size=2048,
    epochs=600,
    schedule="cosine",
    weight_decay=0.01,
    decay_norm=False,
    decay_bias=False,
    warmup_epochs=5,
    warmup_rate=1e-4,
    warmup_by_step=True,
    minimum_rate=2e-4,
    cosine_after_warmup=False,
    evaluation_resize=235,
    interpolation="bicubic",
    train_interpolation="random",
    policy="rand_augment",
    policy_magnitude=7.0,
    repeats=3,
    mixup=0.2,
    cutmix=1.0,
    loss="binary_crossentropy",
    label_smoothing=0.1,
    bce_target_thresh=0.2,
    zero_init_last=True,
    stochastic_depth=0.05,
    sources="arXiv 2110.00476, table 2; "
    "github.com/open-mmlab/mmpretrain: configs/resnet/resnet50_8xb256-rsb-a*; "
    "github.com/huggingface/pytorch-image-models: defaults of train.py",
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
_FINETUNE = Recipe(
    name="finetune",
    optimizer="adamw",
    learning_rate=1e-3,
    batch_size=32,
    epochs=12,
    schedule="cosine",
    weight_decay=0.01,
    decay_norm=False,
    decay_bias=False,
    warmup_epochs=1,
    warmup_rate=0.1,
    crop_scale=0.35,
    label_smoothing=0.05,
    dropout=0.2,
    sources="our own: keras-resnext finetune trains the last stage for a "
    "third of the epochs and then all at a tenth of the rate",
)
_RETINANET = Recipe(
    name="retinanet",
    optimizer="sgd",
    learning_rate=0.01,
    batch_size=16,
    epochs=12,
    schedule="step",
    weight_decay=1e-4,
    drops=(8, 11),
    train_size=512,
    evaluation_size=512,
    evaluation_resize=512,
    sources="arXiv 1708.02002, section 5: 90,000 steps, drops after 60,000 and "
    "80,000, which are of COCO's epochs 12.3, 8.2 and 10.9; its pictures are "
    "larger",
)
_RETINANET_SHORT = replace(
    _RETINANET,
    name="retinanet_short",
    optimizer="adamw",
    learning_rate=1e-3,
    epochs=5,
    schedule="cosine",
    weight_decay=0.01,
    decay_norm=False,
    decay_bias=False,
    drops=(),
    warmup_epochs=1,
    warmup_rate=0.1,
    train_size=128,
    evaluation_size=128,
    evaluation_resize=128,
    sources="our own, for two CPU cores: examples/detection/README.md",
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        _PAPER,
        _CIFAR_PAPER,
        _CIFAR_SHORT,
        _TORCHVISION_V1,
        _TORCHVISION_V2,
        _TORCHVISION_V2_FIXRES,
        _TORCHVISION_V2_REPEATED,
        _TIMM_RA,
        _A1,
        _A2,
        _A3,
        _FINETUNE,
        _RETINANET,
        _RETINANET_SHORT,
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
        raise ValueError(
            f"There is no recipe {name!r}.{did_you_mean(name, RECIPES)} "
            f"There are: {', '.join(RECIPES)}"
        )
    return RECIPES[name].override(*assignments, **values)


def list_recipes() -> list[str]:
    """The names of all recipes."""
    return list(RECIPES)
