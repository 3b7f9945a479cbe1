"""Detect objects: RetinaNet of keras-cv on the features of any ResNeXt.

    python -m examples.detection.train
    python -m examples.detection.train --precision bfloat16
    python -m examples.detection.train --dataset voc/2007 --recipe retinanet
        --model resnext50_32x4d --weights imagenet --channels 256 --depth 4
    python -m examples.detection.train --dataset coco/2017 --recipe retinanet
        --model resnext50_32x4d resnext50_32x4d:1x64d --channels 256 --depth 4

Without arguments, the bundled small model, pretrained on CIFAR-10, learns to
detect circles, squares and triangles in synthetic images; no network connection
is needed. --dataset takes any dataset with boxes of TensorFlow Datasets.
Several models are trained by one recipe and compared in a table;
"resnext50_32x4d:1x64d" is ResNet-50, of cardinality 1 and bottleneck width 64.

The output folder, runs/DATASET-RECIPE, receives the files of each run, a sheet
of test images with true and predicted boxes, and COCO's measures of each
model as JSON. --resume resumes a stopped run.
"""

import argparse
import functools
import importlib.util
import json
import pathlib
import sys
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import rich.console
import rich.table

import keras_resnext
from examples.detection import backbones
from examples.detection import data
from examples.detection import drawings
from examples.detection import run
from examples.detection import shapes
from examples.detection.metrics import Measures
from keras_resnext.cli import scripts
from keras_resnext.data import Dataset
from keras_resnext.training import strategy as strategies
from keras_resnext.training import trainer
from keras_resnext.training.recipes import Recipe
from keras_resnext.training.strategy import Strategy

CONSOLE = rich.console.Console(highlight=False)
SHAPES = "shapes"
SMALL = "resnext23s_4x32d"
TITLES = {
    "mAP": "map",
    "mAP@0.5": "map50",
    "mAP@0.75": "map75",
    "mAP, small": "small",
    "mAP, medium": "medium",
    "mAP, large": "large",
}


@dataclass(frozen=True)
class Result:
    """Result of a detector.

    Args:
        model: Its model's name.
        parameters: Number of parameters.
        multiply_adds: Multiply-adds of an image in its backbone.
        measures: Measures on the validation images.
    """

    model: str
    parameters: int
    multiply_adds: int
    measures: Measures


def main() -> int:
    """Run the script, and return its exit status."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dataset",
        default=SHAPES,
        metavar="NAME",
        help="a name of TensorFlow Datasets, or shapes, which are synthetic "
        "(default: %(default)s)",
    )
    scripts.add_training(parser, "retinanet_short", "DATASET-RECIPE")
    what = parser.add_argument_group("detectors")
    what.add_argument(
        "--model",
        nargs="+",
        default=[SMALL],
        type=backbones.model_name,
        metavar="NAME",
        help="names of keras_resnext.list_models(), optionally with another "
        f"grouping, such as :1x64d (default: {SMALL})",
    )
    what.add_argument(
        "--weights",
        help="initial weights: imagenet, a tag, the path of a "
        f"checkpoint, or none (default: cifar10 for {SMALL} alone, else none)",
    )
    what.add_argument(
        "--freeze-batch-norm",
        action=argparse.BooleanOptionalAction,
        help="keep the weights and statistics of the models' batch "
        "normalization (default: if weights are given)",
    )
    what.add_argument(
        "--size",
        type=scripts.positive,
        metavar="N",
        help="height and width of resized images (default: the recipe's)",
    )
    what.add_argument(
        "--channels",
        type=scripts.positive,
        default=64,
        metavar="N",
        help="channels of the pyramid and the heads; 256 in RetinaNet "
        "(default: %(default)s)",
    )
    what.add_argument(
        "--depth",
        type=scripts.positive,
        default=2,
        metavar="N",
        help="convolutions of a head before its last; 4 in RetinaNet "
        "(default: %(default)s)",
    )
    what.add_argument(
        "--images",
        type=scripts.positive,
        default=2000,
        metavar="N",
        help="number of synthetic training images (default: %(default)s)",
    )
    return scripts.main(parser, functools.partial(scripts.train, work=detect))


def detect(args: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """Train the detectors, and compare them."""
    require()
    models = list(dict.fromkeys(args.model))
    args.weights = args.weights or ("cifar10" if models == [SMALL] else "none")
    if args.freeze_batch_norm is None:
        args.freeze_batch_norm = args.weights != "none"
    size = args.size or recipe.train_size
    recipe = recipe.override(
        train_size=size, evaluation_size=size, evaluation_resize=size
    )
    for name in models:
        backbones.check(name, args.weights, size)
    output = scripts.directory_of_several(
        args, f"{args.dataset.replace('/', '-')}-{args.recipe}"
    )
    strategy = strategies.prepare(args.strategy, args.seed, args.deterministic)
    if strategy.num_workers > 1:
        raise ValueError("Detectors are trained by one process only.")
    if args.weights != "none":
        # Checked before any training, as a later model may have none.
        for name in models:
            backbones.backbone(name, args.weights, size)
    dataset = load(args, recipe)
    CONSOLE.print("Importing keras-cv, which takes some seconds …")
    results = []
    for name in models:
        if len(models) > 1:
            CONSOLE.rule(name)
        each = argparse.Namespace(**vars(args))
        each.model, each.output = name, output / name.replace(":", "_")
        results.append(train(each, recipe, dataset, strategy))
    conclude(results, dataset, output)
    if not args.dry_run:
        CONSOLE.print(
            f"Written to {output}: detection.json, and predictions.png of each."
        )
    return {"results": [asdict(each) for each in results]}


def require() -> None:
    """Check the backend and the installed packages."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "keras-cv detects boxes on TensorFlow only. Set KERAS_BACKEND="
            f"tensorflow; it is {keras.backend.backend()}."
        )
    for module in ("keras_cv", "pycocotools"):
        if importlib.util.find_spec(module) is None:
            package = module.replace("_", "-")
            raise ImportError(
                f"Detection needs {package}: pip install '.[train]'"
            )


def load(args: argparse.Namespace, recipe: Recipe) -> Dataset:
    """Draw the images, or open those of TFDS."""
    if args.dry_run:
        count = 2 * (args.batch_size or recipe.batch_size)
        return shapes.dataset(count, recipe.train_size, args.seed)
    if args.dataset == SHAPES:
        return shapes.dataset(args.images, recipe.train_size, args.seed)
    return data.dataset(args.dataset, args.data_dir)


def train(
    args: argparse.Namespace,
    recipe: Recipe,
    dataset: Dataset,
    strategy: Strategy,
) -> Result:
    """Train a detector, or resume its training, and measure it."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(args.seed)
    size, classes = recipe.train_size, len(dataset.labels)
    trunk, made_for = backbones.backbone(args.model, args.weights, size)
    if made_for:
        recipe = recipe.override(mean=made_for.mean, std=made_for.std)
    cost = keras_resnext.complexity.multiply_adds(trunk)
    names = ("weights", "freeze_batch_norm", "channels", "depth")
    current = trainer.Trainer(
        functools.partial(build, args, size, classes),
        dataset,
        recipe,
        args.output,
        name=args.model,
        task=run.Detection(),
        strategy=strategy,
        batch_size=args.batch_size,
        steps=args.steps,
        seed=args.seed,
        precision=args.precision,
        save_steps=args.save_steps,
        identity={name: getattr(args, name) for name in names},
    )
    current.train(args.resume)
    measures, true, found = run.look(
        current.model, dataset, recipe, "validation", current.batch_size
    )
    shown = data.evaluation_batches(dataset.splits["validation"], recipe, 1)
    images = [
        np.clip(image[0].numpy() * recipe.std + recipe.mean, 0, 1)
        for image, _ in shown.take(drawings.COLUMNS * drawings.ROWS)
    ]
    file = args.output / "predictions.png"
    drawings.draw(images, true, found, dataset.labels, file)
    return Result(args.model, current.model.count_params(), cost, measures)


def build(
    args: argparse.Namespace,
    size: int,
    classes: int,
    activation: str | None,
) -> keras.Model:
    """Build a detector with a pretrained or random backbone."""
    from examples.detection import retinanet

    trunk, _ = backbones.backbone(args.model, args.weights, size)
    if args.freeze_batch_norm:
        backbones.freeze_batch_norm(trunk)
    return retinanet.detector(trunk, classes, args.channels, args.depth)


def conclude(
    results: list[Result], dataset: Dataset, output: pathlib.Path
) -> None:
    """Write and print the measures, overall and of each class."""
    table = rich.table.Table("", *(each.model for each in results), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("parameters", *(f"{each.parameters:,}" for each in results))
    table.add_row(
        "multiply-adds of the model",
        *(f"{each.multiply_adds:,}" for each in results),
    )
    for title, name in TITLES.items():
        values = [getattr(each.measures, name) for each in results]
        table.add_row(title, *map(formatted, values))
    for label in dataset.labels:
        values = [each.measures.classes[label] for each in results]
        table.add_row(f"mAP of {label}", *map(formatted, values))
    CONSOLE.print(table)
    record = [asdict(each) for each in results]
    content = {"dataset": dataset.name, "results": record}
    text = f"{json.dumps(content, indent=1)}\n"
    (output / "detection.json").write_text(text, "utf-8")


def formatted(value: float | None) -> str:
    """Return a measure as text, `"none"` without objects."""
    return "none" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
