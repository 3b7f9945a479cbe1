"""Arguments of the command line `keras-resnext`."""

import argparse
import sys
from typing import NoReturn

from keras_resnext.cli import training_arguments
from keras_resnext.cli.types import path
from keras_resnext.cli.types import positive

PROGRAM = "keras-resnext"
STATUS = (
    "Exit status: 0 for success; 1 for a failure, such as a missing or damaged "
    "file, a failed download or a full disk; 2 for wrong arguments."
)


class Parser(argparse.ArgumentParser):
    """Parser that reports errors as the commands do."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and an error, and end the process."""
        print(f"{PROGRAM}: error: {message}", file=sys.stderr)
        sys.exit(2)


def parser() -> argparse.ArgumentParser:
    """Return the parser, with a subparser for each command."""
    whole = Parser(
        PROGRAM,
        description="ResNeXt for Keras 3: models, weights, predictions.",
        epilog=f"{PROGRAM} COMMAND --help describes a command. {STATUS}",
    )
    commands = whole.add_subparsers(
        required=True, metavar="COMMAND", title="commands"
    )

    def command(name: str, module: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=text, description=text, epilog=STATUS
        )
        made.set_defaults(module=module, command=name)
        made.add_argument(
            "--json", action="store_true", help="print JSON, for programs"
        )
        return made

    listed = command("list", "catalog", "List the models.")
    weights = command("weights", "catalog", "List published weights.")
    for made in (listed, weights):
        made.add_argument(
            "pattern",
            nargs="?",
            default="*",
            metavar="PATTERN",
            help="shell-style pattern of names, such as 'resnext50*' "
            "(default: all)",
        )
    weights.add_argument(
        "--license",
        metavar="SPDX",
        help="license of the weights, such as apache-2.0, or 'commercial' for "
        "all that allow commercial use (default: any)",
    )
    info = command(
        "info", "info", "Print the size, cost and stages of a model."
    )
    info.add_argument("model", metavar="MODEL", help=f"one of {PROGRAM} list")
    _add_size(info)
    _add_predict(command("predict", "predict", "Classify images."))
    _add_evaluate(
        command(
            "evaluate",
            "evaluate",
            "Measure accuracies, and compare them with the published ones.",
        )
    )
    finetune = command(
        "finetune",
        "finetune",
        "Fine-tune a published model on your own images, and export it.",
    )
    train = command("train", "train", "Train a model from random weights.")
    for made in (finetune, train):
        made.add_argument(
            "dataset", metavar="DATASET", help=training_arguments.FOLDER
        )
        made.add_argument(
            "--model",
            default="resnext50_32x4d",
            metavar="NAME",
            help=f"one of {PROGRAM} list (default: %(default)s)",
        )
    _add_finetune(finetune)
    train.add_argument(
        "--validation",
        action="store_true",
        help="set a tenth of the training images aside for validation where "
        "only a test set exists",
    )
    training_arguments.add_training(train, "paper", "MODEL-RECIPE")
    _add_export(
        command(
            "export",
            "export",
            "Export a model to other runtimes, and validate the files.",
        )
    )
    _add_convert(
        command(
            "convert",
            "convert",
            "Convert weights between the files of PyTorch and Keras.",
        )
    )
    _add_benchmark(
        command(
            "benchmark",
            "benchmark",
            "Measure the speed of prediction, folded and unfolded.",
        )
    )
    paper = command(
        "paper",
        "paper",
        "Compute the figures of the paper's tables, and compare them.",
    )
    paper.add_argument(
        "--tables",
        nargs="+",
        type=positive,
        metavar="N",
        help="numbers of tables: 1, 2, 3, 4, 7 (default: all)",
    )
    return whole


def _add_size(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="height and width of images (default: the model's own)",
    )


def _add_weights(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--weights",
        help=f"imagenet, a tag of {PROGRAM} weights, or the path or address "
        "(hf://…, https://…) of a checkpoint (default: imagenet)",
    )


def _add_predict(predict: argparse.ArgumentParser) -> None:
    predict.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        type=path,
        help="image files that Pillow reads, or folders of them",
    )
    predict.add_argument(
        "--model",
        help=f"one of {PROGRAM} list, NAME.TAG of {PROGRAM} weights, or the "
        f"path of a file of {PROGRAM} export (default: resnext50_32x4d, or "
        "the model in the file of --weights)",
    )
    _add_weights(predict)
    predict.add_argument(
        "--top",
        type=positive,
        metavar="N",
        help="number of classes to print for each image (default: 5)",
    )
    predict.add_argument(
        "--labels",
        type=path,
        metavar="FILE",
        help="file of class names, one per line (default: the model's)",
    )
    predict.add_argument(
        "--gradcam",
        type=path,
        metavar="OUT.png",
        help="file for a sheet of images, their most probable class and its "
        "Grad-CAM heat map (at most 100 images)",
    )


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.description = (
        "Measure accuracies as the published ones were measured: with the same "
        "size, crop and interpolation, by Pillow, unless --size is given. "
        "Classes named by WordNet ids (n01440764) are looked up among "
        "ImageNet's 1,000; other datasets must have the model's classes, in "
        "the same order (alphabetical for folders)."
    )
    add = evaluate.add_argument
    add(
        "weights",
        nargs="+",
        metavar="WEIGHTS",
        help=f"names of {PROGRAM} weights, shell-style patterns of names, "
        "files, or all",
    )
    add(
        "--model",
        metavar="NAME",
        help=f"model of the files: one of {PROGRAM} list, or NAME.TAG, which "
        "adds its transform and published accuracy (default: identified from "
        "the file)",
    )
    add(
        "--dataset",
        default="imagenet2012",
        metavar="NAME",
        help="folder that contains one folder of images per class, or a name "
        "of TensorFlow Datasets (default: %(default)s)",
    )
    add(
        "--split",
        metavar="NAME",
        help="split of the dataset (default: validation, or all images of a "
        "folder that contains no such folder)",
    )
    add(
        "--data-dir",
        metavar="FOLDER",
        help="folder of TensorFlow Datasets' files "
        "(default: ~/tensorflow_datasets)",
    )
    add(
        "--batch-size",
        type=positive,
        default=64,
        metavar="N",
        help="images per batch (default: %(default)s)",
    )
    add(
        "--limit",
        type=positive,
        metavar="N",
        help="number of images; from a folder, a fixed random choice "
        "(default: all)",
    )
    add(
        "--size",
        type=positive,
        metavar="N",
        help="height and width in pixels (default: the best published)",
    )
    add(
        "--dtype-policy",
        metavar="NAME",
        help="dtype policy, such as mixed_bfloat16 "
        "(default: that of keras.json)",
    )
    add(
        "--csv",
        type=path,
        metavar="FILE",
        help="CSV file to append one line per checkpoint to",
    )


def _add_finetune(finetune: argparse.ArgumentParser) -> None:
    finetune.add_argument(
        "--weights",
        help=f"imagenet, a tag of {PROGRAM} weights, a file, or none for "
        "random weights (default: imagenet, or the model's only ones)",
    )
    _add_size(finetune)
    finetune.add_argument(
        "--formats",
        nargs="+",
        metavar="FORMAT",
        default=["saved_model", "tflite"],
        help=f"formats to export, see {PROGRAM} export (default: saved_model "
        "tflite)",
    )
    training_arguments.add_training(finetune, "finetune", "DATASET-MODEL")


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument(
        "model",
        metavar="MODEL",
        help=f"one of {PROGRAM} list, NAME.TAG of {PROGRAM} weights, or the "
        "path or address of a checkpoint or .keras file",
    )
    export.add_argument(
        "directory", metavar="DIRECTORY", type=path, help="output directory"
    )
    _add_weights(export)
    export.add_argument(
        "--formats",
        nargs="+",
        metavar="FORMAT",
        help="saved_model, tflite, tflite_float16, tflite_dynamic, "
        "tflite_int8, onnx, onnx_int8, openvino, openvino_int8, torch "
        "(default: all that the installed packages can write)",
    )
    export.add_argument(
        "--images",
        nargs="+",
        type=path,
        metavar="IMAGE",
        help="images for validation and the calibration of 8-bit formats, or "
        "a folder of images or of one folder per class",
    )
    export.add_argument(
        "--max-accuracy-drop",
        type=float,
        metavar="SHARE",
        help="largest drop of a file's accuracy on the folder of --images, "
        "such as 0.01",
    )
    export.add_argument(
        "--normalized",
        action="store_true",
        help="export without preprocessing: files take normalized images",
    )
    export.add_argument(
        "--labels",
        type=path,
        metavar="FILE",
        help="file of class names, one per line (default: the model's)",
    )
    _add_size(export)


def _add_convert(convert: argparse.ArgumentParser) -> None:
    convert.add_argument(
        "source",
        metavar="SOURCE",
        help=f"NAME.TAG of {PROGRAM} weights, or the path or address of a file "
        "of timm or torchvision (.safetensors, .pth), of the old "
        "keras-applications (.h5), or of Keras (.weights.h5, .keras)",
    )
    convert.add_argument(
        "output",
        metavar="OUTPUT",
        type=path,
        help="output file: .weights.h5, .keras, or .safetensors for timm",
    )
    convert.add_argument(
        "--model",
        metavar="NAME",
        help=f"model of the file, one of {PROGRAM} list; needed for "
        ".weights.h5 (default: identified from the file)",
    )
    convert.add_argument(
        "--force", action="store_true", help="replace OUTPUT if it exists"
    )


def _add_benchmark(benchmark: argparse.ArgumentParser) -> None:
    benchmark.add_argument(
        "model", metavar="MODEL", help=f"one of {PROGRAM} list"
    )
    benchmark.add_argument(
        "--batches",
        nargs="+",
        type=positive,
        default=(1, 32),
        metavar="N",
        help="batch sizes (default: 1 32)",
    )
    benchmark.add_argument(
        "--dtypes",
        nargs="+",
        choices=("float32", "bfloat16", "float16"),
        default=("float32", "bfloat16"),
        metavar="DTYPE",
        help="dtypes of folded models: float32, bfloat16, float16 "
        "(default: float32 bfloat16)",
    )
    _add_size(benchmark)
