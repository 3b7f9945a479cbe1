"""Models that a command line names."""

import contextlib
import os
import pathlib
from contextlib import AbstractContextManager

import keras
import numpy as np
import rich.console
import rich.markup

import keras_resnext
from keras_resnext.cli import Failure
from keras_resnext.cli import UsageError
from keras_resnext.cli import usage
from keras_resnext.data.evaluation import Classifier
from keras_resnext.variants import find_variant
from keras_resnext.weights.addresses import find_checkpoint
from keras_resnext.weights.catalog import find_weights

SUFFIXES = (".bin", ".h5", ".keras", ".pt", ".pth", ".safetensors")
EXPORTED = (".onnx", ".pt2", ".tflite")
DEFAULT = "resnext50_32x4d"


def load(
    name: str | None, weights: str | None, size: int | None = None
) -> keras.Model:
    """Load the model of a command line.

    Args:
        name: `"variant"` or `"variant.tag"`, `None` if a file identifies it.
        weights: `"imagenet"`, a tag, or the path or address of a file.
        size: Height and width of the images; `None` for any.

    Raises:
        UsageError: If no variant or checkpoint has that name.
        ValueError: If the model has no classifier, or the file is damaged.
        OSError: If there is no such file, or weights can't be downloaded.
    """
    if weights is not None and is_file(weights):
        model = from_file(weights, name, size=size)
    else:
        check_name(name or DEFAULT, weights)
        given = {} if weights is None else {"weights": weights}
        model = keras_resnext.get_model(
            name or DEFAULT, input_shape=shape(size), **given
        )
    if len(model.output_shape) != 2:
        raise ValueError(f"'{weights}' contains no classifier.")
    return model


def load_for_export(
    name: str, weights: str | None, size: int | None = None
) -> keras.Model:
    """Load the model of a command line, for images of one size.

    Args:
        name: `"variant"`, `"variant.tag"`, or the path or address of a file.
        weights: As in `load`; `None` where `name` is a file.
        size: Height and width of the images; `None` for the model's.

    Raises:
        UsageError: As in `load`, or if a file does not identify its model.
        ValueError: As in `load`.
        OSError: As in `load`.
    """
    if not is_file(name):
        return load(name, weights, size or own_size(name.partition(".")[0]))
    if weights is not None:
        raise UsageError(f"'{name}' contains weights; leave --weights out.")
    path = os.fspath(find_checkpoint(name))
    fitting = keras_resnext.inspect_checkpoint(path).variants
    if len(fitting) != 1 and not path.endswith(".keras"):
        raise UsageError(
            f"'{name}' does not identify its model. Name it as MODEL, and the "
            "file as --weights."
        )
    return load(None, name, size or own_size(*fitting[:1]))


def check_name(name: str, weights: str | None = None) -> None:
    """Refuse a name or a tag that the catalog does not list.

    Args:
        name: `"variant"` or `"variant.tag"`.
        weights: A tag that overrides the name's; `None` for the default.

    Raises:
        UsageError: If there is no such variant or checkpoint.
    """
    variant, _, tag = name.partition(".")
    with usage():
        find_variant(variant)
        find_weights(variant, weights or tag or "imagenet")


def is_exported(word: str) -> bool:
    """Return whether a word is the path of an exported file or directory."""
    return os.path.isdir(word) or word.endswith(EXPORTED)


def exported(path: str, size: int | None = None) -> Classifier:
    """Load an exported file as a classifier.

    Args:
        path: Path of the file, or of a directory that contains only one.
        size: Height and width of the images, if not the file's own.

    Raises:
        UsageError: If `size` is another.
        Failure: If the runtime is missing.
        ValueError: If the file is damaged or not a classifier, or a directory
            contains several.
        OSError: If there is no such file.
    """
    try:
        model = keras_resnext.load_exported(path)
    except ImportError as error:
        raise Failure(error) from error
    transform = model.transform
    if size not in (None, transform.crop_size):
        raise UsageError(
            f"'{path}' was exported for images of {transform.crop_size} "
            f"pixels. Received: {size}"
        )
    return Classifier(
        model.path.stem,
        model.format,
        "",
        model.classes,
        model.labels,
        transform,
        lambda pixels: np.asarray(model(pixels), "float32"),
    )


def is_file(word: str) -> bool:
    """Return whether a word is the path of a file, not a checkpoint's name."""
    return bool(
        os.path.dirname(word)
        or word.endswith(SUFFIXES + EXPORTED)
        or os.path.exists(word)
    )


def from_file(
    path: str,
    variant: str | None,
    activation: str | None = "softmax",
    size: int | None = None,
) -> keras.Model:
    """Build the model that a file contains.

    Args:
        path: A file of any kind that can be read, or its address.
        variant: A name of `list_models()`; `None` if the file identifies it,
            as a `.keras` file always does.
        activation: Activation of the classifier; a `.keras` file has its own.
        size: Height and width of the images, `None` for any; a `.keras` file
            has its own.

    Raises:
        UsageError: If neither the file nor the user names the variant.
        ValueError: If the file can't be read, or the variant is wrong.
        OSError: If there is no such file.
    """
    file = find_checkpoint(path)
    if os.fspath(file).endswith(".keras"):
        return keras_resnext.model_from_checkpoint(file)
    info = keras_resnext.inspect_checkpoint(file)
    if variant is None:
        if len(info.variants) != 1:
            fitting = " or ".join(info.variants)
            raise UsageError(
                f"'{path}' does not identify its model"
                + (f", which is {fitting}" if fitting else "")
                + ". Name it with --model."
            )
        (variant,) = info.variants
    with usage():
        find_variant(variant)
    return keras_resnext.get_model(
        variant,
        weights=file,
        include_top=info.classes is not None,
        classes=info.classes or 1000,
        classifier_activation=activation,
        input_shape=shape(size),
    )


def read_labels(path: pathlib.Path) -> list[str]:
    """Read names of classes, one on each line.

    Raises:
        Failure: If the file is not text.
        OSError: If there is no such file.
    """
    try:
        return path.read_text("utf-8-sig").rstrip("\r\n").splitlines()
    except UnicodeDecodeError:
        raise Failure(f"'{path}' is not a text file in UTF-8.") from None


def reading(word: str) -> AbstractContextManager:
    """Print a file's name on a terminal while it is read."""
    console = rich.console.Console(stderr=True)
    if is_file(word):
        return console.status(f"Reading {rich.markup.escape(word)}")
    if console.is_terminal:
        # A static line: a download draws its own progress bars.
        console.print(f"Getting {word}", markup=False)
    return contextlib.nullcontext()


def shape(size: int | None = None) -> tuple[int | None, ...]:
    """Return the shape of color images, of any size by default."""
    return (3, size, size) if channels_first() else (size, size, 3)


def own_size(variant: str = "") -> int | None:
    """Return the default height and width of a variant's images, if any."""
    config = keras_resnext.VARIANTS.get(variant)
    return config.default_size if config else None


def channels_first() -> bool:
    """Return whether Keras is set to channels first."""
    return keras.config.image_data_format() == "channels_first"


def transform_for(
    model: keras.Model, size: int | None = None
) -> keras_resnext.EvaluationTransform:
    """Return a model's evaluation transform, for images of its own size.

    Args:
        model: A model built here, or one that contains such a model.
        size: Height and width, if not the model's own or best published.

    Raises:
        UsageError: If the model does not take images of the given size.
        ValueError: If the model does not take square images.
    """
    if size is not None:
        with usage():
            return keras_resnext.evaluation_transform(model, size)
    if keras_resnext.get_data_config(model).size is None:
        size = own_size(model.name)
    return keras_resnext.evaluation_transform(model, size)
