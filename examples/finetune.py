"""Trains a ResNeXt on pictures of yours, and shows what came of it.

    python examples/finetune.py
    python examples/finetune.py --dataset tf_flowers
    python examples/finetune.py --dataset path/to/folder --epochs 20

Without arguments a small network learns scikit-learn's handwritten digits in
two minutes on a laptop, from nothing and without a network connection. Any
image data set of TensorFlow Datasets goes the same way, and so does a folder
with one folder of pictures per class; there, weights from ImageNet are the
start: a new classifier and the last stage learn first, then all layers do at
a tenth of the rate.

The output folder receives the model as Keras file, SavedModel and TFLite,
each loaded again and compared, with pictures of the training and its results.
"""

import argparse
import json
import pathlib
import platform
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import nullcontext
from dataclasses import asdict

# Ahead of all that imports TensorFlow.
import startup

# isort: split
import arguments
import artefacts
import digits  # noqa: F401  (registers the data set)
import keras
import numpy as np
import pictures
import report
import tensorflow as tf

import keras_resnext

BORDER = "stage3"
WARM_UP = 0.1
COMPARED = 512


def main() -> int:
    """Runs the script; the result is its exit status."""
    parser = arguments.parser(__doc__)
    args = arguments.with_defaults(parser.parse_args())
    keras.utils.set_random_seed(args.seed)
    scope = distribution()
    output = pathlib.Path(args.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        source = pictures.load(args.dataset, args.data_dir, args.seed)
        with scope():
            model, inputs = build_model(args, source)
    except (keras_resnext.WeightsUnavailableError, ConnectionError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        parser.error(str(error))

    data = pipelines(args, source, inputs)
    sizes = {name: pictures.count(part) for name, part in source.splits.items()}
    print(
        f"{args.model}: {model.count_params():,} parameters for "
        f"{len(source.labels)} classes. Pictures: "
        + ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    )
    history = train(args, model, data, scope)

    probabilities = model.predict(data["test"], verbose=0)
    true = np.concatenate(
        [labels.argmax(-1) for _, labels in arrays(data["test"])]
    )
    accuracy = float(np.mean(probabilities.argmax(-1) == true))
    some = data["test"].take(-(-COMPARED // args.batch_size))
    saved = artefacts.save_and_check(
        model, [images for images, _ in arrays(some)], output
    )

    chosen = report.choose(true, probabilities)
    report.draw_curves(history, frozen_epochs(args), output / "curves.png")
    report.draw_confusion(
        true, probabilities.argmax(-1), source.labels, output / "confusion.png"
    )
    report.draw_predictions(
        pictures.pick(data["test"], chosen, inputs),
        true[chosen],
        probabilities[chosen],
        source.labels,
        output / "predictions.png",
    )
    (output / "labels.txt").write_text("\n".join(source.labels) + "\n")
    seconds = time.monotonic() - startup.BEGAN
    record = {
        "arguments": vars(args),
        "versions": versions(),
        "input": asdict(inputs),
        "pictures": sizes,
        "history": history,
        "test_accuracy": accuracy,
        "seconds": round(seconds, 1),
        "artefacts": [
            {**asdict(artefact), "ok": artefact.ok} for artefact in saved
        ],
    }
    (output / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    report.print_summary(
        f"{args.model} on {args.dataset}: {accuracy:.2%} of {len(true):,} test "
        f"pictures right, after {seconds:.0f} s",
        saved,
        f"Pictures and files are in {output}.",
    )
    if len(saved) == 1:
        print(
            "No SavedModel and no TFLite: they need KERAS_BACKEND=tensorflow, "
            f"not {keras.backend.backend()}."
        )
    return 0 if all(artefact.ok for artefact in saved) else 1


def distribution() -> Callable[[], AbstractContextManager]:
    """The scope to build and compile in: over all GPUs under TensorFlow."""
    if keras.backend.backend() == "tensorflow":
        return tf.distribute.MirroredStrategy().scope
    # TensorFlow only reads pictures and must leave the GPU's memory alone.
    tf.config.set_visible_devices([], "GPU")
    return nullcontext


def build_model(
    args: argparse.Namespace, source: pictures.Source
) -> tuple[keras.Model, pictures.Input]:
    """The network for a data set's classes, and the input it was made for."""
    weights = None if args.weights == "none" else args.weights
    # Weights expect colours; what starts from nothing can do without.
    channels = 1 if source.channels == 1 and weights is None else 3
    classes = len(source.labels)
    model = keras_resnext.ResNeXt(
        arguments.MODELS[args.model],
        weights=weights,
        input_shape=(args.size, args.size, channels),
        classes=classes if weights is None else 1000,
        name=args.model,
    )
    # A checkpoint in a file doesn't tell; nearly all were made like these.
    made_for = model.weights_info or keras_resnext.EvaluationTransform(256, 224)
    if weights is not None:
        model = keras_resnext.finetuning.replace_classifier(
            model, classes, dropout=0.2
        )
    return model, pictures.Input(
        args.size, channels, made_for.mean, made_for.std
    )


def pipelines(
    args: argparse.Namespace, source: pictures.Source, inputs: pictures.Input
) -> dict[str, tf.data.Dataset]:
    """Batches for each purpose; those to train on are varied a little."""
    layers = keras.layers
    mode = "reflect"
    augmentation = [layers.RandomFlip("horizontal", seed=args.seed)]
    if inputs.channels == 1:
        # A mirrored digit is no digit, and around one there is nothing.
        mode = "constant"
        augmentation = [layers.RandomRotation(0.04, mode, seed=args.seed)]
    augmentation += [
        layers.RandomZoom(0.1, 0.1, mode, seed=args.seed + 1),
        layers.RandomTranslation(0.1, 0.1, mode, seed=args.seed + 2),
    ]
    training = pictures.batches(
        source,
        "train",
        inputs,
        min(args.batch_size, pictures.count(source.splits["train"])),
        augmentation,
        args.seed,
    )
    if args.steps:
        training = training.take(args.steps)
    held_out = {
        name: pictures.batches(source, name, inputs, args.batch_size)
        for name in ("validation", "test")
    }
    return {"train": training, **held_out}


def train(
    args: argparse.Namespace,
    model: keras.Model,
    data: dict[str, tf.data.Dataset],
    scope: Callable[[], AbstractContextManager],
) -> dict[str, list[float]]:
    """Trains in one phase or, from weights, in two; returns the history."""
    frozen = frozen_epochs(args)
    phases = [(None, args.rate, args.epochs)]
    if frozen:
        phases = [
            (BORDER, args.rate, frozen),
            (None, args.rate / 10, args.epochs - frozen),
        ]
    history: dict[str, list[float]] = {}
    done = 0
    for border, rate, epochs in phases:
        steps = epochs * pictures.count(data["train"])
        warm_up = int(steps * WARM_UP)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, steps - warm_up, warmup_target=rate, warmup_steps=warm_up
        )
        with scope():
            keras_resnext.finetuning.freeze(model, border)
            model.compile(
                keras.optimizers.AdamW(schedule, weight_decay=0.01),
                keras.losses.CategoricalCrossentropy(label_smoothing=0.05),
                metrics=["accuracy"],
            )
        record = model.fit(
            data["train"],
            validation_data=data["validation"],
            initial_epoch=done,
            epochs=done + epochs,
            # They are shuffled already.
            shuffle=False,
            # A bar only where it can move.
            verbose=1 if sys.stdout.isatty() else 2,
        )
        for key, values in record.history.items():
            history[key] = history.get(key, []) + values
        done += epochs
    return history


def frozen_epochs(args: argparse.Namespace) -> int:
    """After how many epochs all layers learn; 0 if they do from the start."""
    return 0 if args.weights == "none" else args.epochs // 3


def arrays(
    data: tf.data.Dataset,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return data.as_numpy_iterator()


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "tensorflow": tf.__version__,
        "keras_resnext": keras_resnext.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())
