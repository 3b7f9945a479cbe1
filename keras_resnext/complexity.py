"""Cost of a model, by calculation."""

import math
from dataclasses import dataclass
from typing import Any

import keras

from keras_resnext.inner import Graph
from keras_resnext.inner import Value
from keras_resnext.inner import inner_models

# Weights of a bottleneck of ResNet, which the paper keeps constant.
RESNET_BLOCK = 256 * 64 + 3 * 3 * 64 * 64 + 64 * 256


@dataclass(frozen=True)
class Cost:
    """Cost of a part of a model.

    Args:
        name: Name of the layer or the stage.
        parameters: Number of weights, without moving statistics.
        multiply_adds: Number of multiply-adds for one image.
    """

    name: str
    parameters: int
    multiply_adds: int


def num_parameters(model: keras.Model | keras.layers.Layer) -> int:
    """Count weights as papers do, without moving statistics.

    Args:
        model: A model or a layer; its weights may be frozen.

    Returns:
        The number of weights.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None)
    >>> keras_resnext.complexity.num_parameters(model)
    25028904
    """
    statistics = {
        id(variable)
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Normalization)
        for variable in layer.weights
    }
    return sum(
        math.prod(variable.shape)
        for variable in model.weights
        if not variable.name.startswith("moving_")
        and id(variable) not in statistics
    )


def multiply_adds(model: keras.Model) -> int:
    """Count the multiply-adds of convolutions and dense layers for one image.

    The paper calls them "FLOPs" (Xie et al., 2017,
    https://arxiv.org/abs/1611.05431, Table 1).

    Args:
        model: A Functional or Sequential model of images of a known size;
            nested models are counted too.

    Returns:
        The number of multiply-adds.

    Raises:
        ValueError: If the size of the images is not known.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None)
    >>> keras_resnext.complexity.multiply_adds(model)
    4230479872
    """
    return sum(cost.multiply_adds for cost in layer_costs(model))


def layer_costs(model: keras.Model) -> list[Cost]:
    """List the cost of each layer with weights, including nested models'.

    A layer that is called several times counts its multiply-adds as often, and
    its parameters once.

    Args:
        model: As for `multiply_adds`.

    Returns:
        A list of `Cost`, in the order of the model.

    Raises:
        ValueError: If the size of the images is not known.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None)
    >>> keras_resnext.complexity.layer_costs(model)[0]
    Cost(name='stem_conv1', parameters=9408, multiply_adds=118013952)
    """
    graph = Graph(model)
    # An operation has no weights.
    steps = [s for s in graph.steps if getattr(s.layer, "weights", ())]
    shapes = {x: x.shape for step in steps for x in step.outputs}
    if any(None in shape[1:] for shape in shapes.values()):
        # A nested model may not know the size of its images.
        shapes = _shapes(graph)
    totals: dict[Any, int] = {}
    for step in steps:
        count = _multiply_adds(step.layer, shapes[step.outputs[0]])
        totals[step.layer] = totals.get(step.layer, 0) + count
    return [
        Cost(layer.name, num_parameters(layer), count)
        for layer, count in totals.items()
    ]


def stage_costs(model: keras.Model) -> list[Cost]:
    """Add up the costs of each stage's layers, by the layers' names.

    Args:
        model: As for `multiply_adds`; a model built here, or one around it.

    Returns:
        A list of `Cost`: `"stem"`, `"stage1"` and so on, and the classifier,
        `"predictions"`.

    Raises:
        ValueError: If the size of the images is not known.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None)
    >>> for cost in keras_resnext.complexity.stage_costs(model):
    ...     print(cost.name, f"{cost.multiply_adds / 1e9:.2f}")
    stem 0.12
    stage1 0.63
    stage2 1.09
    stage3 1.53
    stage4 0.87
    predictions 0.00
    """
    stages: dict[str, list[Cost]] = {}
    for cost in layer_costs(model):
        stages.setdefault(cost.name.partition("_")[0], []).append(cost)
    return [
        Cost(
            name,
            sum(cost.parameters for cost in costs),
            sum(cost.multiply_adds for cost in costs),
        )
        for name, costs in stages.items()
    ]


def block_parameters(
    cardinality: int, bottleneck_width: int, channels: int = 256
) -> int:
    """Count the weights of a block's convolutions.

    https://arxiv.org/abs/1611.05431, Equation 4: C (256 d + 3 3 d d + d 256).

    Args:
        cardinality: Number of paths C.
        bottleneck_width: Channels d of a path.
        channels: Number of input and of output channels of the block.

    Raises:
        ValueError: If a number is not positive.

    Example:
    >>> keras_resnext.complexity.block_parameters(32, 4)
    70144
    """
    _check_positive(cardinality, bottleneck_width, channels)
    width = bottleneck_width
    return cardinality * (2 * channels * width + 3 * 3 * width * width)


def width_at_constant_complexity(
    cardinality: int, channels: int = 256, parameters: int = RESNET_BLOCK
) -> int:
    """Find the bottleneck width that keeps a block's complexity.

    Solves the paper's Equation 4 for d and rounds, which gives its Table 2:
    https://arxiv.org/abs/1611.05431, section 3.4.

    Args:
        cardinality: Number of paths C.
        channels: Number of input and of output channels of the block.
        parameters: Number of weights of the block's convolutions; by default
            that of ResNet's block of 256 channels, 69,632.

    Returns:
        Channels d of a path.

    Raises:
        ValueError: If a number is not positive, or if no width comes within
            a tenth of `parameters`.

    Example:
    >>> width = keras_resnext.complexity.width_at_constant_complexity
    >>> [(c, width(c)) for c in (1, 2, 4, 8, 32)]
    [(1, 64), (2, 40), (4, 24), (8, 14), (32, 4)]
    """
    _check_positive(cardinality, channels, parameters)
    share = parameters / cardinality
    # The positive root of 9 d d + 2 channels d = share.
    root = (math.sqrt(channels**2 + 9 * share) - channels) / 9
    width = max(round(root), 1)
    reached = block_parameters(cardinality, width, channels)
    if abs(reached - parameters) > 0.1 * parameters:
        raise ValueError(
            f"No bottleneck width gives {cardinality} paths {parameters:,} "
            f"parameters at {channels} channels; the nearest, {width}, gives "
            f"{reached:,}. Use another cardinality or more parameters."
        )
    return width


def _multiply_adds(
    layer: keras.layers.Layer, shape: tuple[int | None, ...]
) -> int:
    """Count the multiply-adds of a call, of convolutions and dense layers."""
    for inner in inner_models(layer):
        raise ValueError(
            f"Keras does not know how often '{layer.name}' calls "
            f"'{inner.name}'. Count the multiplications of '{inner.name}'."
        )
    if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        return 0
    outputs = [size for size in shape[1:] if size is not None]
    if len(outputs) < len(shape) - 1:
        raise ValueError(
            f"'{layer.name}' takes images of any size. Build the model "
            "with an `input_shape` such as (224, 224, 3)."
        )
    # Each output takes as many as a filter has weights.
    return math.prod(outputs) * math.prod(layer.kernel.shape[:-1])


def _shapes(graph: Graph) -> dict[Value, tuple[int | None, ...]]:
    """Return the shape of every value, by the shapes of the model's inputs."""
    specs = {value: value.spec for value in graph.inputs}
    values = [value for step in graph.steps for value in step.outputs]
    specs = dict(zip(values, graph.run(specs, values, spec=True), strict=True))
    return {value: tuple(spec.shape) for value, spec in specs.items()}


def _check_positive(*numbers: object) -> None:
    if not all(isinstance(each, int) and each > 0 for each in numbers):
        raise ValueError(
            "Cardinality, width, channels and parameters must be positive "
            f"whole numbers. Received: {numbers}"
        )


def receptive_fields(model: keras.Model) -> dict[str, int]:
    """Compute the receptive field of each layer.

    Convolutions and poolings count (Araujo et al., 2019,
    https://distill.pub/2019/computing-receptive-fields). Attention, which
    depends on the whole image, does not.

    Args:
        model: A Functional or Sequential model from images to maps or
            features; layers of nested models are listed too.

    Returns:
        Height and width by the name of the layer, in pixels of the input.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None)
    >>> fields = keras_resnext.complexity.receptive_fields(model)
    >>> fields["stage4_block3_out"]
    427
    """
    graph = Graph(model)
    # Each tensor's field, and the distance between the fields of neighbors.
    known = dict.fromkeys(graph.inputs, (1, 1))
    fields = {}
    for step in graph.steps:
        field = max(known[x][0] for x in step.inputs)
        distance = max(known[x][1] for x in step.inputs)
        pool_size = getattr(step.layer, "pool_size", (1,))
        size = getattr(step.layer, "kernel_size", pool_size)
        strides = getattr(step.layer, "strides", (1,))
        dilation = getattr(step.layer, "dilation_rate", (1,))
        field += (size[0] - 1) * dilation[0] * distance
        distance *= strides[0]
        known.update(dict.fromkeys(step.outputs, (field, distance)))
        fields[step.layer.name] = field
    return fields
