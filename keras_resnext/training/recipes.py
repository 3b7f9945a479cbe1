"""Published training recipes: the rows of `recipes.csv`, as `Recipe`s.

A row is a field of a recipe: its value, its source, and whether the value was
read there (*no* means that it was inferred, or is from a source that could not
be opened). The field `base` names a recipe that provides all other fields;
without it they have the defaults of `Recipe`. Sources begin with a key of
`REPOSITORIES`; docs/recipes.md shows them as tables.

print(recipes.get("a2"))
recipe = recipes.get("a2", epochs=100, mixup=0.2)
optimizer = recipe.make_optimizer(steps_per_epoch=625, batch_size=2048)
"""

import csv
import itertools
import operator
import pathlib
from collections.abc import Iterable
from typing import Any
from typing import NamedTuple

from keras_resnext.checks import check_type
from keras_resnext.suggestions import did_you_mean
from keras_resnext.training.recipe import Recipe as Recipe
from keras_resnext.training.recipe import read_field

# Abbreviations in sources, and the commits or pages that were read.
REPOSITORIES = {
    "FB": "github.com/facebookresearch/ResNeXt at 1f59a2c",
    "TV": "github.com/pytorch/vision, references/classification, at 017e9b9",
    "TV 3995": "github.com/pytorch/vision/issues/3995: a command of the new "
    "recipe without FixRes, quoted by its user on 2022-01-07",
    "TV 5935": "github.com/pytorch/vision/pull/5935, of 2022-05-03",
    "TV models": "torchvision/models/resnet.py of torchvision 0.29.1",
    "timm": "github.com/huggingface/pytorch-image-models at aa4b585",
    "timm 2021": "the same at b1c2e3e, of 2021-09, when A1 to A3 appeared",
    "MM": "github.com/open-mmlab/mmpretrain at ee7f2e8",
    "ML-Decoder": "github.com/Alibaba-MIIL/ML_Decoder, README.md: a command of "
    "A2 by other authors",
    "RetinaNet": "arXiv 1708.02002, section 5, from memory",
    "own": "our own choice",
}


class Source(NamedTuple):
    """Source of a recipe's field.

    Args:
        text: File and option, command, or table, of a repository named in
            `REPOSITORIES`.
        read: Whether the value was read there.
    """

    text: str
    read: bool


RECIPES: dict[str, Recipe] = {}
# Sources of each recipe's fields, except those without effect.
SOURCES: dict[str, dict[str, Source]] = {}


def get(name: str, *assignments: str, **values: Any) -> Recipe:
    """Return a recipe by its name, with some fields overridden.

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
    check_type("name", name, str)
    if name not in RECIPES:
        raise ValueError(
            f"There is no recipe {name!r}.{did_you_mean(name, RECIPES)} "
            f"Recipes: {', '.join(RECIPES)}"
        )
    return RECIPES[name].override(*assignments, **values)


def list_recipes() -> list[str]:
    """Return the names of all recipes.

    Example:
    >>> keras_resnext.training.recipes.list_recipes()[:2]
    ['paper', 'cifar_paper']
    """
    return list(RECIPES)


def without_effect(recipe: Recipe) -> set[str]:
    """Return the fields whose values have no effect in a recipe."""
    cosine = recipe.schedule == "cosine"
    rising = ("warmup_factor", "warmup_by_step", "cosine_after_warmup")
    conditions = {
        ("momentum", "nesterov"): recipe.optimizer == "sgd",
        ("milestones",): recipe.schedule == "step",
        ("warmup_epochs", "min_factor"): cosine,
        rising: cosine and recipe.warmup_epochs > 0,
        ("crop_scale", "train_interpolation"): recipe.crop == "random_resized",
        ("magnitude",): recipe.auto_augment == "rand_augment",
        ("erasing_count", "erasing_fill"): recipe.random_erasing > 0,
        ("bce_target_thresh",): recipe.loss == "binary_crossentropy",
        ("ema_steps",): recipe.ema_decay > 0,
    }
    return {
        name
        for names, effective in conditions.items()
        for name in names
        if not effective
    }


def _add(name: str, rows: Iterable[dict[str, str]]) -> None:
    values: dict[str, Any] = {}
    sources = {}
    base = ""
    for row in rows:
        field, value = row["field"], row["value"]
        if field == "base":
            base = value
            continue
        values[field] = read_field(field, value)
        if row["source"]:
            sources[field] = Source(row["source"], row["read"] == "yes")
    if base:
        RECIPES[name] = RECIPES[base].override(name=name, **values)
    else:
        RECIPES[name] = Recipe(name=name, **values)
    idle = without_effect(RECIPES[name])
    SOURCES[name] = {
        field: source
        for field, source in (SOURCES.get(base, {}) | sources).items()
        if field not in idle
    }


_TEXT = pathlib.Path(__file__).with_name("recipes.csv").read_text("utf-8")
for _name, _rows in itertools.groupby(
    csv.DictReader(_TEXT.splitlines()), operator.itemgetter("recipe")
):
    _add(_name, _rows)
