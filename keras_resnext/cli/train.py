"""The command `train`: train a model from random weights by a recipe."""

import argparse
import pathlib
from typing import Any

from keras_resnext.cli import training
from keras_resnext.cli import usage
from keras_resnext.training.recipes import Recipe
from keras_resnext.variants import find_variant


def run(args: argparse.Namespace) -> int:
    """Train a model, and return the exit status."""
    with usage():
        find_variant(args.model)
    return training.run(args, train)


def train(args: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """Train a model by a recipe, and return the result."""
    from keras_resnext.training import trainer

    output = args.output or pathlib.Path("runs", f"{args.model}-{args.recipe}")
    strategy, dataset = training.begin(args, recipe, output, args.validation)
    run = trainer.Trainer(
        args.model,
        dataset,
        recipe,
        output,
        strategy=strategy,
        **training.trainer_options(args),
    )
    run.train(args.resume)
    return {**run.result, "directory": str(output)}
