"""Common parts of training commands: recipe, packages and errors."""

import argparse
import contextlib
import importlib.util
import pathlib
import shlex
import sys
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from keras_resnext.cli import Failure
from keras_resnext.cli import UsageError
from keras_resnext.cli import printing
from keras_resnext.cli import usage
from keras_resnext.training import recipes
from keras_resnext.training.recipes import Recipe

if TYPE_CHECKING:
    from keras_resnext.data.datasets import Dataset
    from keras_resnext.training.strategy import Strategy


def run(
    args: argparse.Namespace,
    work: Callable[[argparse.Namespace, Recipe], dict[str, Any]],
) -> int:
    """Train by the recipe of a command line, and return the exit status.

    Args:
        args: Arguments of `training_arguments.add_training`.
        work: Function that trains, and returns the result as JSON values.
    """
    if args.output and args.output.exists() and not args.output.is_dir():
        raise UsageError(f"'{args.output}' is not a folder.")
    with usage():
        recipe = recipes.get(args.recipe)
        if args.epochs:
            recipe = recipe.lasting(args.epochs)
        recipe = recipe.override(*args.set)
    if args.show_recipe:
        print(recipe)
        return 0
    require("tensorflow", "matplotlib")
    from keras_resnext.training import faults
    from keras_resnext.training import progress

    # Scripts that train have no such argument.
    as_json = getattr(args, "json", False)
    progress.CONSOLE.stderr = as_json

    with contextlib.ExitStack() as stack:
        if args.dry_run:
            args.resume = False
            args.output = pathlib.Path(
                stack.enter_context(tempfile.TemporaryDirectory())
            )
            args.steps, recipe = 2, recipe.override(epochs=1)
        try:
            result = work(args, recipe)
        except faults.TrainingStopped as stop:
            words = [word for word in sys.argv[1:] if word != "--resume"]
            program = pathlib.Path(sys.argv[0])
            command = "keras-resnext"
            if program.suffix == ".py" and program.stem != "__main__":
                spec = sys.modules["__main__"].__spec__
                command = (
                    f"python -m {spec.name}" if spec else f"python {program}"
                )
            progress.CONSOLE.print(
                "Stopped and saved. Resume with: "
                f"{command} {shlex.join(words)} --resume",
                soft_wrap=True,
            )
            return 128 + stop.signal
        except (faults.RunError, faults.DivergedError) as error:
            raise Failure(error) from error
    if as_json:
        printing.print_json(result)
    return 0


def trainer_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `Trainer` that a command line sets."""
    names = ("batch_size", "steps", "seed", "precision", "synchronize")
    return {name: getattr(args, name) for name in (*names, "save_steps")}


def directory_of_several(args: argparse.Namespace, name: str) -> pathlib.Path:
    """Return the directory that contains the directories of several runs.

    Args:
        args: The command line.
        name: Name of the default directory in "runs".

    Raises:
        ValueError: If it is not empty, without `--resume`.
    """
    output = args.output or pathlib.Path("runs", name)
    if output.exists() and any(output.iterdir()) and not args.resume:
        raise ValueError(
            f"'{output}' is not empty. Resume its runs (--resume) or use "
            "another directory (--output)."
        )
    return output


def begin(
    args: argparse.Namespace,
    recipe: Recipe,
    output: pathlib.Path,
    validation: bool,
) -> tuple["Strategy", "Dataset"]:
    """Prepare this process, and open the dataset, or noise for a dry run."""
    from keras_resnext.data.loading import load_dataset
    from keras_resnext.data.noise import noise
    from keras_resnext.training import strategy as strategies

    with usage():
        strategy = strategies.prepare(
            args.strategy, args.seed, args.deterministic
        )
    if args.dry_run:
        batch_size = args.batch_size or recipe.batch_size
        return strategy, noise(recipe, batch_size, output)
    try:
        dataset = load_dataset(
            args.dataset, args.data_dir, args.corrupt, validation
        )
    except ImportError as error:  # such as the lack of TFDS
        raise Failure(f"{error}: pip install 'keras_resnext[train]'") from error
    return strategy, dataset


def require(*packages: str) -> None:
    """Check that packages are installed.

    Raises:
        Failure: If a package is missing, with the command that installs it.
    """
    missing = [
        name for name in packages if importlib.util.find_spec(name) is None
    ]
    if "tensorflow" in missing:
        raise Failure(
            "Images are read with TensorFlow, whatever the backend: pip "
            "install tensorflow"
        )
    if missing:
        raise Failure(
            f"Training needs {' and '.join(missing)}: pip install "
            "'keras_resnext[train]'"
        )
