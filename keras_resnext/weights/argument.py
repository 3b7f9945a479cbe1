"""The argument `weights` of models."""

import os

import keras

from keras_resnext.checks import PATH
from keras_resnext.checks import check_type
from keras_resnext.weights.catalog import find_weights
from keras_resnext.weights.checkpoint import Path
from keras_resnext.weights.records import Weights


def resolve(weights: Path | None, variant: str | None) -> Weights | Path | None:
    """Return the source that a model's argument `weights` names.

    Args:
        weights: `None`, `"imagenet"`, a tag, `"variant.tag"`, a path, or an
            address, as for `Checkpoint.open`.
        variant: The model's variant, or `None` if it is not in the table.

    Returns:
        `None`, a record of the catalog, or the path or address.

    Raises:
        ValueError: If there is neither such a file nor such a checkpoint.
    """
    check_type("weights", weights, PATH | None)
    if weights is None:
        return None
    text = os.fspath(weights)
    # A bare word may also name a folder, and "imagenet" often does.
    if text is not weights or os.path.dirname(text) or os.path.isfile(text):
        return weights
    if variant is None:
        raise ValueError(
            f"There is no file {text!r}, and only rows of VARIANTS have "
            "published weights. Use weights=None or the path of a file."
        )
    return find_weights(variant, text)


def check_head(record: Weights, classes: int, activation: object) -> None:
    """Check that a classifier fits a checkpoint.

    Raises:
        ValueError: If it has another number of classes, or an activation
            other than softmax or none.
    """
    if classes != record.classes:
        raise ValueError(
            f"The weights '{record.name}' distinguish {record.classes:,} "
            f"classes. Received: classes={classes}. Build the model with "
            f"classes={record.classes} and call keras_resnext.finetuning."
            f"reset_classifier(model, {classes}), or use include_top=False."
        )
    if keras.activations.get(activation) not in (
        keras.activations.softmax,
        keras.activations.linear,
    ):
        raise ValueError(
            "With pretrained weights `classifier_activation` must be "
            f"'softmax' or None. Received: {activation!r}"
        )
