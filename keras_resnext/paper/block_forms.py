"""Residual block in the forms that the paper calls equivalent.

https://arxiv.org/abs/1611.05431, Figures 3 and 4. For a block of 1x1, 3x3 and
1x1 convolutions, form (a) sums the outputs of C paths, form (b) concatenates
them before the last 1x1, and form (c) computes all paths at once, by a grouped
convolution. Paths of only two layers are equivalent to a dense block, C times
as wide.
"""

from collections.abc import Mapping

import keras
import numpy as np

from keras_resnext.blocks import activation_of
from keras_resnext.blocks import batch_norm
from keras_resnext.blocks import bottleneck
from keras_resnext.blocks import channel_axis
from keras_resnext.blocks import conv
from keras_resnext.blocks import conv_shortcut
from keras_resnext.config import Block
from keras_resnext.config import FixedCardinality
from keras_resnext.config import ResNeXtConfig
from keras_resnext.kernels.generic import Tensor
from keras_resnext.layers import AddActivation

FORMS = ("a", "b", "c")
TWO_LAYER_FORMS = ("a", "dense")

# Kernels that are split into paths, and the axis: outputs of a path's own
# layers, and, where paths are summed, inputs of the last layer.
_OWN = {"conv1/kernel": 3, "conv2/kernel": 3}
_CUTS: Mapping[str, Mapping[str, int]] = {
    "a": {**_OWN, "conv3/kernel": 2},
    "b": _OWN,
    "c": {},
}
_TWO_LAYER_CUTS: Mapping[str, Mapping[str, int]] = {
    "a": {"conv1/kernel": 3, "conv2/kernel": 2},
    "dense": {},
}
# Batch normalization is split like the kernel before it.
_NORMS = {"bn1": "conv1/kernel", "bn2": "conv2/kernel"}


def aggregated_block(
    form: str,
    channels: int = 256,
    cardinality: int = 32,
    bottleneck_width: int = 4,
    strides: int = 1,
    in_channels: int | None = None,
) -> keras.Model:
    """Build a residual block of three layers, in one of its three forms.

    The forms are one function (https://arxiv.org/abs/1611.05431, Figure 3,
    Equations 2 and 3) with equally many parameters: `convert_weights` converts
    between them. Form "c" is the block of this package's models. Batch
    normalization comes after the sum, which equivalence requires.

    Args:
        form: `"a"` for paths that are summed, `"b"` for paths that are
            concatenated, `"c"` for a grouped convolution.
        channels: Number of output channels.
        cardinality: Number of paths C.
        bottleneck_width: Channels d of a path.
        strides: Strides of the 3x3.
        in_channels: Number of input channels; `None` for `channels`. If they
            differ, or the block strides, the shortcut is a 1x1 convolution.

    Returns:
        A `keras.Model` from images, `(batch, height, width, in_channels)`,
        to images of `channels`.

    Raises:
        ValueError: If there is no such form, or a number is not positive.

    Example:
    >>> from keras_resnext import paper
    >>> summed = paper.aggregated_block("a")
    >>> grouped = paper.aggregated_block("c")
    >>> summed.count_params() == grouped.count_params()
    True
    """
    numbers = channels, cardinality, bottleneck_width, strides
    x = _input(form, FORMS, *numbers, in_channels)
    config = ResNeXtConfig(
        (1,), FixedCardinality(cardinality, bottleneck_width), (channels,)
    )
    block = Block(
        stage=1,
        number=1,
        filters=channels,
        width=cardinality * bottleneck_width,
        groups=cardinality,
        strides=strides,
        dilation=1,
        stochastic_depth=0.0,
    )
    if form == "c":
        return keras.Model(x, bottleneck(x, block, config), name="form_c")
    activation = activation_of(config)

    def path(number: int) -> Tensor:
        name = f"{block.name}_path{number}"
        y = conv(x, bottleneck_width, 1, f"{name}_conv1")
        y = batch_norm(y, f"{name}_bn1", activation)
        y = conv(y, bottleneck_width, 3, f"{name}_conv2", strides)
        y = batch_norm(y, f"{name}_bn2", activation)
        return conv(y, channels, 1, f"{name}_conv3") if form == "a" else y

    paths = [path(number) for number in range(1, cardinality + 1)]
    if form == "a":
        y = _joined(keras.layers.Add(name=f"{block.name}_sum"), paths)
    else:
        name = f"{block.name}_concat"
        y = _joined(keras.layers.Concatenate(channel_axis(), name=name), paths)
        y = conv(y, channels, 1, f"{block.name}_conv3")
    y = batch_norm(y, f"{block.name}_bn3")
    return _residual(x, y, block, f"form_{form}")


def two_layer_block(
    form: str,
    channels: int = 64,
    cardinality: int = 32,
    bottleneck_width: int = 4,
    strides: int = 1,
    in_channels: int | None = None,
) -> keras.Model:
    """Build a residual block of two layers, as paths or as dense layers.

    Summed paths of two 3x3 convolutions equal one block of two 3x3
    convolutions without groups, `cardinality` times as wide, so blocks need
    three layers (https://arxiv.org/abs/1611.05431, Figure 4).

    Args:
        form: `"a"` for paths that are summed, `"dense"` for the wide block.
        channels: As for `aggregated_block`.
        cardinality: As for `aggregated_block`.
        bottleneck_width: As for `aggregated_block`.
        strides: Strides of the first 3x3.
        in_channels: As for `aggregated_block`.

    Returns:
        A `keras.Model` from images, `(batch, height, width, in_channels)`,
        to images of `channels`.

    Raises:
        ValueError: If there is no such form, or a number is not positive.

    Example:
    >>> from keras_resnext import paper
    >>> dense = paper.two_layer_block("dense")
    >>> [layer.groups for layer in dense.layers if "conv" in layer.name]
    [1, 1]
    """
    numbers = channels, cardinality, bottleneck_width, strides
    x = _input(form, TWO_LAYER_FORMS, *numbers, in_channels)
    block = Block(1, 1, channels, 0, 1, strides, 1, 0.0)

    def layers(name: str, width: int) -> Tensor:
        y = conv(x, width, 3, f"{name}_conv1", strides)
        y = batch_norm(y, f"{name}_bn1", "relu")
        return conv(y, channels, 3, f"{name}_conv2")

    if form == "dense":
        y = layers(block.name, cardinality * bottleneck_width)
    else:
        paths = [
            layers(f"{block.name}_path{number}", bottleneck_width)
            for number in range(1, cardinality + 1)
        ]
        y = _joined(keras.layers.Add(name=f"{block.name}_sum"), paths)
    y = batch_norm(y, f"{block.name}_bn2")
    return _residual(x, y, block, f"two_layers_{form}")


def named_weights(block: keras.Model) -> dict[str, np.ndarray]:
    """Return the weights of a block, by layer and variable.

    Args:
        block: Block of `aggregated_block` or `two_layer_block`.

    Returns:
        Arrays by names such as `"conv2/kernel"` or, for a path,
        `"path3_conv2/kernel"`.

    Example:
    >>> from keras_resnext import paper
    >>> block = paper.aggregated_block("c")
    >>> named_weights(block)["conv2/kernel"].shape
    (3, 3, 4, 128)
    """
    return {
        name: keras.ops.convert_to_numpy(weight)
        for name, weight in _variables(block).items()
    }


def set_named_weights(
    block: keras.Model, weights: Mapping[str, np.ndarray]
) -> None:
    """Set the weights of a block by their names.

    Args:
        block: Block of `aggregated_block` or `two_layer_block`.
        weights: All weights, as `named_weights` returns them.

    Raises:
        ValueError: If a weight is missing, unknown or of another shape.

    Example:
    >>> from keras_resnext import paper
    >>> first, second = (paper.aggregated_block("c") for _ in range(2))
    >>> paper.set_named_weights(second, paper.named_weights(first))
    """
    own = _variables(block)
    if own.keys() != weights.keys():
        other = sorted(own.keys() ^ weights.keys())
        raise ValueError(
            f"`weights` must be those of '{block.name}'. Missing or "
            f"unexpected: {', '.join(other)}"
        )
    for name, weight in own.items():
        weight.assign(weights[name])


def convert_weights(
    weights: Mapping[str, np.ndarray],
    form: str,
    cardinality: int,
) -> dict[str, np.ndarray]:
    """Convert the weights of a block to another form.

    The map is exact: paths are slices of the channels. It also holds for
    gradients and the statistics of batch normalization, and so for every step
    of training.

    Args:
        weights: Weights of any form, as `named_weights` returns them.
        form: The new form: `"a"`, `"b"` or `"c"` of a block of three layers,
            `"a"` or `"dense"` of one of two.
        cardinality: Number of paths.

    Returns:
        Weights of the new form, as from `named_weights`.

    Raises:
        ValueError: If there is no such form, or the channels can't be split
            into that many paths.

    Example:
    >>> from keras_resnext import paper
    >>> summed = paper.aggregated_block("a")
    >>> grouped = paper.aggregated_block("c")
    >>> weights = named_weights(summed)
    >>> set_named_weights(grouped, convert_weights(weights, "c", 32))
    """
    three = any("conv3/" in name for name in weights)
    cuts = _CUTS if three else _TWO_LAYER_CUTS
    _check_form(form, tuple(cuts))
    whole = _whole(weights, cuts["a"], cardinality)
    converted = {}
    for name, value in whole.items():
        axis = _axis(name, cuts[form])
        if axis is None:
            converted[name] = value
            continue
        if value.shape[axis] % cardinality:
            raise ValueError(
                f"'{name}' has {value.shape[axis]} channels, which can't be "
                f"split into {cardinality} paths."
            )
        parts = np.split(value, cardinality, axis)
        for number, part in enumerate(parts, start=1):
            converted[f"path{number}_{name}"] = part
    return converted


def _whole(
    weights: Mapping[str, np.ndarray], cuts: Mapping[str, int], cardinality: int
) -> dict[str, np.ndarray]:
    """Return the weights of the form without separate paths."""
    whole = {k: v for k, v in weights.items() if not k.startswith("path")}
    of_first = [name for name in weights if name.startswith("path1_")]
    for first in of_first:
        name = first.removeprefix("path1_")
        axis = _axis(name, cuts)
        paths = [f"path{number}_{name}" for number in range(1, cardinality + 1)]
        parts = [weights[path] for path in paths if path in weights]
        more = f"path{cardinality + 1}_{name}" in weights
        if axis is None or more or len(parts) < cardinality:
            raise ValueError(
                f"`weights` must be those of a block of {cardinality} paths; "
                f"'{name}' is not."
            )
        whole[name] = np.concatenate(parts, axis)
    return whole


def _axis(name: str, cuts: Mapping[str, int]) -> int | None:
    """Return the axis along which a weight is split into paths, if any."""
    if name in cuts:
        return cuts[name]
    layer = name.partition("/")[0]
    # Batch normalization after the paths are merged is not split.
    return 0 if cuts.get(_NORMS.get(layer, "")) == 3 else None


def _variables(block: keras.Model) -> dict[str, keras.Variable]:
    return {
        f"{layer.name.removeprefix('stage1_block1_')}/{weight.name}": weight
        for layer in block.layers
        for weight in layer.weights
    }


def _input(
    form: str,
    forms: tuple[str, ...],
    channels: int,
    cardinality: int,
    bottleneck_width: int,
    strides: int,
    in_channels: int | None,
) -> Tensor:
    """Check the arguments of a block, and return its images."""
    _check_form(form, forms)
    if in_channels is None:
        in_channels = channels
    numbers = channels, cardinality, bottleneck_width, strides, in_channels
    if not all(isinstance(each, int) and each > 0 for each in numbers):
        raise ValueError(
            "`channels`, `cardinality`, `bottleneck_width`, `strides` and "
            f"`in_channels` must be positive whole numbers. Received: {numbers}"
        )
    shape: list[int | None] = [None, None]
    shape.insert(channel_axis() - 1, in_channels)
    return keras.Input(tuple(shape))


def _joined(layer: keras.layers.Layer, paths: list[Tensor]) -> Tensor:
    """Merge all paths by a layer; Keras refuses to merge a single one."""
    return layer(paths) if len(paths) > 1 else paths[0]


def _residual(x: Tensor, y: Tensor, block: Block, name: str) -> keras.Model:
    residual = x
    if block.strides > 1 or x.shape[channel_axis()] != block.filters:
        residual = conv_shortcut(x, block, f"{block.name}_shortcut")
    merge = AddActivation("relu", name=f"{block.name}_out")
    return keras.Model(x, merge([y, residual]), name=name)


def _check_form(form: str, forms: tuple[str, ...]) -> None:
    if form not in forms:
        raise ValueError(
            f"`form` must be one of {', '.join(forms)}. Received: {form!r}"
        )
