"""Tells what a checkpoint file holds, by what is in it."""

import os
from dataclasses import dataclass

from keras_resnext.weights import convert
from keras_resnext.weights.addresses import find_checkpoint
from keras_resnext.weights.files import refuse_weight_set
from keras_resnext.weights.identify import looks_like
from keras_resnext.weights.keras_files import is_keras_file
from keras_resnext.weights.keras_files import open_weights
from keras_resnext.weights.readers import CheckpointError
from keras_resnext.weights.readers import open_checkpoint


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint file holds.

    Args:
        layout: Whose names and shapes its tensors have: `"timm_resnet"`
            (torchvision's too), …, or `"keras"`.
        variants: The names of `list_models()` that it fits: several that
            differ in nothing that has weights, none if it is another
            network's, and none of `"keras"`, which is not told.
        classes: Number of classes, `None` without a classifier.
        num_tensors: Number of tensors in the set of weights.
        weight_set: Keys and prefix that lead to the weights that are loaded,
            such as `"state_dict_ema"` or `"state_dict/model"`; `""` if the
            file holds nothing else.
        weight_sets: All sets of weights in a training checkpoint, by their
            keys, for the argument `weight_set` of `load_checkpoint`.
    """

    layout: str
    variants: tuple[str, ...]
    classes: int | None
    num_tensors: int
    weight_set: str = ""
    weight_sets: tuple[str, ...] = ()


def inspect_checkpoint(
    path: str | os.PathLike[str], weight_set: str | None = None
) -> CheckpointInfo:
    """Tells what a checkpoint file holds.

    Args:
        path: A file of any kind that `load_checkpoint` takes, or an address.
        weight_set: As for `load_checkpoint`.

    Returns:
        A `CheckpointInfo`.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it can't be read.

    Example:
    >>> keras_resnext.inspect_checkpoint("flowers.safetensors").variants
    ('resnext50_32x4d',)
    """
    path = find_checkpoint(path)
    if is_keras_file(path):
        refuse_weight_set(path, weight_set)
        return _inspect_keras_file(path)
    with open_checkpoint(path, weight_set) as contents:
        network = convert.find_network(contents.tensors, contents.prefix)
        keys = contents.weight_set, network.prefix.removesuffix(".")
        return CheckpointInfo(
            network.layout,
            tuple(looks_like(network.tensors, network.layout)),
            convert.num_classes(network.tensors, network.layout),
            len(network.tensors),
            "/".join(filter(None, keys)),
            contents.weight_sets,
        )


def identify(
    path: str | os.PathLike[str], weight_set: str | None = None
) -> tuple[str, int | None]:
    """Tells what network a checkpoint of another library belongs to.

    Args:
        path: The file.
        weight_set: As for `load_checkpoint`.

    Returns:
        The variant's name, and its number of classes: `None` without a
        classifier.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file can't be read, or fits no variant or
            several.
    """
    info = inspect_checkpoint(path, weight_set)
    if len(info.variants) != 1:
        found = ", ".join(info.variants) or "none"
        raise CheckpointError(
            f"'{path}' does not tell its network: variants that it fits: "
            f"{found}. Name one with keras_resnext.get_model(name, weights="
            "path)."
        )
    return info.variants[0], info.classes


def _inspect_keras_file(path: str | os.PathLike[str]) -> CheckpointInfo:
    with open_weights(path) as stored:
        if not stored.of_layers:
            raise CheckpointError(f"'{path}' holds no weights.")
        heads = [
            stored.datasets[kernel].shape
            for group, name in stored.names.items()
            if name == convert.HEAD
            if (kernel := f"{group}/vars/0") in stored.datasets
        ]
        return CheckpointInfo(
            layout="keras",
            variants=(),
            classes=heads[0][-1] if heads and heads[0] else None,
            num_tensors=len(stored.of_layers),
        )
