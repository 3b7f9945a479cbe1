"""The command `evaluate`: accuracies, beside the published ones."""

import argparse
import sys

import keras

from keras_resnext.cli import Failure
from keras_resnext.cli import UsageError
from keras_resnext.cli import complain
from keras_resnext.cli import loading
from keras_resnext.cli import measurements
from keras_resnext.cli import note
from keras_resnext.cli import printing
from keras_resnext.cli import subjects
from keras_resnext.cli import usage
from keras_resnext.cli.subjects import Subject
from keras_resnext.data import evaluation
from keras_resnext.data.evaluation import LabeledImages


def run(args: argparse.Namespace) -> int:
    """Measure accuracies, and return the exit status."""
    with usage():
        found = subjects.subjects(args.weights, args.model)
        if args.csv is not None:
            measurements.check_csv(args.csv)
    if args.dtype_policy is not None:
        with usage():
            keras.config.set_dtype_policy(args.dtype_policy)
    images = evaluation.load_labeled(
        args.dataset, args.split, args.data_dir, args.limit
    )
    return evaluate(found, images, args)


def evaluate(
    found: list[Subject], images: LabeledImages, args: argparse.Namespace
) -> int:
    """Measure checkpoints one after another; a failure does not stop the rest.

    Args:
        found: The checkpoints.
        images: Images to measure on.
        args: The command line.

    Returns:
        The exit status.
    """
    status = 0
    rows = []
    for subject in found:
        try:
            row = measured(subject, images, args.batch_size, args.size)
        except evaluation.ImageError as error:
            raise Failure(error) from error  # every checkpoint would fail
        except UsageError as error:
            status = max(status, complain(error, 2))
            continue
        except (ValueError, OSError) as error:
            status = max(status, complain(error))
            continue
        rows.append(row)
        if not args.json:
            print(measurements.text(subject.name, row), flush=True)
        if args.csv is not None:
            measurements.append_csv(args.csv, row)
        keras.utils.clear_session()
    if args.json:
        printing.print_json(rows)
    return status


def measured(
    subject: Subject, images: LabeledImages, batch_size: int, size: int | None
) -> dict[str, object]:
    """Measure a checkpoint, and print the results so far if stopped."""
    if subject.classes is not None:  # a file is read first
        evaluation.class_indices(images.labels, subject.classes, subject.name)
    with loading.reading(subject.name):
        classifier = subject.classifier(size)
    tally = evaluation.Tally()
    steps = evaluation.measure(classifier, images, batch_size, tally)
    try:
        with measurements.progress(subject.name, images.count) as show:
            for _ in steps:
                show(tally)
    except KeyboardInterrupt:
        sys.stdout.flush()
        note(
            f"Stopped after {tally.images:,} of {images.count:,} images of "
            f"{subject.name}: top-1 {tally.top1:.2f} %, top-5 "
            f"{tally.top5:.2f} %."
        )
        raise
    return measurements.row(subject, classifier, images, tally)
