"""What a network costs, by calculation."""

import math
from dataclasses import dataclass

import keras

# Those of a bottleneck of ResNet: what the paper keeps constant.
RESNET_BLOCK = 256 * 64 + 3 * 3 * 64 * 64 + 64 * 256


@dataclass(frozen=True)
class Cost:
    """What a part of a network costs.

    Args:
        name: Of the layer or the stage.
        parameters: Its weights, without what batch normalization counts.
        multiply_adds: Its multiplications, each with an addition, of one
            image.
    """

    name: str
    parameters: int
    multiply_adds: int


def num_parameters(model: keras.Model | keras.layers.Layer) -> int:
    """Counts weights as papers do: without what batch normalization counts.

    Args:
        model: A model or a layer; its weights may be frozen.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None)
    >>> keras_resnext.complexity.num_parameters(model)
    25028904
    """
    return sum(
        math.prod(variable.shape)
        for variable in model.weights
        if not variable.name.startswith("moving_")
    )


def multiply_adds(model: keras.Model) -> int:
    """Counts the multiplications, each with an addition, of one image.

    Those of convolutions and dense layers, as the paper counts its "FLOPs"
    (Xie et al., 2017, https://arxiv.org/abs/1611.05431, Table 1).

    Args:
        model: A Functional model of images of a known size.

    Raises:
        ValueError: If the size of the images is not known.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None)
    >>> keras_resnext.complexity.multiply_adds(model)
    4230479872
    """
    return sum(cost.multiply_adds for cost in layer_costs(model))


def layer_costs(model: keras.Model) -> list[Cost]:
    """What each layer of a network costs, of those that cost anything.

    Args:
        model: As for `multiply_adds`.

    Returns:
        A list of `Cost`, in the order of the network.

    Raises:
        ValueError: If the size of the images is not known.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None)
    >>> keras_resnext.complexity.layer_costs(model)[0]
    Cost(name='stem_conv1', parameters=9408, multiply_adds=118013952)
    """
    return [
        Cost(layer.name, num_parameters(layer), _multiply_adds(layer))
        for layer in model.layers
        if layer.weights
    ]


def stage_costs(model: keras.Model) -> list[Cost]:
    """What each stage of a network costs; its layers' names tell the stage.

    Args:
        model: As for `multiply_adds`; a network of this package.

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
    """Counts the weights of a block's convolutions.

    https://arxiv.org/abs/1611.05431, Equation 4: C (256 d + 3 3 d d + d 256).

    Args:
        cardinality: Number of paths C.
        bottleneck_width: Channels d of a path.
        channels: Channels that the block takes and puts out.

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
    """Finds the bottleneck width that keeps a block's complexity.

    Solves the paper's Equation 4 for d and rounds, which gives its Table 2:
    https://arxiv.org/abs/1611.05431, section 3.4.

    Args:
        cardinality: Number of paths C.
        channels: Channels that the block takes and puts out.
        parameters: What the block's convolutions are to have; by default as
            many as ResNet's block of 256 channels, 69,632.

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


def _multiply_adds(layer: keras.layers.Layer) -> int:
    """Those of a layer; 0 unless it is a convolution or dense."""
    if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        return 0
    outputs = layer.output.shape[1:]
    if None in outputs:
        raise ValueError(
            f"'{layer.name}' takes images of any size. Build the network "
            "with an `input_shape` such as (224, 224, 3)."
        )
    # Each number put out has as many as a filter has weights.
    return math.prod(outputs) * math.prod(layer.kernel.shape[:-1])


def _check_positive(*numbers: object) -> None:
    if not all(isinstance(each, int) and each > 0 for each in numbers):
        raise ValueError(
            "Cardinality, width, channels and parameters must be positive "
            f"whole numbers. Received: {numbers}"
        )


def receptive_fields(model: keras.Model) -> dict[str, int]:
    """Tells how much of an image each layer's pixels depend on.

    That of convolutions and poolings (Araujo et al., 2019,
    https://distill.pub/2019/computing-receptive-fields). Attention looks at
    the whole image on top of that, and is not counted.

    Args:
        model: A Functional model from images to maps or features.

    Returns:
        Height and width in pixels, by the name of the layer.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None)
    >>> fields = keras_resnext.complexity.receptive_fields(model)
    >>> fields["stage4_block3_out"]
    427
    """
    # Of each tensor the field, and how far apart the fields of neighbours are.
    known = {id(image): (1, 1) for image in model.inputs}
    fields = {}
    for operation in model.operations:
        inputs = keras.tree.flatten(operation.input)
        if all(id(x) not in known for x in inputs):
            continue
        field = max(known[id(x)][0] for x in inputs)
        step = max(known[id(x)][1] for x in inputs)
        pool_size = getattr(operation, "pool_size", (1,))
        size = getattr(operation, "kernel_size", pool_size)
        strides = getattr(operation, "strides", (1,))
        dilation = getattr(operation, "dilation_rate", (1,))
        field += (size[0] - 1) * dilation[0] * step
        step *= strides[0]
        for output in keras.tree.flatten(operation.output):
            known[id(output)] = field, step
        fields[operation.name] = field
    return fields
