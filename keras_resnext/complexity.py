"""What a network costs, by calculation."""

import math

import keras


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
    total = 0
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            outputs = layer.output.shape[1:]
            if None in outputs:
                raise ValueError(
                    f"'{model.name}' takes images of any size. Build it with "
                    "an `input_shape` such as (224, 224, 3)."
                )
            # Each number put out has as many as a filter has weights.
            total += math.prod(outputs) * math.prod(layer.kernel.shape[:-1])
    return total


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
