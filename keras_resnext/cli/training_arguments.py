"""Arguments that training commands and scripts share."""

import argparse

from keras_resnext.cli.types import path
from keras_resnext.cli.types import positive
from keras_resnext.training import recipes

STRATEGIES = ("auto", "none", "mirrored", "multiworker", "jax")
PRECISIONS = ("float32", "bfloat16", "float16")
FOLDER = (
    "folder that contains class/*.jpg, or train/class/*.jpg and "
    "validation/class/*.jpg or test/class/*.jpg; or a name of TensorFlow "
    "Datasets"
)


def add_training(
    parser: argparse.ArgumentParser, recipe: str, output: str
) -> None:
    """Add the arguments of a training run.

    Args:
        parser: The parser of a command.
        recipe: Name of the default recipe.
        output: Name of the default run directory, in words.
    """
    what = parser.add_argument_group("training")
    what.add_argument(
        "--recipe",
        default=recipe,
        metavar="NAME",
        help=f"one of {', '.join(recipes.list_recipes())} (default: {recipe})",
    )
    what.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help="number of training epochs; warm-up and milestones of the "
        "learning rate scale in proportion (default: the recipe's)",
    )
    what.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help="fields of the recipe to override, such as mixup=0.2",
    )
    what.add_argument(
        "--show-recipe",
        action="store_true",
        help="print the fields of the recipe, and exit",
    )
    what.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="images per step, over all devices; the learning rate scales "
        "in proportion (default: the recipe's)",
    )
    what.add_argument(
        "--steps",
        type=positive,
        metavar="N",
        help="steps per epoch (default: all images)",
    )
    what.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of all randomness (default: 0)",
    )
    what.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder of TensorFlow Datasets' files "
        "(default: ~/tensorflow_datasets)",
    )
    what.add_argument(
        "--corrupt",
        choices=("error", "skip"),
        default="error",
        help="treatment of files that are not images (default: error)",
    )
    how = parser.add_argument_group("hardware")
    how.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="auto",
        help="distribution over devices and machines (default: auto)",
    )
    how.add_argument(
        "--synchronize",
        action="store_true",
        help="compute batch statistics over all devices (TensorFlow; on JAX "
        "they always are)",
    )
    how.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="precision of the computation; weights stay float32 "
        "(default: float32)",
    )
    how.add_argument(
        "--deterministic",
        action="store_true",
        help="make results reproducible, at a lower speed",
    )
    where = parser.add_argument_group("run directory")
    where.add_argument(
        "--output",
        type=path,
        metavar="FOLDER",
        help=f"directory of the run (default: runs/{output})",
    )
    where.add_argument(
        "--resume",
        action="store_true",
        help="resume from the last checkpoint of the run, if there is one",
    )
    where.add_argument(
        "--save-steps",
        type=positive,
        default=1000,
        metavar="N",
        help="steps between checkpoints; one is also saved after each epoch "
        "(default: 1000)",
    )
    where.add_argument(
        "--dry-run",
        action="store_true",
        help="run two steps of everything on noise, and keep no files",
    )
