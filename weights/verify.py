"""Measures the accuracy of checkpoints, beside the one that was published.

    python weights/verify.py resnext50_32x4d.a1_in1k
    python weights/verify.py 'resnext50*' --dataset path/to/val --csv runs.csv
    python weights/verify.py all --dataset imagenet_v2 --split test
    python weights/verify.py flowers.pth --dataset path/to/folder --size 224

WEIGHTS are names of keras_resnext.list_weights() or shell-style patterns of
them, "all", or files. Each is measured as its published accuracy was: at the
same size, crop and interpolation, by Pillow, unless --size says otherwise; a
file at the size of its network, cropped to 87.5 %.

The data set is a name of TensorFlow Datasets or a folder with one folder of
pictures per class. Classes named by WordNet ids (n01440764) are looked up
among ImageNet's 1,000; otherwise there must be as many as the network tells
apart, in the same order, which is the alphabet's for a folder's.
"""

import argparse
import pathlib
import sys

# The one of examples/, ahead of all that imports TensorFlow.
sys.path.append(str(pathlib.Path(__file__).parents[1] / "examples"))
import startup  # noqa: F401  (importing it is its use)

# isort: split
import accuracy
import command
import keras
import labelled
import results
import sources

import keras_resnext
from keras_resnext.cli import networks


def main() -> int:
    """Runs the script; the result is its exit status."""
    return command.main(argument_parser(), work)


def work(args: argparse.Namespace) -> int:
    """Measures what the arguments name."""
    subjects = sources.subjects(args.weights, args.model)
    if args.csv is not None:
        results.check_csv(args.csv)
    if args.dtype_policy is not None:
        keras.config.set_dtype_policy(args.dtype_policy)
    pictures = labelled.load(
        args.dataset, args.split, args.data_dir, args.limit
    )
    return verify(subjects, pictures, args)


def argument_parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__, "%(prog)s [options] WEIGHTS ...")
    add = parser.add_argument
    add("weights", nargs="+", metavar="WEIGHTS", help="names, patterns, files")
    add(
        "--model",
        metavar="NAME",
        help="the network of files that do not tell it, a name of "
        "keras_resnext.list_models(); or variant.tag, whose transform and "
        "published accuracy then hold for the files",
    )
    add(
        "--dataset",
        default="imagenet2012",
        metavar="NAME",
        help="a folder, or a name of TensorFlow Datasets "
        "(default: %(default)s)",
    )
    add(
        "--split",
        help="part of the data set (default: validation; of a folder that "
        "holds no such folder, all)",
    )
    add(
        "--data-dir",
        metavar="FOLDER",
        help="where TensorFlow Datasets keeps its files "
        "(default: ~/tensorflow_datasets)",
    )
    add(
        "--batch-size",
        type=command.positive,
        default=64,
        metavar="N",
        help="pictures to compute at once (default: %(default)s)",
    )
    add(
        "--limit",
        type=command.positive,
        metavar="N",
        help="only N pictures, of a folder by chance, but always the same",
    )
    add(
        "--size",
        type=command.positive,
        metavar="N",
        help="height and width in pixels (default: the best published)",
    )
    add(
        "--dtype-policy",
        metavar="NAME",
        help="such as mixed_bfloat16 (default: that of keras.json)",
    )
    add(
        "--csv",
        type=pathlib.Path,
        metavar="FILE",
        help="where to append a line for each checkpoint once it is measured",
    )
    return parser


def verify(
    subjects: list[sources.Subject],
    pictures: labelled.Pictures,
    args: argparse.Namespace,
) -> int:
    """Measures one after the other; one that fails does not stop the rest.

    Args:
        subjects: What to measure.
        pictures: On what.
        args: The command line.

    Returns:
        The exit status.
    """
    status = 0
    for subject in subjects:
        try:
            row = measured(subject, pictures, args.batch_size, args.size)
        except labelled.PictureError:
            raise  # as it would for all
        except (ValueError, OSError) as error:
            print(f"verify.py: error: {error}", file=sys.stderr)
            status = max(status, 2 if isinstance(error, ValueError) else 1)
            continue
        print(results.text(subject.name, row), flush=True)
        if args.csv is not None:
            results.append_csv(args.csv, row)
        keras.utils.clear_session()
    return status


def measured(
    subject: sources.Subject,
    pictures: labelled.Pictures,
    batch_size: int,
    size: int | None,
) -> dict[str, object]:
    """Measures one, and says how far it came if it is stopped."""
    if subject.classes is not None:  # which else is known after a download
        labelled.class_indices(pictures.labels, subject.classes, subject.name)
    with networks.reading(subject.name):
        model = subject.build()
    transform = (
        keras_resnext.evaluation_transform(subject.record, size)
        if subject.record
        else networks.transform_for(model, size)
    )
    tally = accuracy.Tally()
    steps = accuracy.measure(model, transform, pictures, batch_size, tally)
    try:
        with results.progress(subject.name, pictures.count) as show:
            for _ in steps:
                show(tally)
    except KeyboardInterrupt:
        print(
            f"Stopped after {tally.images:,} of {pictures.count:,} pictures "
            f"of {subject.name}: top-1 {tally.top1:.2f} %, "
            f"top-5 {tally.top5:.2f} %.",
            file=sys.stderr,
        )
        raise
    return results.row(subject, model, transform, pictures, tally)


if __name__ == "__main__":
    sys.exit(main())
