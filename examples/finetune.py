"""Trains a ResNeXt on pictures of yours, and shows what came of it.

    python examples/finetune.py
    python examples/finetune.py --dataset tf_flowers
    python examples/finetune.py --dataset path/to/folder --epochs 20

Without arguments a small network that knows CIFAR-10, and comes with the
package, learns scikit-learn's handwritten digits in two minutes on a laptop,
without a network connection. Any image data set of TensorFlow Datasets goes
the same way, and so does a folder with one folder of pictures per class;
there, weights from ImageNet are the start. A new classifier and the last stage
learn first, then all layers do at a tenth of the rate.

The output folder receives pictures of the training and its results, the model
as Keras file and for other runtimes, each of which is asked for the same
classes, and a script for each that says what a picture shows.
"""

import argparse
import functools
import json
import pathlib
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

# Ahead of all that imports TensorFlow.
import startup

# isort: split
import command
import digits  # noqa: F401  (registers the data set)
import keras
import numpy as np
import report
import tensorflow as tf

import keras_resnext
from keras_resnext import atomic_files
from keras_resnext import exporting
from keras_resnext.training.recipes import Recipe
from keras_resnext.weights.save_keras import save_keras
from pipeline import batches
from pipeline.sources import Source
from skeleton import arguments
from skeleton import folder
from skeleton import loop
from skeleton import prepare
from skeleton import script

DEFAULTS = arguments.Defaults("digits", None, "finetune", "DATASET-MODEL")
SMALL = "resnext23s_4x32d"
BORDER = "stage3"
BATCH = 32
PICTURES = 128  # for exports, to compare on and to quantize with
FORMATS = {
    "tensorflow": ("saved_model", "tflite"),
    "jax": ("saved_model",),
    "torch": ("torch",),
}


def main() -> int:
    """Runs the script; the result is its exit status."""
    parser = arguments.parser(__doc__, DEFAULTS)
    parser.add_argument(
        "--weights",
        help="imagenet, a tag, the path of a checkpoint, or none "
        "(default: cifar10 for digits, else imagenet)",
    )
    parser.add_argument(
        "--size",
        type=command.positive,
        metavar="N",
        help="height and width that pictures are brought to "
        "(default: the model's own)",
    )
    parser.add_argument(
        "--formats",
        nargs="+",
        metavar="FORMAT",
        default=FORMATS[keras.backend.backend()],
        help="what to export for, see keras_resnext.export "
        f"(default: {' '.join(FORMATS[keras.backend.backend()])})",
    )
    return script.main(parser, finetune)


def finetune(args: argparse.Namespace, recipe: Recipe) -> int:
    """Trains, measures and saves."""
    on_digits = args.dataset == "digits"
    args.model = args.model or (SMALL if on_digits else "resnext50_32x4d")
    args.weights = args.weights or ("cifar10" if on_digits else "imagenet")
    output = args.output or pathlib.Path(
        "runs", f"{pathlib.Path(args.dataset).resolve().name}-{args.model}"
    )
    exporting.formats.chosen(args.formats, keras.backend.backend(), True)
    strategy = prepare.start(args)
    source = prepare.source(args, recipe, validate=True)
    model = build(args, recipe, source, None)
    recipe = fitted(args, recipe, source, model)

    with folder.hold(output, strategy.is_chief):
        histories = []
        for name, phase in phases(args, recipe).items():
            args.output = output / name
            border = BORDER if name == "classifier" else None
            make = functools.partial(go_on, model, border, args, recipe, source)
            run = prepare.run(args, phase, source, strategy, make)
            histories.append(loop.train(run))
            model = run.model
        if not strategy.is_chief:
            return 0
        with strategy.alone():
            model = keras.saving.load_model(args.output / "last.keras")
            return conclude(
                model, recipe, source, histories, output, args.formats
            )


def build(
    args: argparse.Namespace,
    recipe: Recipe,
    source: Source,
    activation: str | None,
) -> keras.Model:
    """The network for a data set's classes."""
    weights = None if args.weights == "none" else args.weights
    # Weights expect colours; what starts from nothing can do without.
    channels = 1 if source.channels == 1 and weights is None else 3
    size = args.size or keras_resnext.VARIANTS[args.model].default_size
    model = keras_resnext.get_model(
        args.model,
        weights=weights,
        input_shape=(size, size, channels),
        stochastic_depth=recipe.stochastic_depth,
        zero_init_last=recipe.zero_init_last,
    )
    return keras_resnext.finetuning.replace_classifier(
        model, len(source.labels), activation, recipe.dropout, source.labels
    )


def go_on(
    model: keras.Model,
    border: str | None,
    args: argparse.Namespace,
    recipe: Recipe,
    source: Source,
    activation: str | None,
) -> keras.Model:
    """The network once more, with what another learnt, partly frozen."""
    made = build(args, recipe, source, activation)
    made.set_weights(model.get_weights())
    prepare.describe(made, recipe, source.labels)
    keras_resnext.finetuning.freeze(made, border)
    return made


def fitted(
    args: argparse.Namespace,
    recipe: Recipe,
    source: Source,
    model: keras.Model,
) -> Recipe:
    """The recipe with what the network and the pictures ask for."""
    size = model.input_shape[1]
    made_for = model.weights_info
    changes = {
        "train_size": size,
        "evaluation_size": size,
        "evaluation_resize": round(size / (made_for.crop if made_for else 1)),
    }
    if made_for:
        changes |= {"mean": made_for.mean, "std": made_for.std}
    if source.channels == 1:
        # A mirrored digit is no digit, and half of one neither.
        changes |= {"flip": False, "crop_scale": 0.7}
    said = {word.partition("=")[0] for word in args.set}
    return recipe.override(
        **{name: value for name, value in changes.items() if name not in said}
    )


def phases(args: argparse.Namespace, recipe: Recipe) -> dict[str, Recipe]:
    """From weights two of them, from nothing one, by their folders' names."""
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
    model: keras.Model,
    recipe: Recipe,
    source: Source,
    histories: list[list[dict]],
    output: pathlib.Path,
    formats: Sequence[str],
) -> int:
    """Measures on the test pictures, saves, draws and says what came of it."""
    data = batches.evaluation(
        source.splits["test"],
        recipe,
        BATCH,
        len(source.labels),
        model.input_shape[-1],
    )
    found = [
        (model.predict_on_batch(images), labels.argmax(-1), weights > 0)
        for images, labels, weights in data.as_numpy_iterator()
    ]
    real = np.concatenate([each for _, _, each in found])
    true = np.concatenate([each for _, each, _ in found])[real]
    probabilities = np.concatenate([each for each, _, _ in found])[real]
    accuracy = float(np.mean(probabilities.argmax(-1) == true))
    draw(recipe, source, histories, output, data, probabilities, true)
    save_keras(model, output / "model.keras")
    made = export(model, recipe, source, output, data, formats)
    seconds = time.monotonic() - startup.BEGAN
    record = {
        "pictures": {name: part.count for name, part in source.splits.items()},
        "phases": [len(history) for history in histories],
        "test_accuracy": accuracy,
        "seconds": round(seconds, 1),
        "artefacts": [asdict(row) for row in made.rows],
    }
    content = f"{json.dumps(record, indent=2)}\n".encode()
    atomic_files.write(output / "result.json", content)
    print(made)
    print(
        f"{model.name} on {source.name}: {accuracy:.2%} of {len(true):,} test "
        f"pictures right, after {seconds:.0f} s. Pictures, model.keras and "
        f"the files above are in {output}."
    )
    return 0


def export(
    model: keras.Model,
    recipe: Recipe,
    source: Source,
    output: pathlib.Path,
    data: tf.data.Dataset,
    formats: Sequence[str],
) -> keras_resnext.ExportReport:
    """Writes the model for other runtimes, compared on test pictures."""
    count = min(PICTURES, source.splits["test"].count)
    chosen = np.stack(pick(data, range(count)))
    return keras_resnext.export(
        keras_resnext.optimize_for_inference(model, "float32"),
        output,
        formats,
        representative_data=255 * in_unit_range(chosen, recipe),
    )


def in_unit_range(x: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Pictures as they were before they were normalized, in [0, 1]."""
    channels = x.shape[-1]
    mean, std = np.array([recipe.mean, recipe.std])[:, :channels]
    return np.clip(x * std + mean, 0, 1)


def draw(
    recipe: Recipe,
    source: Source,
    histories: list[list[dict]],
    output: pathlib.Path,
    data: tf.data.Dataset,
    probabilities: np.ndarray,
    true: np.ndarray,
) -> None:
    """Curves, confusions, and pictures with what they were taken for."""
    rows = [row for history in histories for row in history]
    report.draw_curves(
        {key: [row[key] for row in rows] for key in rows[0]},
        len(histories[0]) if len(histories) > 1 else 0,
        output / "curves.png",
    )
    report.draw_confusion(
        true, probabilities.argmax(-1), source.labels, output / "confusion.png"
    )
    chosen = report.choose(true, probabilities)
    report.draw_predictions(
        [in_unit_range(each, recipe) for each in pick(data, chosen)],
        true[chosen],
        probabilities[chosen],
        source.labels,
        output / "predictions.png",
    )


def pick(data: tf.data.Dataset, indices: Sequence[int]) -> list[np.ndarray]:
    """Some of the pictures of batches."""
    wanted, found, start = set(indices), {}, 0
    for images, *_ in data.as_numpy_iterator():
        for i in wanted.intersection(range(start, start + len(images))):
            found[i] = images[i - start]
        start += len(images)
    return [found[i] for i in indices]


if __name__ == "__main__":
    sys.exit(main())
