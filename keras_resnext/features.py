"""What a network knows before its last layer: pyramids, and every block."""

import math
import re
from collections.abc import Collection

import keras

from keras_resnext.suggestions import did_you_mean


def feature_pyramid(
    model: keras.Model, levels: Collection[str] | None = None
) -> keras.Model:
    """Gives out the feature maps of a network's stages, for detectors.

    The names are those of feature pyramid networks (Lin et al., 2017,
    https://arxiv.org/abs/1612.03144), as in KerasHub and KerasCV: a pixel of
    `"P3"` stands for 2^3 x 2^3 pixels of the image. A network that was built
    with a smaller `output_stride` keeps its names.

    Args:
        model: A model built here, with or without its top.
        levels: Which maps to give out, `None` for all: `"P2"` to `"P5"` for
            the networks for ImageNet.

    Returns:
        A `keras.Model` of the same layers, from images to a dictionary of
        maps, `(batch, height / 2^n, width / 2^n, channels)`, in the model's
        compute dtype.

    Raises:
        ValueError: If the model is not one of ours or has no such level.

    Example:
    >>> backbone = keras_resnext.ResNeXt50(include_top=False, weights=None)
    >>> pyramid = keras_resnext.feature_pyramid(backbone)
    >>> {name: maps.shape for name, maps in pyramid.output.items()}
    {'P2': (None, None, None, 256), 'P3': (None, None, None, 512), ...}
    """
    first = round(math.log2(_stem_strides(model)))
    # Stages follow one another, so the last layer of each ends it.
    ends = _ends(model, r"(stage\d+)_.+")
    maps = {f"P{first + i}": output for i, output in enumerate(ends.values())}
    chosen = list(maps) if levels is None else sorted(levels)
    if unknown := sorted(set(chosen) - set(maps)):
        raise ValueError(
            f"'{model.name}' has the levels {', '.join(maps)}. Received: "
            f"levels={unknown}"
        )
    return keras.Model(
        model.input,
        {level: maps[level] for level in chosen},
        name=f"{model.name}_pyramid",
    )


def block_outputs(model: keras.Model) -> keras.Model:
    """Gives out what each residual block puts out.

    Args:
        model: A model built here, with or without its top.

    Returns:
        A `keras.Model` of the same layers, from images to a dictionary of
        maps by `"stem"`, `"stage1_block1"`, `"stage1_block2"`, …

    Raises:
        ValueError: If the model is not one of ours.

    Example:
    >>> outputs = keras_resnext.block_outputs(model)(images)
    >>> outputs["stage4_block3"].shape
    (1, 7, 7, 2048)
    """
    return keras.Model(
        model.input,
        _ends(model, r"(stem|stage\d+_block\d+)_.+"),
        name=f"{model.name}_blocks",
    )


def last_layer(model: keras.Model, name: str) -> keras.layers.Layer:
    """The layer of that name, or the last of the stage of that name."""
    names = [layer.name for layer in model.layers]
    members = [n for n in names if n == name or n.startswith(f"{name}_")]
    if members:
        return model.get_layer(members[-1])
    stages = list(dict.fromkeys(n.partition("_")[0] for n in names))
    hint = did_you_mean(name, [*names, *stages])
    raise ValueError(
        f"'{model.name}' has no stage or layer {name!r}.{hint} Stages: "
        f"{', '.join(s for s in stages if s.startswith('st'))}. Layers: "
        f"{', '.join(names)}"
    )


def _ends(model: keras.Model, pattern: str) -> dict[str, keras.KerasTensor]:
    """The output of the last layer of each part that a pattern's group names.

    Layers stand in the order in which they compute.
    """
    ends = {}
    for layer in model.layers:
        if match := re.fullmatch(pattern, layer.name):
            ends[match[1]] = layer.output
    if not ends:
        raise ValueError(
            f"'{model.name}' has no stages. It must be a model that "
            "keras_resnext built, not one that holds such a model as a layer."
        )
    return ends


def _stem_strides(model: keras.Model) -> int:
    """How many pixels of the image one pixel behind the stem stands for."""
    strides = [
        layer.strides[0]
        for layer in model.layers
        if layer.name.startswith("stem_") and hasattr(layer, "strides")
    ]
    return math.prod(strides)
