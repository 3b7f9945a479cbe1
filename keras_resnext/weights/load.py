"""Weights for a built model: resolve, read, convert, assign."""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Iterator

import keras

from keras_resnext import labels
from keras_resnext.data_config import DataConfig
from keras_resnext.weights import convert
from keras_resnext.weights.addresses import FetchedCheckpoint
from keras_resnext.weights.addresses import find_checkpoint
from keras_resnext.weights.catalog import find_weights
from keras_resnext.weights.catalog import get_weights
from keras_resnext.weights.fetch import fetch
from keras_resnext.weights.files import refuse_weight_set
from keras_resnext.weights.keras_files import is_keras_file
from keras_resnext.weights.keras_models import load_keras_file
from keras_resnext.weights.readers import CheckpointError
from keras_resnext.weights.readers import open_checkpoint
from keras_resnext.weights.records import Weights

Path = str | os.PathLike[str]

logger = logging.getLogger(__name__)


def resolve(weights: Path | None, variant: str | None) -> Weights | Path | None:
    """Tells what the argument `weights` of a model stands for.

    Args:
        weights: `None`, `"imagenet"`, a tag, `"variant.tag"`, a path, or an
            address, as for `load_checkpoint`.
        variant: The model's variant, or `None` if it is not in the table.

    Returns:
        `None`, a record of the catalog, or a path.

    Raises:
        ValueError: If there is neither such a file nor such a checkpoint.
        WeightsUnavailableError: If what an address names can't be downloaded.
    """
    if weights is None:
        return None
    text = os.fspath(weights)
    # A bare word may also name a folder, and "imagenet" often does.
    if text is not weights or os.path.dirname(text) or os.path.isfile(text):
        return find_checkpoint(weights)
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
    """Load what `resolve` returned into a new model."""
    if isinstance(source, Weights):
        load_record(model, source)
    elif source is not None:
        load_checkpoint(model, source)


def load_record(model: keras.Model, record: Weights) -> None:
    """Loads a checkpoint of the catalog into a model built for it.

    Args:
        model: A model of the record's variant, with or without its top.
        record: The checkpoint.

    Raises:
        WeightsUnavailableError: If no source can be reached.
        CheckpointError: If the file is not what the catalog says, or
            doesn't fit the model, which is then left as it was.
    """
    path = fetch(record, _has_head(model))
    try:
        with open_checkpoint(path) as contents:
            _assign(model, contents.tensors, record.layout)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} It was downloaded for '{record.name}'; delete it and "
            "load again to download it anew."
        ) from error
    _remember(model, DataConfig.of_weights(record))
    for head in _heads(model):
        head.labels = labels.known(record, record.classes)


def load_checkpoint(
    model: keras.Model, path: Path, weight_set: str | None = None
) -> None:
    """Load a file of any kind that can be read into a model.

    Args:
        model: A model built here.
        path: A checkpoint of timm, torchvision, mmpretrain or Lightning
            (safetensors, `.pth`, `.ckpt`), a legacy `.h5` of
            keras-applications or of qubvel's classification_models, or a
            `.weights.h5` or `.keras` file; or the address of one:
            `hf://owner/name` (optionally `hf://owner/name@revision` and a
            file's name after it) on the Hugging Face hub, `https://…` or
            `file://…`. Of a training checkpoint only the weights are read,
            whatever else it holds. Keras itself is given a checked copy, in
            the folder for temporary files, and no file, as
            `model.load_weights` may hang on a damaged one. What timm's
            `config.json` in a repository states of images and labels, the
            model then knows (`get_data_config`).
        weight_set: Which weights of a training checkpoint to load, by the
            keys that lead to them, such as `"model_ema"` or
            `"state_dict/backbone"`; `inspect_checkpoint` lists them. `None`
            takes the same as timm: `"state_dict_ema"`, `"model_ema"`,
            `"state_dict"`, `"model"`, the first of these that is there; else
            the only averaged set, or the only set. A choice among several
            is logged.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightsUnavailableError: If it can't be downloaded.
        CheckpointError: If the file can't be read, doesn't fit the model,
            or if it is not clear which of its weights are meant. The model
            is then left as it was.

    Example:
    >>> keras_resnext.save_torch_checkpoint(model, "flowers.safetensors")
    >>> keras_resnext.load_checkpoint(model, "flowers.safetensors")
    >>> keras_resnext.load_checkpoint(model, "last.pth.tar", "state_dict")
    """
    path = find_checkpoint(path)
    stated = _stated_config(model, path)
    if is_keras_file(path):
        refuse_weight_set(path, weight_set)
        load_keras_file(model, pathlib.Path(path))
    else:
        with open_checkpoint(path, weight_set) as contents:
            network = convert.find_network(contents.tensors, contents.prefix)
            _assign(model, network.tensors, network.layout)
        _remember(model, None)
        if weight_set is None and len(contents.weight_sets) > 1:
            logger.warning(
                "%s: loaded '%s' of the sets of weights %s. Choose another "
                "with weight_set.",
                path,
                contents.weight_set,
                ", ".join(f"'{name}'" for name in contents.weight_sets),
            )
    if stated is not None:
        _remember(model, dataclasses.replace(stated, labels=None))
        for head in _heads(model):
            head.labels = stated.labels


def download_weights(name: str) -> pathlib.Path:
    """Downloads a published checkpoint, unless it is in a cache.

    Args:
        name: `"variant.tag"` of `list_weights()`; a variant alone stands for
            its default checkpoint.

    Returns:
        The file, in the cache of the Hugging Face hub or of Keras. What is
        known of its hash was checked.

    Raises:
        ValueError: If there is no such checkpoint.
        WeightsUnavailableError: If no source can be reached.

    Example:
    >>> path = keras_resnext.download_weights("resnext50_32x4d.a1_in1k")
    """
    return fetch(get_weights(name))


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
    for key, value in values:
        own[key].assign(value)


def _remember(model: keras.Model, config: DataConfig | None) -> None:
    """Let a model know how its images are prepared, `None` if unknown."""
    for layer in model.layers:
        if layer.name == convert.STEM:
            layer.data_config = config


def _stated_config(model: keras.Model, path: Path) -> DataConfig | None:
    """Return what timm's `config.json` beside a fetched checkpoint states."""
    if not isinstance(path, FetchedCheckpoint) or path.preprocessing is None:
        return None
    try:
        config = DataConfig(**path.preprocessing)
        for head in _heads(model):
            if config.labels and len(config.labels) != head.units:
                raise ValueError(
                    f"{len(config.labels)} labels for {head.units} classes."
                )
    except ValueError as error:
        raise CheckpointError(
            f"The config.json of '{path.address}' does not fit the model: "
            f"{error}"
        ) from error
    return config


def _heads(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if layer.name == convert.HEAD]


def _has_head(model: keras.Model) -> bool:
    return bool(_heads(model))
