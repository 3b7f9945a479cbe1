"""Weights for a built model: resolve, read, convert, assign."""

import contextlib
import os
import re
import warnings
import zipfile
from collections.abc import Iterator

import h5py
import keras

from keras_resnext.weights import convert
from keras_resnext.weights.catalogue import find_weights
from keras_resnext.weights.fetch import fetch
from keras_resnext.weights.fetch import first_line
from keras_resnext.weights.identify import looks_like
from keras_resnext.weights.readers import CheckpointError
from keras_resnext.weights.readers import read_checkpoint
from keras_resnext.weights.records import Weights

Path = str | os.PathLike[str]

KERAS_SUFFIXES = (".weights.h5", ".keras")


def resolve(weights: Path | None, variant: str | None) -> Weights | Path | None:
    """Tells what the argument `weights` of a model stands for.

    Args:
        weights: `None`, `"imagenet"`, a tag, `"variant.tag"` or a path.
        variant: The model's variant, or `None` if it is not in the table.

    Returns:
        `None`, a record of the catalogue, or a path.

    Raises:
        ValueError: If there is neither such a file nor such a checkpoint.
    """
    if weights is None:
        return None
    text = os.fspath(weights)
    # A bare word may also name a folder, and "imagenet" often does.
    if text is not weights or os.path.dirname(text) or os.path.isfile(text):
        return text
    if variant is None:
        raise ValueError(
            f"There is no file {text!r}, and only rows of VARIANTS have "
            "published weights. Use weights=None or the path of a file."
        )
    return find_weights(variant, text)


def check_head(record: Weights, classes: int, activation: object) -> None:
    """Refuses a classifier that a checkpoint does not fit.

    Raises:
        ValueError: If it has other classes, or another activation than the
            checkpoint was trained with, or none.
    """
    if classes != record.classes:
        raise ValueError(
            f"The weights '{record.name}' tell {record.classes:,} classes "
            f"apart. Received: classes={classes}. Build the model with "
            f"classes={record.classes} and call keras_resnext.finetuning."
            f"replace_classifier(model, {classes}), or use include_top=False."
        )
    if keras.activations.get(activation) not in (
        keras.activations.softmax,
        keras.activations.linear,
    ):
        raise ValueError(
            "With pretrained weights `classifier_activation` must be "
            f"'softmax' or None. Received: {activation!r}"
        )


def load(model: keras.Model, source: Weights | Path | None) -> None:
    """Loads what `resolve` returned, and says so in `model.weights_info`."""
    if isinstance(source, Weights):
        load_record(model, source)
    elif source is not None:
        load_file(model, source)
    model.weights_info = source if isinstance(source, Weights) else None


def load_record(model: keras.Model, record: Weights) -> None:
    """Loads a checkpoint of the catalogue into a model built for it.

    Args:
        model: A model of the record's variant, with or without its top.
        record: The checkpoint.

    Raises:
        WeightsUnavailableError: If no source can be reached.
        CheckpointError: If the file is not what the catalogue says, or
            doesn't fit the model, which is then left as it was.
    """
    _assign(
        model, read_checkpoint(fetch(record, _has_head(model))), record.layout
    )


def load_file(model: keras.Model, path: Path) -> None:
    """Loads a file of any kind that can be read into a model.

    Args:
        model: The model.
        path: A checkpoint of timm, torchvision or mmpretrain (safetensors,
            `.pth`), a legacy `.h5` of keras-applications or of qubvel's
            classification_models, or what Keras itself saves.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file can't be read or doesn't fit the model,
            which is then left as it was.
    """
    if os.fspath(path).endswith(KERAS_SUFFIXES) and os.path.isfile(path):
        _load_keras_file(model, os.fspath(path))
    else:
        tensors = read_checkpoint(path)
        _assign(model, tensors, convert.detect_layout(tensors))


def identify(path: Path) -> tuple[str, int | None]:
    """Tells what network a checkpoint of another library belongs to.

    Args:
        path: The file, of a kind that `load_file` reads, but not Keras' own.

    Returns:
        The variant's name, and its number of classes: `None` without a
        classifier.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file can't be read, or fits no variant or
            several.
    """
    tensors = read_checkpoint(path)
    layout = convert.detect_layout(tensors)
    variants = looks_like(tensors, layout)
    if len(variants) != 1:
        found = ", ".join(variants) or "none"
        raise CheckpointError(
            f"'{path}' does not tell its network: variants that it fits: "
            f"{found}. Name one with keras_resnext.get_model(name, weights="
            "path)."
        )
    return variants[0], convert.num_classes(tensors, layout)


def _load_keras_file(model: keras.Model, path: str) -> None:
    before = model.get_weights()
    try:
        # Keras itself passes over layers that only the file has.
        own = {layer.name for layer in model.layers} | {convert.HEAD}
        unknown = sorted(_stored_layers(path) - own)
        if unknown:
            raise ValueError(f"it holds {len(unknown)} more: {unknown[0]}...")
        with warnings.catch_warnings():
            # Keras warns of containers that hold what it then fails to load.
            warnings.simplefilter("ignore", UserWarning)
            model.load_weights(path)
    except Exception as error:
        model.set_weights(before)
        raise CheckpointError(
            f"'{path}' does not fit the model '{model.name}', or is damaged: "
            f"{first_line(error).rstrip(':')}"
        ) from error


def _stored_layers(path: str) -> set[str]:
    """The names of our layers whose variables a file of Keras holds."""
    with contextlib.ExitStack() as stack:
        file: object = path
        if path.endswith(".keras"):
            archive = stack.enter_context(zipfile.ZipFile(path))
            file = stack.enter_context(archive.open("model.weights.h5"))
        layers = stack.enter_context(h5py.File(file, "r"))["layers"]
        names = {
            str(layer["vars"].attrs.get("name"))
            for layer in layers.values()
            if "vars" in layer and layer.visititems(_is_array)
        }
    return {name for name in names if re.fullmatch(convert.OUR_LAYERS, name)}


def _is_array(_: str, item: h5py.Group | h5py.Dataset) -> bool | None:
    return isinstance(item, h5py.Dataset) or None  # None visits the next


def variables_of(
    model: keras.Model,
) -> Iterator[tuple[convert.Variable, keras.Variable]]:
    """A model's variables, by layer and by name or path within that layer.

    A layer of layers may hold several of one name: `"conv_norm/gamma"`.
    """
    for layer in model.layers:
        for variable in layer.weights:
            path = f"/{variable.path}".rpartition(f"/{layer.name}/")[2]
            yield (layer.name, path), variable


def _assign(model: keras.Model, tensors: convert.Tensors, layout: str) -> None:
    own = dict(variables_of(model))
    values = convert.to_keras(
        tensors,
        {key: tuple(variable.shape) for key, variable in own.items()},
        [layer.name for layer in model.layers],
        layout,
    )
    for key, value in values.items():
        own[key].assign(value)


def _has_head(model: keras.Model) -> bool:
    return any(layer.name == convert.HEAD for layer in model.layers)
