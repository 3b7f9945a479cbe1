"""The command `finetune`: adapt a published model to a dataset's classes.

With given weights, a new classifier and the last stage are trained first, then
all layers at a tenth of the learning rate; random weights train in one phase.
"""

import argparse
import functools
import json
import pathlib
import time
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np

import keras_resnext
from keras_resnext import atomic_files
from keras_resnext.cli import Failure
from keras_resnext.cli import UsageError
from keras_resnext.cli import loading
from keras_resnext.cli import training
from keras_resnext.cli import usage
from keras_resnext.exporting import formats
from keras_resnext.training.recipes import Recipe
from keras_resnext.variants import find_variant
from keras_resnext.weights.save_keras import save_keras

if TYPE_CHECKING:
    from keras_resnext.data.datasets import Dataset

BORDER = "stage3"
BATCH = 32
IMAGES = 128  # to validate and quantize exports with


def run(args: argparse.Namespace) -> int:
    """Fine-tune a model, and return the exit status."""
    with usage():
        find_variant(args.model)
    if args.weights is None:
        published = keras_resnext.list_weights(args.model)
        tags = {row.dataset: row.tag for row in published}
        own = next(iter(tags.values()))
        args.weights = "imagenet" if "imagenet" in tags else own
    elif not (args.weights == "none" or loading.is_file(args.weights)):
        loading.check_name(args.model, args.weights)
    try:
        with usage():
            formats.choose(args.formats, keras.backend.backend(), True)
    except ImportError as error:
        raise Failure(error) from error
    return training.run(args, finetune)


def finetune(args: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """Train, evaluate, draw and export, and return the result."""
    from keras_resnext.training import trainer
    from keras_resnext.training.run_directory import RunDirectory

    began = time.monotonic()
    name = pathlib.Path(args.dataset).resolve().name
    output = args.output or pathlib.Path("runs", f"{name}-{args.model}")
    if args.dry_run:
        recipe = recipe.override(crop="random_resized")
    strategy, dataset = training.begin(args, recipe, output, validation=True)
    model = build(args, recipe, dataset, None)
    recipe = fitted(args, recipe, dataset, model)
    # The phases must neither see nor measure the test images.
    seen = replace(
        dataset,
        splits={k: v for k, v in dataset.splits.items() if k != "test"},
    )

    with RunDirectory(output, strategy.is_chief).hold():
        histories = []
        for phase, its_recipe in phases(args, recipe).items():
            folder = output / phase
            border = BORDER if phase == "classifier" else None
            current = trainer.Trainer(
                functools.partial(
                    continued, model, border, args, recipe, dataset
                ),
                seen,
                its_recipe,
                folder,
                name=args.model,
                strategy=strategy,
                **training.trainer_options(args),
            )
            histories.append(current.train(args.resume))
            model = current.model
        if not strategy.is_chief:
            return {}
        with strategy.chief_only():
            best = "best" if current.validates else "last"
            model = keras.saving.load_model(folder / f"{best}.keras")
            return conclude(
                args, model, recipe, dataset, histories, output, began
            )


def build(
    args: argparse.Namespace,
    recipe: Recipe,
    dataset: "Dataset",
    activation: str | None,
) -> keras.Model:
    """Return the model for a dataset's classes."""
    weights = None if args.weights == "none" else args.weights
    # Published weights expect colors; random weights can take gray images.
    channels = 1 if dataset.channels == 1 and weights is None else 3
    size = args.size or keras_resnext.VARIANTS[args.model].default_size
    try:
        model = keras_resnext.get_model(
            args.model,
            weights=weights,
            input_shape=(size, size, channels),
            stochastic_depth=recipe.stochastic_depth,
            zero_init_last=recipe.zero_init_last,
        )
    except ValueError as error:
        if args.size:
            raise UsageError(error) from error
        raise
    return keras_resnext.finetuning.reset_classifier(
        model, len(dataset.labels), activation, recipe.dropout, dataset.labels
    )


def continued(
    model: keras.Model,
    border: str | None,
    args: argparse.Namespace,
    recipe: Recipe,
    dataset: "Dataset",
    activation: str | None,
) -> keras.Model:
    """Rebuild a model with its weights, partly frozen."""
    from keras_resnext.training.models import describe_images

    made = build(args, recipe, dataset, activation)
    made.set_weights(model.get_weights())
    describe_images(made, recipe, dataset.labels)
    keras_resnext.finetuning.freeze(made, border)
    return made


def fitted(
    args: argparse.Namespace,
    recipe: Recipe,
    dataset: "Dataset",
    model: keras.Model,
) -> Recipe:
    """Return the recipe with the sizes and normalization of a model."""
    size = model.input_shape[1]
    made_for = model.weights_info
    changes = {
        "train_size": size,
        "evaluation_size": size,
        "evaluation_resize": round(
            size / (made_for.crop_pct if made_for else 1)
        ),
    }
    if made_for:
        changes |= {"mean": made_for.mean, "std": made_for.std}
    if dataset.channels == 1:
        # Gray images are mostly characters, which mirroring would change.
        changes |= {"horizontal_flip": False, "crop_scale": 0.7}
    given = {word.partition("=")[0] for word in args.set}
    return recipe.override(
        **{name: value for name, value in changes.items() if name not in given}
    )


def phases(args: argparse.Namespace, recipe: Recipe) -> dict[str, Recipe]:
    """Return the recipes of the phases, by the names of their folders."""
    first = recipe.epochs // 3
    if args.weights == "none" or not first:
        return {"all": recipe}
    return {
        "classifier": recipe.override(epochs=first),
        "all": recipe.override(
            epochs=recipe.epochs - first,
            learning_rate=recipe.learning_rate / 10,
        ),
    }


def conclude(
    args: argparse.Namespace,
    model: keras.Model,
    recipe: Recipe,
    dataset: "Dataset",
    histories: list[list[dict]],
    output: pathlib.Path,
    began: float,
) -> dict[str, Any]:
    """Evaluate on the test or else the validation images; plot and export."""
    from keras_resnext.data.batches import evaluation_batches
    from keras_resnext.training import progress

    split = "test" if "test" in dataset.splits else "validation"
    batches = evaluation_batches(
        dataset, recipe, split, BATCH, model.input_shape[-1]
    )
    found = [
        (model.predict_on_batch(images), labels.argmax(-1), weights > 0)
        for images, labels, weights in batches.as_numpy_iterator()
    ]
    real = np.concatenate([each for _, _, each in found])
    true = np.concatenate([each for _, each, _ in found])[real]
    probabilities = np.concatenate([each for each, _, _ in found])[real]
    accuracy = float(np.mean(probabilities.argmax(-1) == true))
    draw(recipe, dataset, histories, output, batches, probabilities, true)
    save_keras(model, output / "model.keras")
    chosen = np.stack(pick(batches, range(min(IMAGES, len(true)))))
    try:
        report = keras_resnext.export(
            keras_resnext.optimize_for_inference(model, "float32"),
            output,
            args.formats,
            representative_data=255 * in_unit_range(chosen, recipe),
        )
    except keras_resnext.ExportError as error:
        raise Failure(error) from error
    seconds = time.monotonic() - began
    record = {
        "images": {name: each.count for name, each in dataset.splits.items()},
        "phases": [len(history) for history in histories],
        f"{split}_accuracy": accuracy,
        "seconds": round(seconds, 1),
        "files": [asdict(row) for row in report.rows],
    }
    content = f"{json.dumps(record, indent=2)}\n".encode()
    atomic_files.write(output / "result.json", content)
    progress.CONSOLE.print(str(report), highlight=False, soft_wrap=True)
    progress.CONSOLE.print(
        f"{model.name} on {dataset.name}: {accuracy:.2%} of {len(true):,} "
        f"{split} images right, after {seconds:.0f} s.\n"
        f"{output}: model.keras, labels.txt, the files above with a script "
        "run_*.py each, curves.png, confusion.png, predictions.png, "
        "result.json",
        soft_wrap=True,
    )
    return {**record, "directory": str(output)}


def in_unit_range(x: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return normalized images as pixels in [0, 1]."""
    channels = x.shape[-1]
    mean, std = np.array([recipe.mean, recipe.std])[:, :channels]
    return np.clip(x * std + mean, 0, 1)


def draw(
    recipe: Recipe,
    dataset: "Dataset",
    histories: list[list[dict]],
    output: pathlib.Path,
    batches: Iterable[tuple],
    probabilities: np.ndarray,
    true: np.ndarray,
) -> None:
    """Plot curves, the confusion matrix, and images with their classes."""
    from keras_resnext.training import plots

    rows = [row for history in histories for row in history]
    plots.draw_curves(
        {key: [row[key] for row in rows] for key in rows[0]},
        len(histories[0]) if len(histories) > 1 else 0,
        output / "curves.png",
    )
    plots.draw_confusion(
        true, probabilities.argmax(-1), dataset.labels, output / "confusion.png"
    )
    chosen = plots.choose(true, probabilities)
    plots.draw_predictions(
        [in_unit_range(each, recipe) for each in pick(batches, chosen)],
        true[chosen],
        probabilities[chosen],
        dataset.labels,
        output / "predictions.png",
    )


def pick(batches: Iterable[tuple], indices: Sequence[int]) -> list[np.ndarray]:
    """Return the images of batches at some positions."""
    wanted, found, start = set(indices), {}, 0
    for images, *_ in batches:
        for i in wanted.intersection(range(start, start + len(images))):
            found[i] = np.asarray(images[i - start])
        start += len(images)
    return [found[i] for i in indices]
