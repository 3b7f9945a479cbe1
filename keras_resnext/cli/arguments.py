"""The words of the command line `keras-resnext`, and what they mean."""

import argparse
import sys
from typing import NoReturn

from keras_resnext.cli import training_arguments
from keras_resnext.cli.types import path
from keras_resnext.cli.types import positive

PROGRAM = "keras-resnext"
STATUS = (
    "Exit status: 0 for success; 1 for a failure, such as a file that is "
    "missing or damaged, a failed download or a full disk; 2 for wrong usage "
    "alone."
)


class Parser(argparse.ArgumentParser):
    """A parser that complains as the commands do."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and an error, and end the process."""
        print(f"{PROGRAM}: error: {message}", file=sys.stderr)
        sys.exit(2)


def parser() -> argparse.ArgumentParser:
    """Return the parser, with a parser of its own for each command."""
    whole = Parser(
        PROGRAM,
        description="ResNeXt for Keras 3: networks, weights, predictions.",
        epilog=f"{PROGRAM} COMMAND --help tells more of a command. {STATUS}",
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

    networks = command("list", "catalog", "List the networks.")
    weights = command("weights", "catalog", "List published weights.")
    for made in (networks, weights):
        made.add_argument(
            "pattern",
            nargs="?",
            default="*",
            metavar="PATTERN",
            help="which, such as 'resnext50*' (default: all)",
        )
    weights.add_argument(
        "--license",
        metavar="SPDX",
        help="only those under a license, such as apache-2.0; 'commercial' "
        "stands for all that allow commercial use",
    )
    info = command("info", "info", "Tell what a network is made of.")
    info.add_argument("model", metavar="MODEL", help=f"one of {PROGRAM} list")
    _add_size(info)
    _add_predict(command("predict", "predict", "Name what is on pictures."))
    _add_evaluate(
        command(
            "evaluate",
            "evaluate",
            "Measure accuracies, beside the published ones.",
        )
    )
    _add_finetune(
        command(
            "finetune",
            "finetune",
            "Fine-tune a published model on images of your own, and export it.",
        )
    )
    _add_train(command("train", "train", "Train a model from random weights."))
    _add_export(
        command(
            "export",
            "export",
            "Write a network for other runtimes, and compare it in each.",
        )
    )
    _add_convert(
        command(
            "convert",
            "convert",
            "Convert weights between PyTorch's files and those of Keras.",
        )
    )
    _add_benchmark(
        command(
            "benchmark",
            "benchmark",
            "Measure how fast a network predicts here, folded and not.",
        )
    )
    paper = command(
        "paper", "paper", "Check the figures of the paper's tables."
    )
    paper.add_argument(
        "--tables",
        nargs="+",
        type=positive,
        metavar="N",
        help="which, of 1, 2, 3, 4 and 7 (default: all)",
    )
    return whole


def _add_size(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="height and width of pictures (default: the network's own)",
    )


def _add_weights(made: argparse.ArgumentParser, default: str) -> None:
    made.add_argument(
        "--weights",
        help=f"imagenet, a tag of {PROGRAM} weights, or the path or address "
        f"(hf://…, https://…) of a checkpoint (default: {default})",
    )


def _add_predict(predict: argparse.ArgumentParser) -> None:
    predict.add_argument(
        "pictures",
        nargs="+",
        metavar="IMAGE",
        type=path,
        help="image files of any kind that Pillow reads, or folders, which "
        "are searched for images",
    )
    predict.add_argument(
        "--model",
        help=f"one of {PROGRAM} list, or NAME.TAG of {PROGRAM} weights "
        "(default: resnext50_32x4d, or what the file of --weights holds)",
    )
    _add_weights(predict, "imagenet")
    predict.add_argument(
        "--top",
        type=positive,
        metavar="N",
        help="how many classes to print for each (default: 5)",
    )
    predict.add_argument(
        "--labels",
        type=path,
        metavar="FILE",
        help="names of the classes, one on each line (default: the model's)",
    )
    predict.add_argument(
        "--gradcam",
        type=path,
        metavar="OUT.png",
        help="write an image of where the model looked for the first class of "
        "each image, side by side, of the first 100 at most",
    )


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.description = (
        "Measure accuracies as the published ones were: with the same size, "
        "crop and interpolation, by Pillow, unless --size says otherwise. "
        "Classes named by WordNet ids (n01440764) are looked up among "
        "ImageNet's 1,000; others must be as many as the model's, in the same "
        "order, which is the alphabet's for folders."
    )
    add = evaluate.add_argument
    add(
        "weights",
        nargs="+",
        metavar="WEIGHTS",
        help=f"names of {PROGRAM} weights, shell-style patterns of them, all, "
        "or files",
    )
    add(
        "--model",
        metavar="NAME",
        help=f"the files' model, one of {PROGRAM} list, or NAME.TAG, whose "
        "transform and published accuracy the files take (default: what the "
        "file tells)",
    )
    add(
        "--dataset",
        default="imagenet2012",
        metavar="NAME",
        help="folder of one folder of images per class, or a name of "
        "TensorFlow Datasets (default: %(default)s)",
    )
    add(
        "--split",
        metavar="NAME",
        help="split of the dataset (default: validation; of a folder that "
        "contains no such folder, all of it)",
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
        help="number of images, of a folder random ones, the same each time "
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
        help="such as mixed_bfloat16 (default: that of keras.json)",
    )
    add(
        "--csv",
        type=path,
        metavar="FILE",
        help="file to append a line to for each checkpoint",
    )


def _add_finetune(finetune: argparse.ArgumentParser) -> None:
    finetune.add_argument(
        "dataset", metavar="DATASET", help=training_arguments.FOLDER
    )
    finetune.add_argument(
        "--model",
        default="resnext50_32x4d",
        metavar="NAME",
        help=f"one of {PROGRAM} list (default: %(default)s)",
    )
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
        help=f"formats to export, see {PROGRAM} export (default: saved_model "
        "tflite, saved_model or torch, by backend)",
    )
    training_arguments.add_training(finetune, "finetune", "DATASET-MODEL")


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument(
        "dataset", metavar="DATASET", help=training_arguments.FOLDER
    )
    train.add_argument(
        "--model",
        default="resnext50_32x4d",
        metavar="NAME",
        help=f"one of {PROGRAM} list (default: %(default)s)",
    )
    train.add_argument(
        "--validation",
        action="store_true",
        help="set a tenth of the training images aside for validation where "
        "only a test set exists",
    )
    training_arguments.add_training(train, "paper", "MODEL-RECIPE")


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument(
        "model",
        metavar="MODEL",
        help=f"one of {PROGRAM} list, NAME.TAG of {PROGRAM} weights, or the "
        "path or address of a checkpoint or .keras file",
    )
    export.add_argument(
        "directory", metavar="DIRECTORY", type=path, help="where to"
    )
    _add_weights(export, "imagenet")
    export.add_argument(
        "--formats",
        nargs="+",
        metavar="FORMAT",
        help="of saved_model, tflite, tflite_float16, tflite_dynamic, "
        "tflite_int8, onnx, openvino, torch (default: all that are possible)",
    )
    export.add_argument(
        "--pictures",
        nargs="+",
        type=path,
        metavar="PICTURE",
        help="files to compare on, and to quantize tflite_int8 with",
    )
    export.add_argument(
        "--normalized",
        action="store_true",
        help="the files are to take normalized numbers, not pixels",
    )
    export.add_argument(
        "--labels",
        type=path,
        metavar="FILE",
        help="the classes, one on each line (default: ImageNet's, of 1,000)",
    )
    _add_size(export)


def _add_convert(convert: argparse.ArgumentParser) -> None:
    convert.add_argument(
        "source",
        metavar="SOURCE",
        help=f"NAME.TAG of {PROGRAM} weights, or a file or its address: of "
        "timm or torchvision (.safetensors, .pth), of the old "
        "keras-applications (.h5), or Keras' own (.weights.h5, .keras)",
    )
    convert.add_argument(
        "output",
        metavar="OUTPUT",
        type=path,
        help="the file to write, ending in .weights.h5 or .keras, or in "
        ".safetensors for timm",
    )
    convert.add_argument(
        "--model",
        metavar="NAME",
        help=f"the file's network, one of {PROGRAM} list, where the file does "
        "not tell: .weights.h5 never does",
    )
    convert.add_argument(
        "--force", action="store_true", help="replace OUTPUT if there is one"
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
        help="how many pictures at once (default: 1 32)",
    )
    benchmark.add_argument(
        "--dtypes",
        nargs="+",
        choices=("float32", "bfloat16", "float16"),
        default=("float32", "bfloat16"),
        metavar="DTYPE",
        help="what folded networks compute in: float32, bfloat16, float16 "
        "(default: float32 bfloat16)",
    )
    _add_size(benchmark)
