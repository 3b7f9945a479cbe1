"""What a training script does, and what becomes of its errors."""

import argparse
import contextlib
import functools
import pathlib
import tempfile
from collections.abc import Callable

import command

import keras_resnext
from keras_resnext.training.recipes import Recipe
from skeleton import arguments
from skeleton import faults
from skeleton import loop
from skeleton import prepare

# Does what a script is for, and returns its exit status.
Work = Callable[[argparse.Namespace, Recipe], int]


def main(parser: argparse.ArgumentParser, work: Work) -> int:
    """Runs a script; the result is its exit status."""
    return command.main(
        parser,
        functools.partial(by_recipe, work),
        loop.Diverged,
        faults.RunError,
        keras_resnext.ExportError,
    )


def by_recipe(work: Work, args: argparse.Namespace) -> int:
    """Does the work by the recipe that the arguments tell."""
    recipe = arguments.recipe_of(args)
    if args.show_recipe:
        print(recipe)
        return 0
    with contextlib.ExitStack() as stack:
        if args.dry_run:
            args.resume = False
            args.output = pathlib.Path(
                stack.enter_context(tempfile.TemporaryDirectory())
            )
            args.steps, recipe = 2, recipe.override(epochs=1)
        try:
            return work(args, recipe)
        except loop.Stopped as stop:
            print(stop)
            return stop.status


def from_nothing(args: argparse.Namespace, recipe: Recipe) -> int:
    """Trains a network whose weights are random; the result is a status."""
    if args.output is None:
        args.output = pathlib.Path("runs", f"{args.model}-{args.recipe}")
    strategy = prepare.start(args)
    source = prepare.source(args, recipe)
    make = functools.partial(prepare.build, args.model, recipe, source.labels)
    loop.train(prepare.run(args, recipe, source, strategy, make))
    return 0
