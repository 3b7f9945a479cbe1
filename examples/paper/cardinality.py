"""Test the paper's claim on your hardware: does cardinality help?

    python -m examples.paper.cardinality
    python -m examples.paper.cardinality --epochs 5 --precision bfloat16
    python -m examples.paper.cardinality --scale paper --recipe cifar_paper
    python -m examples.paper.cardinality --resume

Trains models of one complexity and of cardinalities from 1 to 32 on CIFAR-10,
and at twice the complexity a deeper model, a wider one and two with more paths,
each from several seeds and by one recipe. A table with means and spreads, a
figure after the paper's Figure 5, all figures as JSON and a verdict on each of
the paper's claims are written to the output folder. --resume resumes a stopped
run, or adds seeds.

"small" models have one block per stage and 20 million multiply-adds, for a CPU;
"paper" models are its 29 layers of 750 million, for a GPU.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import sys
from typing import Any

import keras
import numpy as np
import rich.console
import rich.table

import keras_resnext
from examples.paper import figure
from examples.paper import models
from examples.paper import results
from examples.paper.models import Candidate
from examples.paper.results import History
from examples.paper.results import Result
from keras_resnext import data
from keras_resnext.cli import scripts
from keras_resnext.training import strategy as strategies
from keras_resnext.training import trainer
from keras_resnext.training.models import configure
from keras_resnext.training.recipes import Recipe
from keras_resnext.training.strategy import Strategy

CONSOLE = rich.console.Console(highlight=False)


def main() -> int:
    """Run the script, and return its exit status."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dataset",
        default="cifar10",
        metavar="NAME",
        help=f"{scripts.DATASET} (default: %(default)s)",
    )
    scripts.add_training(parser, "cifar_short", "cardinality-SCALE")
    parser.add_argument(
        "--scale",
        choices=tuple(models.SCALES),
        default="small",
        help="scale of the models (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds",
        type=scripts.positive,
        default=3,
        metavar="N",
        help="runs per model, with seeds from --seed on (default: %(default)s)",
    )
    # So that the same seed gives the same numbers.
    parser.set_defaults(deterministic=True)
    return scripts.main(parser, functools.partial(scripts.train, work=compare))


def compare(args: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """Train all models, and compare them."""
    output = scripts.directory_of_several(args, f"cardinality-{args.scale}")
    strategy = strategies.prepare(args.strategy, args.seed, args.deterministic)
    if args.dry_run:
        dataset = noise(2 * (args.batch_size or recipe.batch_size))
    else:
        dataset = data.load_dataset(args.dataset, args.data_dir, args.corrupt)
    # For the curves of the test error: no epoch is chosen by it.
    splits = {"train": dataset.splits["train"]}
    splits["validation"] = dataset.splits["test"]
    dataset = dataclasses.replace(dataset, splits=splits)
    found = []
    candidates = models.candidates(args.scale)
    for number, candidate in enumerate(candidates, start=1):
        histories = []
        for seed in range(args.seed, args.seed + args.seeds):
            CONSOLE.rule(
                f"{candidate.label}, model {number} of "
                f"{len(candidates)}, seed {seed}"
            )
            run = argparse.Namespace(**vars(args))
            run.model, run.seed = candidate.label, seed
            run.output = output / candidate.folder / f"seed{seed}"
            histories.append(train(run, recipe, dataset, strategy, candidate))
        cost = models.costs(candidate, len(dataset.labels))
        found.append(Result(candidate, *cost, histories))
    if strategy.is_chief:
        conclude(found, args, recipe, dataset, output)
    return {"results": results.record(found)}


def noise(count: int) -> data.Dataset:
    """Make images of noise, for dry runs."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3))
    images = pixels.astype("uint8"), np.arange(count) % 10
    return data.from_arrays(images, test=images, name="noise")


def train(
    args: argparse.Namespace,
    recipe: Recipe,
    dataset: data.Dataset,
    strategy: Strategy,
    candidate: Candidate,
) -> History:
    """Train a model from a seed, or resume its training."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(args.seed)
    config = configure(candidate.config, recipe)
    return trainer.Trainer(
        functools.partial(build, config, len(dataset.labels)),
        dataset,
        recipe,
        args.output,
        name=args.model,
        strategy=strategy,
        **scripts.trainer_options(args),
    ).train(args.resume)


def build(
    config: keras_resnext.ResNeXtConfig, classes: int, activation: str | None
) -> keras.Model:
    """Build a model with random weights."""
    return keras_resnext.ResNeXt(
        config,
        weights=None,
        input_shape=(None, None, 3),
        classes=classes,
        classifier_activation=activation,
    )


def conclude(
    found: list[Result],
    args: argparse.Namespace,
    recipe: Recipe,
    dataset: data.Dataset,
    output: pathlib.Path,
) -> None:
    """Write the table, the figure and the numbers, and print the verdict."""
    heading, *rows = results.rows(found)
    table = rich.table.Table(*heading, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    CONSOLE.print(table)
    for line in results.verdict(found):
        CONSOLE.print(line)

    title = (
        f"{dataset.name}, {args.scale} models, {recipe.epochs} epochs of "
        f"{recipe.name}, {args.seeds} seeds, {args.precision}"
    )
    record = {
        "recipe": dataclasses.asdict(recipe),
        "scale": args.scale,
        "seeds": args.seeds,
        "results": results.record(found),
    }
    text = f"{json.dumps(record, indent=1)}\n"
    (output / "cardinality.json").write_text(text, "utf-8")
    text = f"{title}\n\n{results.markdown(found)}"
    (output / "cardinality.md").write_text(text, "utf-8")
    figure.draw(found, title, output / "cardinality.png")
    CONSOLE.print(f"Written to {output / 'cardinality'}.json, .md and .png")


if __name__ == "__main__":
    sys.exit(main())
