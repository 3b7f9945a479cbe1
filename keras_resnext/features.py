"""Feature maps of a model: pyramids, and the output of every block."""

import math
import re
from collections.abc import Collection

import keras

from keras_resnext.inner import Graph
from keras_resnext.inner import Step
from keras_resnext.inner import Value
from keras_resnext.inner import graph_of_ours
from keras_resnext.suggestions import did_you_mean

# Names of a part's layers start with the part's name; the last layer ends it.
BLOCKS = r"(stem|stage\d+_block\d+)_.+"


def feature_pyramid(
    model: keras.Model, levels: Collection[str] | None = None
) -> keras.Model:
    """Build a model that returns the feature maps of stages, for detectors.

    Names are those of feature pyramid networks (Lin et al., 2017,
    https://arxiv.org/abs/1612.03144), as in KerasHub and KerasCV: a pixel of
    `"P3"` covers 2^3 x 2^3 pixels of the image. A smaller `output_stride`
    does not change the names.

    Args:
        model: A model built here, with or without its top, or a Functional or
            Sequential model that contains one.
        levels: Maps to return, `None` for all: `"P2"` to `"P5"` for ImageNet
            models.

    Returns:
        A `keras.Model` of the same layers, from the inputs of `model` to a
        dictionary of maps, `(batch, height / 2^n, width / 2^n, channels)`, in
        the model's compute dtype.

    Raises:
        ValueError: If the model does not contain one built here, or has no
            such level.

    Example:
    >>> backbone = keras_resnext.ResNeXt50(include_top=False, weights=None)
    >>> pyramid = keras_resnext.feature_pyramid(backbone)
    >>> {name: maps.shape for name, maps in pyramid.output.items()}
    {'P2': (None, None, None, 256), 'P3': (None, None, None, 512), ...}
    """
    graph = graph_of_ours(model)
    strides = [
        step.layer.strides[0]
        for step in graph.steps
        if step.layer.name.startswith("stem_")
        and hasattr(step.layer, "strides")
    ]
    first = round(math.log2(math.prod(strides)))
    # Stages follow one another, so the last layer of each ends it.
    ends = ends_of(graph, r"(stage\d+)_.+")
    maps = {f"P{first + i}": output for i, output in enumerate(ends.values())}
    chosen = list(maps) if levels is None else sorted(levels)
    if not set() < set(chosen) <= set(maps):
        raise ValueError(
            f"'{model.name}' has the levels {', '.join(maps)}. Received: "
            f"levels={chosen}"
        )
    return graph.model_of(
        {level: maps[level] for level in chosen}, f"{model.name}_pyramid"
    )


def block_outputs(model: keras.Model) -> keras.Model:
    """Build a model that returns the output of each residual block.

    Args:
        model: As for `feature_pyramid`.

    Returns:
        A `keras.Model` of the same layers, from the inputs of `model` to a
        dictionary of maps by `"stem"`, `"stage1_block1"`, `"stage1_block2"`, …

    Raises:
        ValueError: If the model does not contain one built here.

    Example:
    >>> outputs = keras_resnext.block_outputs(model)(images)
    >>> outputs["stage4_block3"].shape
    (1, 7, 7, 2048)
    """
    graph = graph_of_ours(model)
    return graph.model_of(ends_of(graph, BLOCKS), name=f"{model.name}_blocks")


def last_steps(graph: Graph, name: str) -> list[Step]:
    """Return the calls of a layer, or of a stage's last layer, by name.

    Raises:
        ValueError: If there is neither; the message lists all names.
    """
    names = [step.layer.name for step in graph.steps]
    members = [n for n in names if n == name or n.startswith(f"{name}_")]
    if members:
        return [step for step in graph.steps if step.layer.name == members[-1]]
    stages = list(dict.fromkeys(n.partition("_")[0] for n in names))
    hint = did_you_mean(name, [*names, *stages])
    raise ValueError(
        f"'{graph.model.name}' has no stage or layer {name!r}.{hint} Stages: "
        f"{', '.join(s for s in stages if s.startswith('st'))}. Layers: "
        f"{', '.join(names)}"
    )


def ends_of(graph: Graph, pattern: str) -> dict[str, Value]:
    """Return the output of each part that a pattern's group names.

    Raises:
        ValueError: If there is no such part, or it is called several times.
    """
    ends = {}
    for step in graph.steps:
        if match := re.fullmatch(pattern, step.layer.name):
            graph.find(step.layer.name)  # refuses a second call
            ends[match[1]] = step.outputs[0]
    if not ends:
        raise ValueError(
            f"'{graph.model.name}' has no stages, only the layers "
            f"{', '.join(step.layer.name for step in graph.steps)}."
        )
    return ends
