"""Command `export`: write a model to files for other runtimes."""

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import rich.console
import rich.progress

import keras_resnext
from keras_resnext.cli import Failure
from keras_resnext.cli import UsageError
from keras_resnext.cli import image_files
from keras_resnext.cli import loading
from keras_resnext.cli import printing
from keras_resnext.cli import usage
from keras_resnext.exporting import formats


def run(args: argparse.Namespace) -> int:
    """Export a model, and print the report."""
    if args.directory.exists() and not args.directory.is_dir():
        raise Failure(f"'{args.directory}' is not a folder.")
    try:
        with usage():
            formats.choose(
                args.formats, keras.config.backend(), bool(args.images)
            )
    except ImportError as error:
        raise Failure(error) from error
    folder = None
    if args.images and args.images[0].is_dir():
        (folder, *others) = args.images
        if others:
            raise UsageError("--images takes one folder, or files.")
    elif args.max_accuracy_drop is not None:
        raise UsageError(
            "--max-accuracy-drop needs --images FOLDER, of one folder per "
            "class."
        )
    else:
        for path in args.images or ():
            image_files.check(path)
    labels = args.labels and loading.read_labels(args.labels)
    model = loading.load_for_export(args.model, args.weights, args.size)
    transform = loading.transform_for(model, args.size)
    try:
        data = folder or (
            args.images and read(args.images, transform, args.normalized)
        )
        report = keras_resnext.export(
            model,
            args.directory,
            args.formats,
            include_preprocessing=not args.normalized,
            representative_data=data,
            transform=transform,
            labels=labels,
            max_accuracy_drop=args.max_accuracy_drop,
        )
    except (ImportError, keras_resnext.ExportError) as error:
        raise Failure(error) from error
    if args.json:
        printing.print_json({**dataclasses.asdict(report), "ok": report.ok})
    else:
        print(report)
    return 0


def read(
    paths: Sequence[pathlib.Path],
    transform: keras_resnext.EvaluationTransform,
    normalized: bool,
) -> np.ndarray:
    """Read images as inputs of the exported files."""
    console = rich.console.Console(stderr=True)
    images = (
        image_files.read(path)
        for path in rich.progress.track(
            paths,
            "Reading",
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
    )
    if not normalized:
        return np.stack([transform.pixels(image) for image in images])
    x = np.stack([transform(image) for image in images])
    return x.transpose(0, 3, 1, 2) if loading.channels_first() else x
