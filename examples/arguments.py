"""The command line of finetune.py, and the models it can name."""

import argparse
import math
import os
import pathlib

import keras_resnext

# For little pictures: the paper's ResNeXt-29 with fewer and slimmer blocks.
TINY = keras_resnext.ResNeXtConfig(
    depths=(1, 1, 1),
    grouping=keras_resnext.Template(cardinality=8, bottleneck_width=16),
    out_channels=(64, 128, 256),
    stem=keras_resnext.Stem((32,), kernel_size=3, strides=1, pool=None),
    zero_init_last=True,
    default_size=32,
)
MODELS = {"tiny": TINY, **keras_resnext.VARIANTS}


def parser(description: str) -> argparse.ArgumentParser:
    """The command line; what depends on the data set has no default yet."""
    made = argparse.ArgumentParser(
        usage="%(prog)s [options]",
        description=description,
        formatter_class=HelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = made.add_argument
    add(
        "--dataset",
        default="digits",
        help="digits, a name of TensorFlow Datasets, or a folder that holds "
        "class/*.jpg or train/class/*.jpg and test/class/*.jpg",
    )
    add(
        "--model",
        type=model_name,
        help="tiny or a name of keras_resnext.list_models() "
        "(default: tiny for digits, else resnext50_32x4d)",
    )
    add(
        "--weights",
        help="imagenet, a tag, the path of a checkpoint, or none "
        "(default: none for digits and tiny, else imagenet)",
    )
    add(
        "--size",
        type=positive,
        help="height and width that pictures are brought to "
        "(default: 16 for digits and tiny, else the model's own)",
    )
    add(
        "--epochs",
        type=positive,
        help="passes over the training pictures (default: 25 for digits, "
        "else 12)",
    )
    add(
        "--steps",
        type=positive,
        help="batches per epoch (default: all there are)",
    )
    add("--batch-size", type=positive, default=32, help="pictures per batch")
    add(
        "--rate",
        type=rate,
        help="highest learning rate (default: 0.001 with weights, else 0.003)",
    )
    add("--seed", type=int, default=0, help="start of all that is random")
    add(
        "--data-dir",
        help="where TensorFlow Datasets keeps its files "
        "(default: ~/tensorflow_datasets)",
    )
    add("--output", help="folder to write (default: runs/DATASET-MODEL)")
    return made


class HelpFormatter(
    argparse.ArgumentDefaultsHelpFormatter,
    argparse.RawDescriptionHelpFormatter,
):
    """Shows defaults, and leaves the description's lines alone."""


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1, not {text!r}"
        )
    return int(text)


def rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"must be a positive number, not {text!r}"
        )
    return value


def model_name(text: str) -> str:
    if text not in MODELS:
        raise argparse.ArgumentTypeError(
            f"there is no model {text!r}, but {', '.join(MODELS)}"
        )
    return text


def with_defaults(given: argparse.Namespace) -> argparse.Namespace:
    """Fills in what depends on the data set and on other arguments."""
    on_digits = given.dataset == "digits"
    model = getattr(given, "model", "tiny" if on_digits else "resnext50_32x4d")
    from_nothing = on_digits or model == "tiny"
    weights = getattr(given, "weights", "none" if from_nothing else "imagenet")
    dataset = pathlib.Path(given.dataset).resolve().name
    defaults = {
        "model": model,
        "weights": weights,
        "size": 16 if on_digits and model == "tiny" else None,
        "epochs": 25 if on_digits else 12,
        "steps": None,
        "data_dir": None,
        "rate": 3e-3 if weights == "none" else 1e-3,
        "output": os.path.join("runs", f"{dataset}-{model}"),
    }
    args = argparse.Namespace(**{**defaults, **vars(given)})
    args.size = args.size or MODELS[model].default_size
    return args
