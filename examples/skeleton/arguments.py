"""The command line of the training scripts."""

import argparse
import pathlib
from dataclasses import dataclass

import command

import keras_resnext
from keras_resnext.training import recipes
from keras_resnext.training.recipes import Recipe

POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}
FOLDERS = (
    "a name of TensorFlow Datasets, or a folder that holds "
    "train/class/*.jpg and validation/class/*.jpg or test/class/*.jpg"
)
STRATEGIES = ("auto", "none", "mirrored", "multiworker", "jax")


@dataclass(frozen=True)
class Defaults:
    """What a script does if nothing is said.

    Args:
        dataset: A folder, or a name of TFDS.
        model: A name of `keras_resnext.list_models()`, `None` if that
            depends on the data set.
        recipe: A name of `keras_resnext.training.recipes.list_recipes()`.
        output: What the output folder in "runs" is called, in words.
    """

    dataset: str
    model: str | None
    recipe: str
    output: str = "MODEL-RECIPE"


def parser(
    description: str,
    defaults: Defaults,
    one_model: bool = True,
    folders: bool = True,
) -> argparse.ArgumentParser:
    """The command line of a script.

    Args:
        description: What it does.
        defaults: What it does if nothing is said.
        one_model: Whether it trains one network, which can be named.
        folders: Whether it takes folders of pictures, too.
    """
    made = command.parser(description)
    what = made.add_argument_group("what is trained")
    what.add_argument(
        "--dataset",
        default=defaults.dataset,
        metavar="NAME",
        help=FOLDERS if folders else "a name of TensorFlow Datasets",
    )
    if one_model:
        what.add_argument(
            "--model",
            default=defaults.model,
            type=model_name,
            metavar="NAME",
            help="a name of keras_resnext.list_models()",
        )
    what.add_argument(
        "--recipe",
        default=defaults.recipe,
        metavar="NAME",
        help=f"one of {', '.join(recipes.list_recipes())}",
    )
    what.add_argument(
        "--epochs",
        type=command.positive,
        metavar="N",
        help="passes over the pictures; the learning rate's rise and drops "
        "follow in proportion (default: the recipe's)",
    )
    what.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help="other values for fields of the recipe, as mixup=0.2 cutmix=1",
    )
    what.add_argument(
        "--show-recipe", action="store_true", help="print the recipe and end"
    )
    what.add_argument(
        "--batch-size",
        type=command.positive,
        metavar="N",
        help="pictures a step, over all devices; the learning rate follows "
        "in proportion (default: the recipe's)",
    )
    what.add_argument(
        "--steps",
        type=command.positive,
        metavar="N",
        help="steps of an epoch (default: all there are)",
    )
    what.add_argument("--seed", type=int, default=0, help="of all randomness")
    what.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="where TensorFlow Datasets keeps its files "
        "(default: ~/tensorflow_datasets)",
    )
    if folders:
        what.add_argument(
            "--corrupt",
            choices=("error", "skip"),
            default="error",
            help="what a file that is no picture gets",
        )
    how = made.add_argument_group("how")
    how.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="auto",
        help="over which devices or machines",
    )
    how.add_argument(
        "--synchronize",
        action="store_true",
        help="batch statistics over all devices (TensorFlow; JAX always does)",
    )
    how.add_argument(
        "--precision",
        choices=tuple(POLICIES),
        default="float32",
        help="of the computation; weights stay float32",
    )
    how.add_argument(
        "--deterministic",
        action="store_true",
        help="the same numbers every time, and slower",
    )
    where = made.add_argument_group("where to, and from where on")
    where.add_argument(
        "--output",
        type=pathlib.Path,
        metavar="FOLDER",
        help=f"the run's folder (default: runs/{defaults.output})",
    )
    where.add_argument(
        "--resume",
        action="store_true",
        help="go on from the run's last checkpoint, if there is one",
    )
    where.add_argument(
        "--save-steps",
        type=command.positive,
        default=1000,
        metavar="N",
        help="steps between checkpoints; each epoch ends with one, too",
    )
    where.add_argument(
        "--dry-run",
        action="store_true",
        help="two steps of everything, on noise, and nothing kept",
    )
    return made


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The recipe, with what the command line says of its fields.

    Raises:
        ValueError: If there is no such recipe, field or value.
    """
    recipe = recipes.get(args.recipe)
    if args.epochs:
        recipe = recipe.lasting(args.epochs)
    return recipe.override(*args.set)


def model_name(text: str) -> str:
    models = keras_resnext.list_models()
    if text not in models:
        raise argparse.ArgumentTypeError(
            f"there is no model {text!r}."
            f"{keras_resnext.suggestions.did_you_mean(text, models)} "
            f"There are: {', '.join(models)}"
        )
    return text
