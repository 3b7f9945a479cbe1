"""Backbones of detectors, with pretrained weights."""

import argparse
import difflib
import re
from dataclasses import replace

import keras

import keras_resnext
from keras_resnext import FixedCardinality
from keras_resnext import ResNeXtConfig
from keras_resnext import Weights

# Number of a model's last stages that a detector uses.
STAGES = 3
GROUPING = re.compile(r"(\d+)x(\d+)d")


def model_name(text: str) -> str:
    """Check a variant's name, maybe with a grouping: `"resnext26ts:1x64d"`."""
    variant, *grouping = text.split(":", 1)
    if variant not in keras_resnext.VARIANTS:
        known = list(keras_resnext.VARIANTS)
        close = difflib.get_close_matches(variant, known)
        raise argparse.ArgumentTypeError(
            f"there is no model {variant!r}. Did you mean one of "
            f"{', '.join(close or known)}?"
        )
    if grouping and not GROUPING.fullmatch(grouping[0]):
        raise argparse.ArgumentTypeError(
            "a grouping is a cardinality and a bottleneck width, as 32x4d, "
            f"not {grouping[0]!r}"
        )
    return text


def configuration(name: str) -> ResNeXtConfig:
    """Return the configuration of a name, as `model_name` checks it.

    Models for small images, whose stem does not stride, get the strides of
    models for ImageNet.
    """
    variant, _, grouping = name.partition(":")
    config = keras_resnext.VARIANTS[variant]
    if found := GROUPING.fullmatch(grouping):
        config = replace(
            config, grouping=FixedCardinality(*map(int, found.groups()))
        )
    if config.stem.pool is None:
        stem = replace(config.stem, strides=2, pool="max")
        config = replace(config, stem=stem)
    return config


def check(name: str, weights: str, size: int) -> None:
    """Check that a backbone can be built.

    Args:
        name: Name, as `model_name` checks it.
        weights: `"imagenet"`, a tag, the path of a checkpoint, or `"none"`.
        size: Height and width of the images.

    Raises:
        ValueError: If the size of a map would not be whole, or if there are
            no such weights.
    """
    if weights != "none" and ":" in name:
        raise ValueError(
            f"There are no weights for '{name}', which has its own grouping. "
            "Use --weights none."
        )
    config = configuration(name)
    step = config.stem.strides * 2 ** len(config.depths)
    if size % step:
        raise ValueError(
            f"Each map of the pyramid of '{name}' must be half of the one "
            f"before it, so --size must be a multiple of {step}, not "
            f"{size}."
        )


def backbone(
    name: str, weights: str, size: int
) -> tuple[keras.Model, Weights | None]:
    """Return a model without its classifier, and the record of its weights.

    The arguments are those of `check`.
    """
    made = keras_resnext.ResNeXt(
        configuration(name),
        include_top=False,
        weights=None,
        input_shape=(size, size, 3),
        name=name.replace(":", "_"),
    )
    if weights == "none":
        return made, None
    known = keras_resnext.get_model(name, include_top=False, weights=weights)
    made.set_weights(known.get_weights())
    return made, known.weights_info


def freeze_batch_norm(model: keras.Model) -> None:
    """Freeze batch normalization: batches of detectors are small."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def first_level(maps: keras.Model) -> int:
    """Return the level of the first map: its number of halvings."""
    return int(list(maps.output)[-STAGES].removeprefix("P"))
